"""Bring every service's database to its newest form: make the missing ones, run Alembic (`python -m tools.migrate`).

Each service's migrations lie in `<service>_svc/migrations`; the database is the one in `<SERVICE>_DB_URI`.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from chassis.dialect import SQLITE
from tools.paths import ROOT, SERVICES

ADMIN_DATABASE = "postgres"


def ensure_database(uri: str) -> bool:
    """Make the database that `uri` names where it is missing; True where it was made.

    Raises sqlalchemy.exc.OperationalError where the server does not answer, ProgrammingError where the user
    may not make databases.
    """
    url = sa.make_url(uri)
    if url.get_backend_name() == SQLITE:
        file = Path(str(url.database))
        file.parent.mkdir(parents=True, exist_ok=True)
        return not file.exists()  # the first connection makes it
    admin = sa.create_engine(url.set(database=ADMIN_DATABASE), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        query = sa.text("select 1 from pg_database where datname = :name")
        if connection.execute(query, {"name": url.database}).scalar():
            return False
        name = connection.dialect.identifier_preparer.quote_identifier(str(url.database))
        connection.execute(sa.text(f"create database {name}"))
        return True


def config(service: str, uri: str) -> Config:
    """Alembic's configuration for the service's migrations of the database `uri`."""
    made = Config()
    made.set_main_option("script_location", str(ROOT / f"{service}_svc" / "migrations"))
    made.set_main_option("sqlalchemy.url", uri.replace("%", "%%"))
    return made


def migrate(service: str, uri: str) -> None:
    """Run the service's migrations up to the newest against the database `uri`."""
    command.upgrade(config(service, uri), "head")


def migrate_all(environment: Mapping[str, str], services: tuple[str, ...] = SERVICES) -> None:
    """Make and migrate the databases of `services`, named in `environment`."""
    for service in services:
        uri = environment[f"{service.upper()}_DB_URI"]
        ensure_database(uri)
        migrate(service, uri)


def main() -> int:
    """Migrate the services named as arguments, or all."""
    parser = argparse.ArgumentParser(prog="tools.migrate", description=__doc__)
    parser.add_argument("services", nargs="*", choices=[*SERVICES, []], help="all of them when none is named")
    chosen = tuple(parser.parse_args().services) or SERVICES
    logging.basicConfig(level=logging.WARNING)
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    missing = [f"{name.upper()}_DB_URI" for name in chosen if f"{name.upper()}_DB_URI" not in os.environ]
    if missing:
        print(f"set {', '.join(missing)}", file=sys.stderr)
        return 2
    migrate_all(os.environ, chosen)
    print(f"migrated: {', '.join(chosen)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
