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


_VISIBLE_AT = f"""
select order_id::text, extract(epoch from pg_xact_commit_timestamp(xmin))::float8
from pages where status = '{VISIBLE}' and order_id = any(%s::uuid[])
"""


class Eye:
    """Tells when single orders became visible.

    PostgreSQL notes the time of each commit (`host_child.py` has it do so), right before it writes the commit to disk.
    So we may look afterwards. Where we did so every ms, it took from the processors what the order needed.
    """

    def __init__(self, host: Host) -> None:
        self._connection = psycopg2.connect(host.database_address("mypage"))
        self._connection.autocommit = True

    def visible(self, order_ids: Collection[str]) -> dict[str, float]:
        """Those of these orders that are visible, and since when, in seconds as `time.time` counts them.

        A page that was written once more since then tells the later time.
        """
        with self._connection.cursor() as cursor:
            cursor.execute(_VISIBLE_AT, (list(order_ids),))
            return dict(cursor.fetchall())

    def close(self) -> None:
        self._connection.close()
