"""Fixes visits of a technician of one's choice through the HTTP interface, for tests and pictures."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from tools.client import Client, Json, UnexpectedAnswer
from tools.waiting import NotInTime, wait_until

_SEOUL = ZoneInfo("Asia/Seoul")
_ONE_LIST = timedelta(days=14)
_LATEST = timedelta(days=300)


def schedule_with(client: Client, order_id: str, technician: str) -> Json:
    """The customer agreed, and this technician (`kim`) comes in their first free window; the order, with its job."""
    client.call("POST", f"/api/visits/{order_id}/calls", as_="dispatcher", json={"outcome": "agreed"})
    wait_until(lambda: _appointed(client, order_id, f"tech-{technician}"), f"a visit of {technician} for {order_id}")
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


def _appointed(client: Client, order_id: str, technician_id: str) -> bool:
    """Fix the technician's first free window; False where somebody else took it in between."""
    body = first_window(client, order_id, technician_id) | {"technician_id": technician_id}
    answer = client.request("PUT", f"/api/visits/{order_id}/appointment", as_="dispatcher", json=body)
    if answer.status_code not in (200, 409):
        raise UnexpectedAnswer(answer)
    return answer.status_code == 200


def first_window(client: Client, order_id: str, technician_id: str) -> Json:
    """The first free window of this technician for the order's visit. Raises NotInTime where there is none."""
    start = datetime.now(UTC)
    latest = start + _LATEST
    while start < latest:
        path = f"/api/visits/{order_id}/windows"
        free = client.call("GET", path, as_="dispatcher", params={"from": start.isoformat()})["items"]
        for window in free:
            if technician_id in {able["id"] for able in window["technicians"]}:
                return {name: window[name] for name in ("window_start", "window_end")}
        start += _ONE_LIST
    raise NotInTime(f"{technician_id} has no free window for order {order_id} before {latest:%Y-%m-%d}")
