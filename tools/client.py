"""A thin HTTP client of the gateway, as a script of a customer would write it. The samples and the tests use it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import requests

from tools.waiting import NotInTime, wait_until

Json = dict[str, Any]

CLOSED = ("completed", "rejected", "cancelled")
RESULTS: Json = {"ont_serial": "ABCD12345678", "rx_power_dbm": -18.5, "down_mbps": 480.0}


def internet(product: str = "internet-500", quantity: int = 1) -> Json:
    return {"product": product, "quantity": quantity}


def tv(product: str = "tv-basic", quantity: int = 1) -> Json:
    return {"product": product, "quantity": quantity}


def an_order(*, items: list[Json] | None = None, postcode: str = "06236", phone: str = "010-1234-5678") -> Json:
    """The body of a valid `POST /api/orders`: one internet line and one TV, unless said otherwise."""
    return {
        "customer": {"name": "김하늘", "phone": phone, "email": "sky@example.com"},
        "address": {"postcode": postcode, "line1": "서울특별시 강남구 테헤란로 1", "line2": "101동 1203호"},
        "items": items if items is not None else [internet(), tv()],
    }


class UnexpectedAnswer(Exception):
    """The gateway answered with a status that was not expected; carries the answer."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__(f"{response.request.method} {response.url}: {response.status_code} {response.text[:2000]}")
        self.response = response


