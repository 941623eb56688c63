"""Fixes visits of a technician of one's choice through the HTTP interface, for tests and pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from tools.client import Client, Json, UnexpectedAnswer
from tools.waiting import NotInTime, wait_until

_SEOUL = ZoneInfo("Asia/Seoul")
_ONE_LIST = timedelta(days=14)
_LATEST = timedelta(days=300)
OPEN = 2
"""Further windows of an open day."""


def schedule_with(client: Client, order_id: str, technician: str, *, on_an_open_day: bool = False) -> Json:
    """The customer agreed, and this technician (`kim`) comes in their first free window; the order, with its job.

    `on_an_open_day`: on a day from tomorrow on with much room beside, for this technician and for others.
    """
    choose = window_of_an_open_day if on_an_open_day else first_window
    client.call("POST", f"/api/visits/{order_id}/calls", as_="dispatcher", json={"outcome": "agreed"})
    wait_until(
        lambda: _appointed(client, order_id, f"tech-{technician}", choose), f"a visit of {technician} for {order_id}"
    )
    page = client.wait_for_status(order_id, "scheduled")
    query = {"date": day_of(page).isoformat(), "limit": 200}

    def has_job() -> bool:
        jobs = client.call("GET", "/api/jobs", as_=technician, params=query)["items"]
        return any(job["order_id"] == order_id for job in jobs)

    wait_until(has_job, f"{technician} has the job of order {order_id}")
    return page


def day_of(order: Json) -> date:
    """The local day of an order's visit."""
    return datetime.fromisoformat(order["visit"]["window_start"]).astimezone(_SEOUL).date()


def _appointed(
    client: Client, order_id: str, technician_id: str, choose: Callable[[Client, str, str], Json]
) -> bool:
    """Fix the window that is chosen; False where somebody else took it in between."""
    body = choose(client, order_id, technician_id) | {"technician_id": technician_id}
    answer = client.request("PUT", f"/api/visits/{order_id}/appointment", as_="dispatcher", json=body)
    if answer.status_code not in (200, 409):
        raise UnexpectedAnswer(answer)
    return answer.status_code == 200


def first_window(client: Client, order_id: str, technician_id: str) -> Json:
    """The first free window of this technician for the order's visit. Raises NotInTime where there is none."""
    for window in _free(client, order_id):
        if technician_id in _able(window):
            return _times(window)
    raise NotInTime(f"{technician_id} has no free window for order {order_id}")


def window_of_an_open_day(client: Client, order_id: str, technician_id: str) -> Json:
    """Their first free window of a day from tomorrow on with OPEN further ones, in each of which somebody else could
    come as well. Raises NotInTime where there is none."""
    today = datetime.now(_SEOUL).date()
    days: dict[date, list[Json]] = defaultdict(list)
    for window in _free(client, order_id):
        day = datetime.fromisoformat(window["window_start"]).astimezone(_SEOUL).date()
        if day > today and technician_id in (able := _able(window)) and len(able) > 1:
            days[day].append(window)
        if len(days[day]) > OPEN:
            return _times(days[day][0])
    raise NotInTime(f"{technician_id} has no open day for order {order_id}")


def _free(client: Client, order_id: str) -> Iterator[Json]:
    """Every free window for the order's visit, in their order."""
    start = datetime.now(UTC)
    latest = start + _LATEST
    while start < latest:
        path = f"/api/visits/{order_id}/windows"
        yield from client.call("GET", path, as_="dispatcher", params={"from": start.isoformat()})["items"]
        start += _ONE_LIST


def _able(window: Json) -> set[str]:
    return {able["id"] for able in window["technicians"]}


def _times(window: Json) -> Json:
    return {name: window[name] for name in ("window_start", "window_end")}
