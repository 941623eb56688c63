"""Three sample orders through the HTTP interface only: one completed, one rejected, one cancelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tools.client import Client, an_order, internet, tv

Say = Callable[[str], None]


def _line(label: str, order: dict[str, Any]) -> str:
    return f"  {label:<12} {order['order_id']}  {order['status']}"


def put_samples_through(url: str, staff_password: str, say: Say) -> dict[str, str]:
    """Put the three through, telling `say` of each step; returns outcome -> order id.

    Raises tools.client.UnexpectedAnswer where the gateway refuses a step and NotInTime where one takes too long.
    """
    client = Client(url, staff_password=staff_password)
    say("three sample orders")
    return {
        "completed": _completed(client, say),
        "rejected": _rejected(client, say),
        "cancelled": _cancelled(client, say),
    }


def _to_the_visit(client: Client, label: str, order: dict[str, Any], say: Say) -> str:
    placed = client.place(order)
    say(_line(label, placed))
    order_id = str(placed["order_id"])
    say(_line(label, client.wait_for_status(order_id, "activated")))
    client.schedule(order_id)
    say(_line(label, client.wait_for_status(order_id, "scheduled")))
    return order_id


def _completed(client: Client, say: Say) -> str:
    order_id = _to_the_visit(client, "to complete", an_order(phone="010-1111-0001"), say)
    client.complete(order_id)
    say(_line("to complete", client.wait_for_status(order_id, "completed")))
    return order_id


def _rejected(client: Client, say: Say) -> str:
    order_id = _to_the_visit(client, "to reject", an_order(phone="010-1111-0002", items=[internet()]), say)
    client.reject(order_id, reason_code="no_duct")
    say(_line("to reject", client.wait_for_status(order_id, "rejected")))
    return order_id


def _cancelled(client: Client, say: Say) -> str:
    order = an_order(phone="010-1111-0003", items=[internet("internet-1000"), tv("tv-premium", 2)])
    order_id = _to_the_visit(client, "to cancel", order, say)
    answer = client.cancel(order_id)
    if answer.status_code >= 400:
        raise RuntimeError(f"the cancel was refused: {answer.status_code} {answer.text}")
    say(_line("to cancel", client.wait_for_status(order_id, "cancelled")))
    return order_id
