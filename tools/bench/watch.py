"""Watches MyPage's table: which orders are visible, that is, on a page that says `activated`."""

from __future__ import annotations

import time
from collections.abc import Collection
from uuid import UUID

import psycopg2

from tools.bench.host import Host
from tools.waiting import NotInTime

VISIBLE = "activated"
PATIENCE_S = 120.0
LOOK_S = 0.05
STILL_S = 0.3
"""For so long nothing more must come until all is taken to be there."""


class Watch:
    """Orders that come after this moment. Their ids grow with time, so the newest one there was tells them apart."""

    def __init__(self, host: Host) -> None:
        self._host = host
        newest = host.query("order", "select order_id::text from orders order by order_id desc limit 1")
        self.newest: str = newest[0][0] if newest else str(UUID(int=0))

    def placed(self) -> int:
        """How many are in the order book."""
        return self._count("order", "select count(*) from orders where order_id > %s")

    def visible(self) -> int:
        """How many are visible."""
        return self._count("mypage", f"select count(*) from pages where status = '{VISIBLE}' and order_id > %s")

    def all_visible(self, at_least: int = 0) -> tuple[int, float]:
        """Wait until every order that is placed is visible, and they are `at_least` so many.

        Returns how many, and when the last was seen (`time.perf_counter`). Raises NotInTime where nothing comes for
        PATIENCE_S seconds.
        """
        seen, grown = -1, time.perf_counter()
        while True:
            now_visible, now = self.visible(), time.perf_counter()
            if now_visible > seen:
                seen, grown = now_visible, now
            elif now - grown > STILL_S and seen >= at_least and seen == self.placed():
                return seen, grown
            elif now - grown > PATIENCE_S:
                raise NotInTime(f"{seen} of {self.placed()} orders are visible, and no more came: {self._statuses()}")
            time.sleep(LOOK_S)

    def _count(self, service: str, statement: str) -> int:
        return int(self._host.query(service, statement, self.newest)[0][0])

    def _statuses(self) -> str:
        statement = "select status, count(*) from pages where order_id > %s group by status"
        return ", ".join(f"{count} {status}" for status, count in self._host.query("mypage", statement, self.newest))


_LOOK = f"""
create function pg_temp.look(wanted uuid[], patience interval) returns setof text language plpgsql as $$
declare
    until timestamptz := clock_timestamp() + patience;
begin
    loop
        return query select order_id::text from pages where status = '{VISIBLE}' and order_id = any(wanted);
        exit when found or clock_timestamp() > until;
        perform pg_sleep(0.001);
    end loop;
end $$
"""
"""Looks every ms inside the server: asking it every ms would take as much of the processors as some of the services."""


class Eye:
    """Looks for single orders, on a connection of its own: one for a thread."""

    def __init__(self, host: Host) -> None:
        self._connection = psycopg2.connect(host.database_address("mypage"))
        self._connection.autocommit = True
        with self._connection.cursor() as cursor:
            cursor.execute(_LOOK)

    def visible(self, order_ids: Collection[str], patience_s: float = 0.0) -> list[str]:
        """Those of these orders that are visible; looks for so long until at least one is."""
        with self._connection.cursor() as cursor:
            cursor.execute(
                "select look from pg_temp.look(%s::uuid[], make_interval(secs => %s))", (list(order_ids), patience_s)
            )
            return [row[0] for row in cursor.fetchall()]

    def close(self) -> None:
        self._connection.close()
