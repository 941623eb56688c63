"""Load for a drill: many hands that each take order after order from its placing to its end, and count what fails.

Which order is the how manieth, with which items and which fate, follows from the seed alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import eventlet
import requests
from greenlet import GreenletExit

from tests.harness.client import Client, Json, UnexpectedAnswer, an_order, internet, tv
from tests.harness.crew import OUTCOME, Crew, Fate
from tools.system import System
from tools.waiting import NotInTime

MENUS: tuple[list[Json], ...] = (
    [internet()],
    [internet(), tv()],
    [internet("internet-1000"), tv("tv-premium", 2)],
    [internet("internet-100", 2)],
)
POSTCODES = ("06236", "05502", "13529")
# Completed orders keep their lines, and a private access node gets slower with each: so most are taken back.
WEIGHTS: dict[Fate, int] = {"complete": 4, "reject": 3, "cancel_at_once": 2, "cancel_scheduled": 3}


@dataclass
class Tally:
    """What the clients of one load met. `failed`: answers of 500 and above, and connections that broke."""

    requests: int = 0
    failed: list[str] = field(default_factory=list)


class CountingClient(Client):
    """A client that counts, also what is tried again afterwards."""

    def __init__(self, url: str, *, staff_password: str, tally: Tally) -> None:
        super().__init__(url, staff_password=staff_password)
        self._tally = tally

    def request(self, method: str, path: str, *, as_: str | None = None, **options: Any) -> requests.Response:
        self._tally.requests += 1
        try:
            response = super().request(method, path, as_=as_, **options)
        except requests.RequestException as error:
            self._tally.failed.append(f"{method} {path}: {type(error).__name__}: {error}")
            raise
        if response.status_code >= 500:
            self._tally.failed.append(f"{method} {path}: {response.status_code} {response.text[:200]}")
        return response


class Load(Crew):
    """Works for as long as a block `with load:` runs, and ends the orders under way; afterwards `expected`, `keys`,
    `stuck` and `tally` say what came of it. A block that fails leaves no hand at work.

    `limit`: how many orders at most. `url`: where the gateways are. `fates` draws what each order is meant to come to.
    """

    def __init__(
        self, system: System, *, url: str, seed: int | str, hands: int = 6, limit: int | None = None,
        weights: dict[Fate, int] | None = None,
    ) -> None:  # fmt: skip
        self.tally = Tally()
        password = system.env["STAFF_PASSWORD"]
        super().__init__(system, hands, lambda: CountingClient(url, staff_password=password, tally=self.tally))
        self._lot = random.Random(f"orders {seed}")
        self._weights = weights or WEIGHTS
        self._limit = limit
        self._stopping = False
        self._begun = 0
        self._workers: list[Any] = []
        self.keys: dict[str, str] = {}
        self.stuck: dict[str, str] = {}
        self.refused: list[str] = []
        self.closed = 0

    @property
    def expected(self) -> dict[str, str]:
        """The outcome each order is meant to have, by its id."""
        return {order_id: OUTCOME[fate] for order_id, fate in self.placed.items()}

    def __enter__(self) -> Load:
        """All hands begin."""
        self._workers += [eventlet.spawn(self._work_on, client) for client in self._clients]
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Begin no further order, and wait until those under way have ended, well or badly."""
        self._stopping = True
        if kind is not None:
            for worker in self._workers:
                worker.kill()
        self.finish()

    def finish(self) -> None:
        """Wait until `limit` orders have ended, well or badly."""
        for worker in self._workers:
            with suppress(GreenletExit):
                worker.wait()

    @property
    def over(self) -> bool:
        """Whether nothing more is being done."""
        return all(worker.dead for worker in self._workers)

    def also(self, action: Callable[[Client], object]) -> None:
        """One more hand does this again and again, beside the orders."""
        client = self._clients[0].__class__
        password = self._system.env["STAFF_PASSWORD"]
        other = client(self._clients[0].url, staff_password=password, tally=self.tally)  # type: ignore[call-arg]
        self._workers.append(eventlet.spawn(self._repeat, action, other))

    def _repeat(self, action: Callable[[Client], object], client: Client) -> None:
        while not self._stopping and (self._limit is None or self._begun < self._limit):
            try:
                action(client)
            except (requests.RequestException, UnexpectedAnswer) as error:
                if isinstance(error, UnexpectedAnswer) and error.response.status_code < 500:
                    self.refused.append(str(error))
            eventlet.sleep(0.1)

    def _work_on(self, client: Client) -> None:
        while not self._stopping and (self._limit is None or self._begun < self._limit):
            self._begun += 1
            order, fate = self._draw()
            order_id = ""
            try:
                order_id = self._place_as(client, order, fate)
                self._finish(client, order_id)
                self.closed += 1
            except NotInTime as error:
                self.stuck[order_id or f"order number {self._begun}"] = str(error)
            except UnexpectedAnswer as error:
                self.refused.append(f"{order_id}: {error}")

    def _draw(self) -> tuple[Json, Fate]:
        [fate] = self._lot.choices(list(self._weights), weights=list(self._weights.values()))
        order = an_order(
            items=self._lot.choice(MENUS), postcode=self._lot.choice(POSTCODES),
            phone=f"010-{self._lot.randrange(10_000):04}-{self._lot.randrange(10_000):04}",
        )  # fmt: skip
        return order, fate

    def _place_as(self, client: Client, order: Json, fate: Fate) -> str:
        key = uuid4().hex
        headers = {"Idempotency-Key": key}
        body = self._ask(client, "POST", "/api/orders", json=order, headers=headers).json()
        order_id = str(body["order_id"])
        client.remember(order_id, str(body["token"]))
        self.placed[order_id], self.keys[order_id] = fate, key
        return order_id

    def _wait(self, client: Client, order_id: str, statuses: tuple[str, ...]) -> Json:
        """As every crew, with an operator at hand for orders that an element has refused for good."""
        wanted = (*statuses, "fallout")
        while (page := super()._wait(client, order_id, wanted))["status"] == "fallout" and "fallout" not in statuses:
            path = f"/api/ops/fallouts/{order_id}/retry"
            # 404, 409: the page is older than what activation knows.
            self._ask(client, "POST", path, as_="operator", fine=(404, 409))
            eventlet.sleep(0.5)
        return page
