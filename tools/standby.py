"""PostgreSQL with standbys behind one address: what the operator CloudNativePG does, for a drill.

Streaming replication, synchronous as the Cluster's `synchronous` makes it: a commit is answered once one standby has
it too, and not before (dataDurability: required).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import sqlalchemy as sa

from tools.haproxy import TcpService
from tools.manifests import Replication
from tools.paths import SERVICES
from tools.postgres import Postgres
from tools.waiting import wait_until

KEEP_WAL = "512MB"
"""What the operator keeps for standbys that were away (its default of wal_keep_size)."""


class Replicated:
    """`first` and further servers under `folder`, all behind `service`, which leads to the primary."""

    def __init__(self, first: Postgres, folder: Path, rule: Replication) -> None:
        self._rule = rule
        self.servers: Mapping[str, Postgres] = {
            "postgres-1": first,
            **{
                name: Postgres(folder / name, password=first.password, name=name)
                for name in (f"postgres-{number}" for number in range(2, rule.instances + 1))
            },
        }
        self.primary = "postgres-1"
        ports = {name: server.port for name, server in self.servers.items()}
        self.service = TcpService("postgres-rw", folder / "postgres-rw", ports)

    @property
    def standbys(self) -> list[str]:
        """All but the primary, those that do not run included."""
        return [name for name in self.servers if name != self.primary]

    def environment(self) -> dict[str, str]:
        """The address of every service's database, behind the balancer."""
        url = sa.make_url(self.servers[self.primary].uri("postgres")).set(port=self.service.port)
        return {
            f"{name.upper()}_DB_URI": url.set(database=f"oss_{name}").render_as_string(hide_password=False)
            for name in SERVICES
        }

    def start(self) -> None:
        """`first` runs already and is the primary: make its standbys, and let commits wait for them."""
        self._set(self.primary, "wal_keep_size", KEEP_WAL)  # the copies take it over
        for name in self.standbys:
            self.servers[name].make_data("pg_basebackup", "-d", self._leader(name), "-X", "stream", "-c", "fast", "-R")
            self.servers[name].start()
        self._be_synchronous(self.primary)
        self.wait_followed()
        self.service.start()
        self.service.point_to(self.primary)

    def remove(self) -> None:
        """Stop everything but `first`, and remove its data; logs stay."""
        self.service.stop()
        for server in list(self.servers.values())[1:]:
            server.remove()

    def fail_over(self) -> str:
        """The primary is gone: the standby that has received most becomes it. Returns its name.

        An answered commit is on one standby at least, not on each: another choice could lose it.
        """
        self.service.point_to(None)
        living = [name for name in self.standbys if self.servers[name].process.alive]
        still = "select pid from pg_stat_wal_receiver where status = 'streaming'"
        wait_until(lambda: not any(self.ask(name, still) for name in living), "nothing is received any more")
        old, new = self.primary, max(living, key=self._received)
        self.primary = new
        self._be_synchronous(new)
        self.ask(new, "select pg_promote(true, 60)")
        for name in set(living) - {new, old}:
            self._set(name, "primary_conninfo", self._leader(name) + f" password={self.servers[name].password}")
        self.service.point_to(new)
        return new

    def switch_over(self) -> str:
        """As planned: the primary stops in order, which leaves nothing unsent, and follows its successor."""
        old = self.primary
        self.service.point_to(None)
        self.servers[old].stop()
        new = self.fail_over()
        self.rejoin(old)
        return new

    def rejoin(self, name: str) -> None:
        """A former primary takes back what nobody else has, and becomes a standby."""
        self.ask(self.primary, "checkpoint")  # from which pg_rewind knows the new timeline
        server = self.servers[name]
        server.run("pg_rewind", "-D", str(server.data), "--source-server", self._leader(name), "-R")
        server.start()
        self.wait_followed()

    def wait_followed(self) -> None:
        """Wait until every standby that runs receives what the primary writes, and commits wait for one of them."""
        running = {name for name in self.standbys if self.servers[name].process.alive}
        query = "select application_name from pg_stat_replication where state = 'streaming' and sync_state = 'quorum'"

        def followers() -> set[str]:
            return {row[0] for row in self.ask(self.primary, query)}

        wait_until(lambda: followers() == running, lambda: f"{sorted(running)} follow; {sorted(followers())} do")

    def ask(self, name: str, statement: str) -> list[tuple[Any, ...]]:
        """One statement at one server, outside a transaction, and its rows."""
        uri = self.servers[name].uri("postgres").replace("+psycopg2", "")
        with closing(psycopg2.connect(uri, connect_timeout=5)) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _received(self, name: str) -> int:
        """How far into the log a standby has come, in bytes."""
        query = "select coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'::pg_lsn"
        return int(self.ask(name, query)[0][0])

    def _leader(self, name: str) -> str:
        """Where the server `name` finds the primary, but for the password."""
        port = self.servers[self.primary].port
        return f"host=127.0.0.1 port={port} user=postgres dbname=postgres application_name={name}"

    def _be_synchronous(self, name: str) -> None:
        others = ", ".join(f'"{other}"' for other in self.servers if other != name)
        self._set(name, "synchronous_standby_names", f"{self._rule.method} {self._rule.number} ({others})")

    def _set(self, name: str, setting: str, value: str) -> None:
        quoted = value.replace("'", "''")
        self.ask(name, f"alter system set {setting} = '{quoted}'")
        self.ask(name, "select pg_reload_conf()")
