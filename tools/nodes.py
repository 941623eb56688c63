"""The private nodes together: PostgreSQL with one database a service, and RabbitMQ.

AMQP_URI and `<SERVICE>_DB_URI` in the environment replace them: what is named there is used and not started.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import requests
import sqlalchemy as sa

from tools import packages, rabbit
from tools.certificates import Certificates
from tools.keys import load_secrets
from tools.paths import SERVICES
from tools.postgres import Postgres
from tools.process import Part
from tools.rabbit import Rabbit

RADIUS_DATABASE = "radius"


class Nodes:
    """PostgreSQL and RabbitMQ under `folder`, started together and stopped together."""

    def __init__(
        self, folder: Path, *, durable: bool = True, use_environment: bool = True, tls: Certificates | None = None,
        amqp_uri: str | None = None,
    ) -> None:  # fmt: skip
        """`amqp_uri`: a broker that somebody else starts and stops, as AMQP_URI in the environment is."""
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        keys = load_secrets(folder)
        self._env = dict(os.environ) if use_environment else {}
        if amqp_uri is not None:
            self._env["AMQP_URI"] = amqp_uri
        self.postgres: Postgres | None = None
        self.rabbit: Rabbit | None = None
        if any(f"{name.upper()}_DB_URI" not in self._env for name in SERVICES):
            self.postgres = Postgres(folder / "pg", password=keys["DATABASE_PASSWORD"], durable=durable, tls=tls)
        if "AMQP_URI" not in self._env:
            self.rabbit = Rabbit(folder / "rabbit", password=keys["BROKER_PASSWORD"], tls=tls)

    @property
    def parts(self) -> list[Part]:
        """What is not replaced."""
        return [node for node in (self.postgres, self.rabbit) if node is not None]

    def servers(self) -> tuple[packages.Server, ...]:
        """The packages' servers that it needs."""
        return () if self.rabbit is None else (rabbit.SERVER,)

    def start(self) -> None:
        """Start what is not replaced; returns when all of it answers."""
        for node in self.parts:
            node.start()

    def stop(self) -> None:
        """Stop what was started here."""
        for node in (self.rabbit, self.postgres):
            if node is not None:
                node.stop()

    def remove(self) -> None:
        """Stop what was started here and remove its data; logs stay."""
        self.stop()
        if self.rabbit is not None:
            shutil.rmtree(self.rabbit.folder, ignore_errors=True)
        if self.postgres is not None:
            self.postgres.remove()

    def environment(self) -> dict[str, str]:
        """The URIs of the nodes, as the services read them."""
        uris = {}
        for name in SERVICES:
            variable = f"{name.upper()}_DB_URI"
            uris[variable] = self._env.get(variable) or self.database_uri(f"oss_{name}")
        uris["AMQP_URI"] = self._env.get("AMQP_URI") or self.broker.uri()
        if self.rabbit is not None and self.rabbit.ca_file:
            uris["AMQP_CA_FILE"] = self.rabbit.ca_file
        return uris

    @property
    def radius_uri(self) -> str:
        """Where the BNG's accounts are: a database beside activation's. It may not be there yet."""
        url = sa.make_url(self.environment()["ACTIVATION_DB_URI"])
        return url.set(database=RADIUS_DATABASE).render_as_string(hide_password=False)

    @property
    def broker(self) -> Rabbit:
        """The private RabbitMQ; raises RuntimeError where AMQP_URI replaces it."""
        if self.rabbit is None:
            raise RuntimeError("AMQP_URI names the broker: there is no private one")
        return self.rabbit

    def database_uri(self, database: str) -> str:
        """The URI of a database on the private PostgreSQL; RuntimeError where the environment replaces it."""
        if self.postgres is None:
            raise RuntimeError("the environment names every database: there is no private PostgreSQL")
        return self.postgres.uri(database)

    def make_vhost(self, name: str) -> str:
        """Make a virtual host on the private broker and return its AMQP URI."""
        answer = requests.put(f"{self.broker.management_uri}/api/vhosts/{name}", timeout=30)
        answer.raise_for_status()
        return self.broker.uri(name)

    def drop_vhost(self, name: str) -> None:
        """Drop a virtual host with its queues."""
        requests.delete(f"{self.broker.management_uri}/api/vhosts/{name}", timeout=30).raise_for_status()