class Client:
    """Calls the gateway. `as_` names who calls: a staff user, or an order id for its subscriber."""

    def __init__(self, url: str, *, staff_password: str) -> None:
        self.url = url
        self._staff_password = staff_password
        self._tokens: dict[str, str] = {}
        self._http = requests.Session()

    def request(self, method: str, path: str, *, as_: str | None = None, **options: Any) -> requests.Response:
        """Send one request and return the answer, whatever its status."""
        headers = dict(options.pop("headers", None) or {})
        if as_ is not None:
            headers["Authorization"] = f"Bearer {self._tokens.get(as_) or self.login(as_)}"
        options.setdefault("timeout", 30)
        return self._http.request(method, self.url + path, headers=headers, **options)

    def call(self, method: str, path: str, *, as_: str | None = None, **options: Any) -> Json:
        """Send one request and return its JSON; raises UnexpectedAnswer for any status from 400."""
        response = self.request(method, path, as_=as_, **options)
        if response.status_code >= 400:
            raise UnexpectedAnswer(response)
        return dict(response.json()) if response.content else {}

    def login(self, username: str) -> str:
        """A staff user's token, kept for later calls (`operator`, `dispatcher`, `kim`, ...: config/seed.yaml)."""
        body = {"username": username, "password": self._staff_password}
        self._tokens[username] = str(self.call("POST", "/api/sessions", json=body)["token"])
        return self._tokens[username]

    def place(self, order: Json | None = None, *, key: str | None = None) -> Json:
        """Place an order and keep its subscriber's token; returns the answer."""
        headers = {"Idempotency-Key": key or uuid4().hex}
        answer = self.call("POST", "/api/orders", json=order or an_order(), headers=headers)
        self.remember(str(answer["order_id"]), str(answer["token"]))
        return answer

    def remember(self, name: str, token: str) -> None:
        """Call with this token from now on where `as_` is this name."""
        self._tokens[name] = token

    def token(self, name: str) -> str:
        """The token kept under this name."""
        return self._tokens[name]

    def order(self, order_id: str, *, as_: str | None = None) -> Json:
        """The order as MyPage shows it."""
        return self.call("GET", f"/api/orders/{order_id}", as_=as_ or order_id)

    def cancel(self, order_id: str, *, as_: str | None = None, reason: str = "마음이 바뀜") -> requests.Response:
        return self.request("POST", f"/api/orders/{order_id}/cancel", as_=as_ or order_id, json={"reason": reason})

    def wait_for_status(self, order_id: str, status: str | tuple[str, ...], timeout_s: float = 60.0) -> Json:
        """Wait until the order has (one of) the status; the failure shows the order with its timeline."""
        wanted = (status,) if isinstance(status, str) else status
        seen: Json = {}

        def reached() -> bool:
            response = self.request("GET", f"/api/orders/{order_id}", as_=order_id)
            if response.status_code not in (200, 404, 503):
                raise UnexpectedAnswer(response)
            seen.clear()
            seen.update(response.json())
            return bool(seen.get("status") in wanted)

        wait_until(
            reached,
            lambda: f"order {order_id} is {' or '.join(wanted)}; it is now:\n{_pretty(seen)}",
            timeout_s=timeout_s,
            interval_s=0.1,
            answered=(requests.RequestException,),
        )
        return seen

    def schedule(self, order_id: str, *, window: int = 0) -> Json:
        """What a dispatcher does: record that the customer agreed, then fix the first free window."""
        self.wait_for_status(order_id, ("activated", "scheduled"))
        self.call("POST", f"/api/visits/{order_id}/calls", as_="dispatcher", json={"outcome": "agreed"})
        return self.appoint(order_id, window=window)

    def appoint(self, order_id: str, *, window: int = 0) -> Json:
        """Fix or move the visit to a free window; tries again where somebody else took it in between."""

        def fixed() -> Json | None:
            free = self.call("GET", f"/api/visits/{order_id}/windows", as_="dispatcher")["items"]
            if len(free) <= window:
                raise NotInTime(f"there is no free window number {window} for order {order_id}: {_pretty(free)}")
            body = {name: free[window][name] for name in ("window_start", "window_end")}
            response = self.request("PUT", f"/api/visits/{order_id}/appointment", as_="dispatcher", json=body)
            if response.status_code == 409:
                return None
            if response.status_code >= 400:
                raise UnexpectedAnswer(response)
            return dict(response.json())

        return wait_until(fixed, f"a window is fixed for order {order_id}") or {}

    def technician_of(self, order_id: str) -> str:
        """The user name of the technician who has the job, once the order is scheduled."""
        self.wait_for_status(order_id, "scheduled")
        visit = self.order(order_id)["visit"]
        return str(visit["technician_id"]).removeprefix("tech-")

    def wait_for_page(self, order_id: str, condition: Callable[[Json], Any], what: str) -> Json:
        """Wait until the order, as MyPage shows it, fulfils a condition; returns the page.

        A page shows an outcome as soon as it is certain; the events that lead there may arrive in any order.
        """

        def fulfilled() -> Json:
            page = self.order(order_id)
            return page if condition(page) else {}

        return wait_until(fulfilled, lambda: f"{what}; order {order_id} is now:\n{_pretty(self.order(order_id))}")

    def wait_for_events(self, order_id: str, *events: str) -> Json:
        """Wait until the order's timeline holds all of these events; returns the page."""
        return self.wait_for_page(
            order_id,
            lambda page: set(events) <= {entry["event"] for entry in page["timeline"]},
            f"the timeline holds {', '.join(events)}",
        )

    def complete(self, order_id: str, *, by: str | None = None, results: Json = RESULTS) -> Json:
        """What the technician does on site: start, then complete with measured results."""
        return self._close(order_id, by or self.technician_of(order_id), "complete", {"results": results})

    def reject(self, order_id: str, *, by: str | None = None, reason_code: str = "no_duct") -> Json:
        """What the technician does where nothing can be installed (반송)."""
        return self._close(order_id, by or self.technician_of(order_id), "reject", {"reason_code": reason_code})

    def _close(self, order_id: str, technician: str, how: str, body: Json) -> Json:
        self.start_job(order_id, by=technician)
        return self.call("POST", f"/api/jobs/{order_id}/{how}", as_=technician, json=body)

    def start_job(self, order_id: str, *, by: str) -> None:
        """The technician is on site."""

        def there() -> bool:
            # The order page may be ahead of fieldwork, which hears of the visit by its own queue.
            response = self.request("POST", f"/api/jobs/{order_id}/start", as_=by)
            if response.status_code not in (200, 202, 404):
                raise UnexpectedAnswer(response)
            return bool(response.status_code != 404)

        wait_until(there, f"there is a job for order {order_id}")


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
