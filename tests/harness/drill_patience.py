"""How long people wait: requests of every sort, one after the other, straight to the gateway, whatever is disturbed.

An answer may say that something is not there; it may not stay away.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import eventlet
import requests

from tests.harness.client import Client, Json, an_order

LONGEST_S = 12.0
"""By when everything is answered or refused, with the settings of tests/harness/settings.py: two calls of services in a
row (2 s each), and the gateway's own database, which it asks for a connection and a statement (3 s each), and 2 s for
machines that have other things to do."""
GIVEN_UP_S = 60.0
PAUSE_S = 0.5
PLACED, CANCELLED = "an order is placed", "an order is cancelled"
REQUESTS: dict[str, tuple[str, str, str | None]] = {
    "somebody signs in": ("POST", "/api/sessions", None),
    "a subscriber looks": ("GET", "/api/orders/{order_id}", "subscriber"),
    "MyPage is opened": ("GET", "/my", None),
    "the call queue is read": ("GET", "/api/visits", "dispatcher"),
    "a technician reads the day": ("GET", "/api/jobs", "kim"),
    "operations look": ("GET", "/api/ops/overview", "operator"),
}


@dataclass
class Patience:
    """Asks for as long as a block `with patience:` runs; `notes` and `problems` say how long it took.

    `now`: what is inflicted just now.
    """

    url: str
    password: str
    now: str = ""
    slowest: dict[str, tuple[float, str]] = field(default_factory=dict)
    asked: int = 0
    _stopping: bool = False
    _hands: list[Any] = field(default_factory=list)

    def __enter__(self) -> Patience:
        """Begin, each sort of request in a greenlet of its own. Signs in first."""
        client = Client(self.url, staff_password=self.password)
        placed = client.place(an_order())
        client.remember("subscriber", client.token(str(placed["order_id"])))
        for user in ("dispatcher", "kim", "operator"):
            client.login(user)
        self._order_id = str(placed["order_id"])
        self._hands = [eventlet.spawn(self._ask_on, what, client) for what in (PLACED, *REQUESTS)]
        return self

    def __exit__(self, *_: object) -> None:
        """Ask for nothing more, and wait until everything is answered."""
        self._stopping = True
        for hand in self._hands:
            hand.wait()

    @property
    def notes(self) -> list[str]:
        """The slowest answer."""
        what, (took_s, when) = max(self.slowest.items(), key=lambda item: item[1])
        return [f"{self.asked:,} probing requests, the slowest answer after {took_s:.1f} s ({what}; {when})"]

    @property
    def problems(self) -> list[str]:
        """Who had to wait for too long."""
        return [
            f"{what}: answered after {took_s:.1f} s, not within {LONGEST_S:g} s ({when})"
            for what, (took_s, when) in self.slowest.items() if took_s > LONGEST_S
        ]

    def _ask_on(self, what: str, client: Client) -> None:
        while not self._stopping:
            if what == PLACED:
                self._place_and_cancel(client)
                eventlet.sleep(PAUSE_S * 5)
            else:
                method, path, who = REQUESTS[what]
                body = {"username": "operator", "password": self.password} if method == "POST" else None
                self._timed(what, client, method, path.format(order_id=self._order_id), who, body)
                eventlet.sleep(PAUSE_S)

    def _place_and_cancel(self, client: Client) -> None:
        """An order that is cancelled at once, so that the equipment does not fill up."""
        placed = self._timed(PLACED, client, "POST", "/api/orders", None, an_order())
        if placed is not None and placed.ok:
            order_id = str(placed.json()["order_id"])
            client.remember(order_id, str(placed.json()["token"]))
            self._timed(CANCELLED, client, "POST", f"/api/orders/{order_id}/cancel", order_id, {})

    def _timed(
        self, what: str, client: Client, method: str, path: str, who: str | None, body: Json | None
    ) -> requests.Response | None:
        """The answer; None where there was none before GIVEN_UP_S were over."""
        now, begun = self.now, time.monotonic()
        self.asked += 1
        try:
            return client.request(method, path, as_=who, json=body, timeout=GIVEN_UP_S)
        except requests.Timeout:
            return None
        finally:
            self.slowest[what] = max(self.slowest.get(what, (0.0, "")), (time.monotonic() - begun, now))
