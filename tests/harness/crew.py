"""Dispatcher and technicians who finish many orders through HTTP, also while services die under their hands.

Whatever a client may try again they try again; anything else that goes wrong fails the test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any, Literal
from uuid import uuid4

import requests
from eventlet import GreenPool

from tests.harness.client import RESULTS, Client, Json, UnexpectedAnswer, an_order
from tools.system import System
from tools.waiting import wait_until

Fate = Literal["complete", "reject", "cancel_at_once", "cancel_scheduled"]
FATES: tuple[Fate, ...] = ("complete", "reject", "cancel_at_once", "cancel_scheduled")
OUTCOME: dict[Fate, str] = {
    "complete": "completed",
    "reject": "rejected",
    "cancel_at_once": "cancelled",
    "cancel_scheduled": "cancelled",
}
AGAIN = (429, 502, 503, 504)
PATIENCE_S = 150.0


class Crew:
    """Works on orders side by side. `placed` maps each order id to the fate it is meant to have.

    `make_client` gives each hand its client, where that is not one of the system's first gateway.
    """

    def __init__(self, system: System, hands: int = 8, make_client: Callable[[], Client] | None = None) -> None:
        self._system = system
        self._hands = hands
        self._days = cycle(range(1, 300))
        make = make_client or (lambda: Client(system.url, staff_password=system.env["STAFF_PASSWORD"]))
        self._clients = [make() for _ in range(hands)]
        self.placed: dict[str, Fate] = {}
        self.statuses: list[int] = []

    def place(self, count: int, fates: Sequence[Fate] = ("complete",), **order: Any) -> list[str]:
        """Place `count` orders, with these fates in turn; returns their ids."""
        work = [(fate, an_order(**order)) for fate, _ in zip(cycle(fates), range(count), strict=False)]
        return self._together(self._place, work)

    def finish(self, order_ids: Iterable[str]) -> None:
        """Bring each of these orders to its outcome."""
        self._together(self._finish, list(order_ids))

    def adopt(self, order_id: str, token: str, fate: Fate) -> None:
        """Work, with its subscriber's token, on an order that somebody else has placed."""
        for known in self._clients:
            known.remember(order_id, token)
        self.placed[order_id] = fate

    def token(self, order_id: str) -> str:
        """The subscriber's token of an order that was placed here."""
        return self._clients[0].token(order_id)

    def wait_until_activated(self, order_ids: Iterable[str]) -> None:
        """Wait until MyPage shows each of these orders as activated, or further on."""
        wanted = ("activated", "scheduled", "completed", "rejected", "cancelled")
        self._together(lambda client, order_id: self._wait(client, order_id, wanted), list(order_ids))

    def _together(self, action: Any, work: Sequence[Any]) -> list[Any]:
        free = list(self._clients)

        def one(item: Any) -> Any:
            client = free.pop()
            try:
                return action(client, item)
            finally:
                free.append(client)

        return list(GreenPool(self._hands).imap(one, work))

    def _place(self, client: Client, work: tuple[Fate, Json]) -> str:
        fate, order = work
        key = uuid4().hex
        answer = self._ask(client, "POST", "/api/orders", json=order, headers={"Idempotency-Key": key})
        self.statuses.append(answer.status_code)
        body = answer.json()
        order_id = str(body["order_id"])
        self.adopt(order_id, str(body["token"]), fate)
        return order_id

    def _finish(self, client: Client, order_id: str) -> None:
        fate = self.placed[order_id]
        if fate == "cancel_at_once":
            self._cancel(client, order_id)
        else:
            self._wait(client, order_id, ("activated",))
            self._appoint(client, order_id)
            if fate == "cancel_scheduled":
                self._cancel(client, order_id)
            else:
                self._work(client, order_id, fate)
        self._wait(client, order_id, (OUTCOME[fate],))

    def _cancel(self, client: Client, order_id: str) -> None:
        # Asked again after a lost answer, the order may be cancelled by now: a conflict is no failure then.
        self._ask(client, "POST", f"/api/orders/{order_id}/cancel", as_=order_id, json={}, fine=(409,))

    def _appoint(self, client: Client, order_id: str) -> None:
        def fixed() -> bool:
            start = (datetime.now(UTC) + timedelta(days=next(self._days))).isoformat()
            free = self._ask(
                client, "GET", f"/api/visits/{order_id}/windows", as_="dispatcher", params={"from": start}
            ).json()["items"]
            window = {name: free[0][name] for name in ("window_start", "window_end")}
            path = f"/api/visits/{order_id}/appointment"
            answer = self._ask(client, "PUT", path, as_="dispatcher", json=window, fine=(409,))
            return answer.status_code != 409

        wait_until(fixed, f"a visit is fixed for {order_id}", timeout_s=PATIENCE_S)

    def _work(self, client: Client, order_id: str, fate: Fate) -> None:
        page = self._wait(client, order_id, ("scheduled",))
        technician = str(page["visit"]["technician_id"]).removeprefix("tech-")
        body = {"results": RESULTS} if fate == "complete" else {"reason_code": "no_duct"}

        def done() -> bool:
            # The page may know of the visit before field work does: a job that is not there yet will come.
            path = f"/api/jobs/{order_id}/{fate}"
            answer = self._ask(client, "POST", path, as_=technician, json=body, fine=(404,))
            return answer.status_code != 404

        wait_until(done, f"the technician has closed {order_id}", timeout_s=PATIENCE_S)

    def _wait(self, client: Client, order_id: str, statuses: tuple[str, ...]) -> Json:
        page: Json = {}

        def reached() -> bool:
            answer = self._ask(client, "GET", f"/api/orders/{order_id}", as_=order_id, fine=(404,))
            page.clear()
            page.update(answer.json())
            return page.get("status") in statuses

        wait_until(
            reached,
            lambda: f"order {order_id} ({self.placed[order_id]}) is {' or '.join(statuses)}; it is {page}",
            timeout_s=PATIENCE_S,
            interval_s=0.25,
        )
        return page

    def _ask(
        self, client: Client, method: str, path: str, *, fine: tuple[int, ...] = (), **options: Any
    ) -> requests.Response:
        """Send until there is an answer that is neither a lost connection nor "come back later"."""

        def answered() -> requests.Response | None:
            try:
                answer = client.request(method, path, **options)
            except UnexpectedAnswer as unexpected:  # the sign-in that came first
                answer = unexpected.response
            if answer.status_code in AGAIN:
                return None
            if answer.status_code >= 400 and answer.status_code not in fine:
                raise UnexpectedAnswer(answer)
            return answer

        return wait_until(
            lambda: _Truthy.of(answered()),
            f"{method} {path} is answered",
            timeout_s=PATIENCE_S,
            interval_s=0.2,
            answered=(requests.RequestException,),
        ).response


class _Truthy:
    """A response of any status: `requests` calls one of 404 false."""

    def __init__(self, response: requests.Response) -> None:
        self.response = response

    @classmethod
    def of(cls, response: requests.Response | None) -> Any:
        return None if response is None else cls(response)
