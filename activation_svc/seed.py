"""Seed the inventory from the elements: `python -m activation_svc.seed [config/elements.yaml]`. Again changes nothing.

What was added to the file since (an element, a larger pool) is added; nothing is taken away, because orders may hold
it. The database comes from the environment (`ACTIVATION_DB_URI`).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import sqlalchemy as sa

from activation_svc import inventory
from activation_svc.element_config import load, resources_of


def seed(uri: str, path: Path) -> int:
    """Put what the elements in the file at `path` give out into the database at `uri`; return how many were new."""
    engine = sa.create_engine(uri, poolclass=sa.pool.NullPool)
    with engine.begin() as conn:
        conn.execute(sa.text("lock table resources in share row exclusive mode"))
        return inventory.seed(
            conn, (resource for name, element in load(path).items() for resource in resources_of(name, element))
        )


def main() -> int:
    """Seed and say what was new."""
    path = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("ELEMENTS_CONFIG", "config/elements.yaml"))
    print(f"activation: {seed(os.environ['ACTIVATION_DB_URI'], path)} new resources of network elements")
    return 0


if __name__ == "__main__":
    sys.exit(main())
