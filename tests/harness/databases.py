"""Fresh databases for tests: each service is migrated once, every test gets a copy."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa

from chassis.dialect import SQLITE
from tools.migrate import ADMIN_DATABASE, ensure_database, migrate
from tools.nodes import Nodes


class Databases:
    """Makes and drops databases on the private PostgreSQL."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._templates: set[str] = set()

    def fresh(self, service: str) -> str:
        """The URI of a new database with the service's newest schema and no rows."""
        template = f"template_{service}"
        if template not in self._templates:
            uri = self._nodes.database_uri(template)
            ensure_database(uri)
            migrate(service, uri)
            self._templates.add(template)
        name = f"t_{service}_{uuid4().hex[:12]}"
        self._admin(f'create database "{name}" template "{template}"')
        return self._nodes.database_uri(name)

    def sqlite(self, service: str) -> str:
        """The URI of a new SQLite file with the service's newest schema and no rows."""
        uri = self.file()
        migrate(service, uri)
        return uri

    def file(self) -> str:
        """The URI of an SQLite file that is not there yet."""
        folder = self._nodes.folder / "sqlite"
        folder.mkdir(exist_ok=True)
        return f"sqlite:///{folder / f'{uuid4().hex}.sqlite3'}"

    def empty(self) -> str:
        """The URI of a new database without any table."""
        uri = self._nodes.database_uri(f"t_empty_{uuid4().hex[:12]}")
        ensure_database(uri)
        return uri

    def drop(self, uri: str) -> None:
        """Drop a database, ending whatever is still connected."""
        if sa.make_url(uri).get_backend_name() == SQLITE:
            Path(str(sa.make_url(uri).database)).unlink()
            return
        self._admin(f'drop database if exists "{sa.make_url(uri).database}" with (force)')

    def _admin(self, statement: str) -> None:
        uri = self._nodes.database_uri(ADMIN_DATABASE)
        engine = sa.create_engine(uri, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.execute(sa.text(statement))
