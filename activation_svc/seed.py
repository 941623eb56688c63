"""Seed the inventory of service ports: `python -m activation_svc.seed [config/elements.yaml]`. Again changes nothing.

The database comes from the environment (`ACTIVATION_DB_URI`).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import sqlalchemy as sa
import yaml

from activation_svc import ports


def seed(uri: str, path: Path) -> int:
    """Put the ports that the file at `path` describes into the database at `uri`; return how many were new."""
    engine = sa.create_engine(uri, poolclass=sa.pool.NullPool)
    with engine.begin() as conn:
        conn.execute(sa.text("lock table ports in share row exclusive mode"))
        return ports.seed(conn, yaml.safe_load(path.read_text(encoding="utf-8"))["elements"])


def main() -> int:
    """Seed and say what was new."""
    path = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("ELEMENTS_CONFIG", "config/elements.yaml"))
    print(f"activation: {seed(os.environ['ACTIVATION_DB_URI'], path)} new service ports")
    return 0


if __name__ == "__main__":
    sys.exit(main())
