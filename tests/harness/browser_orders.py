"""Orders in the state in which a page is to be looked at, brought there through the HTTP interface."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.harness.client import Client, Json, an_order
from tools.visits import day_of, schedule_with

__all__ = ["a_scheduled_order", "an_activated_order", "day_of", "fewest_can_come"]


def an_activated_order(client: Client, order: Json | None = None) -> Json:
    """An order that waits for a call; as MyPage shows it, with `order_id`. `order`: the body, or the usual one."""
    order_id = str(client.place(order or an_order())["order_id"])
    return client.wait_for_status(order_id, "activated")


def a_scheduled_order(
    client: Client, technician: str = "kim", order: Json | None = None, *, on_an_open_day: bool = False
) -> Json:
    """An order with a visit of this technician, in their first free window; field work has the job.

    `on_an_open_day`: a day with room to move the visit, whatever the hour is and whoever has used up today.
    """
    order_id = str(an_activated_order(client, order)["order_id"])
    return schedule_with(client, order_id, technician, on_an_open_day=on_an_open_day)


def fewest_can_come(free: list[Json]) -> Json:
    """The first of these windows for which the fewest technicians are free; it does not begin while a test runs."""
    soon = datetime.now(UTC) + timedelta(hours=1)
    ahead = [window for window in free if datetime.fromisoformat(window["window_start"]) > soon]
    return min(ahead, key=lambda window: len(window["technicians"]))
