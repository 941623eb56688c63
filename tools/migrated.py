"""Wait until a service's database has the tables of this release: `python -m tools.migrated SERVICE`. Exit 0 or 1.

An init container, so that a rollout may start together with the prepare job. A database that is newer than this
release is fine: migrations only add (a rollback of the code leaves them).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from tools.paths import ROOT, SERVICES
from tools.waiting import NotInTime, wait_until

CONNECT_TIMEOUT_S = 3


def revisions(service: str) -> tuple[str, frozenset[str]]:
    """The newest migration of this release and all of them."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / f"{service}_svc" / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    head = scripts.get_current_head()
    assert head is not None, f"{service} has no migrations"
    return head, frozenset(script.revision for script in scripts.walk_revisions())


def is_new_enough(found: str | None, head: str, known: frozenset[str]) -> bool:
    """Whether a database at revision `found` has what this release needs; an unknown revision is a later one."""
    return found is not None and (found == head or found not in known)


def revision_of(uri: str) -> str | None:
    """The revision that the database has; None before its first migration. Raises sqlalchemy.exc.OperationalError."""
    arguments = {"connect_timeout": CONNECT_TIMEOUT_S} if uri.startswith("postgresql") else {}
    engine = sa.create_engine(uri, poolclass=sa.NullPool, connect_args=arguments)
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.execute(sa.text("select version_num from alembic_version")).scalar()
        return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Wait; 1 with the reason on stderr where it did not come in time, so that Kubernetes tries again."""
    parser = argparse.ArgumentParser(prog="tools.migrated", description=__doc__)
    parser.add_argument("service", choices=SERVICES)
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds to wait")
    chosen = parser.parse_args(arguments)
    uri, (head, known) = os.environ[f"{chosen.service.upper()}_DB_URI"], revisions(chosen.service)
    try:
        wait_until(
            lambda: is_new_enough(revision_of(uri), head, known), f"{chosen.service}'s database is at {head} or later",
            timeout_s=chosen.timeout, interval_s=1.0, answered=(sa.exc.OperationalError,),
        )  # fmt: skip
    except NotInTime as error:
        print(f"migrated: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
