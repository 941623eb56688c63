"""What of a customer a role gets to see with an order. Jobs and visits are shown by their own services' answers."""

from __future__ import annotations

from typing import Any

from gateway_svc.auth import Role
from gateway_svc.pages.formats import masked_phone


def order_for(role: Role, page: dict[str, Any]) -> dict[str, Any]:
    """An order's page as `role` may see it.

    Technicians have their jobs, with all they need at the door: elsewhere they see no phone number and no e-mail.
    """
    if role != "technician" or page.get("customer") is None:
        return page
    customer = page["customer"]
    return page | {"customer": customer | {"phone": masked_phone(customer.get("phone")), "email": None}}


def listed_for(role: Role, page: dict[str, Any]) -> dict[str, Any]:
    """The same for one of many orders: a technician sees how far it is, not whose it is."""
    return page if role != "technician" else page | {"customer": None, "address": None}
