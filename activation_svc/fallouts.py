"""What an operator can do about a fallout besides a plain retry: have it tried on another service port."""

from __future__ import annotations

from activation_svc import inventory
from activation_svc.domain import Activation
from activation_svc.network import Network
from activation_svc.plan import PORT, Resource, needs_of
from chassis.db import Tx
from contracts.errors import Conflict
from contracts.orders import OrderItem


def change_port(tx: Tx, row: Activation, by: str, network: Network) -> None:
    """Block the ports of the order's last try and give it others, on another OLT where that OLT is what failed.

    `row` is the fallout. What may still stand on the former port is put back by the next round that can, and until
    then the order keeps it from others. Raises Conflict where there was no port, or is no other.
    """
    ports = [Resource(PORT, port["element"], port["port"]) for port in last_ports(row)]
    if not ports:
        raise Conflict("no port has been tried for this order yet: retry it as it is")
    why = f"{by or 'an operator'} wanted another port for order {row.order_id}: {row.last_error}"
    inventory.block(tx.conn, row.order_id, ports, why)
    holding = inventory.held(tx.conn, [row.order_id]).get(row.order_id, {})
    items = [OrderItem.model_validate(item) for item in row.items]
    needs = inventory.lacking(needs_of(items), holding)
    failed = {port.element for port in ports} & {row.failed_element}
    others = {name: kind for name, kind in network.kinds.items() if name not in failed}
    given = inventory.allocate_exactly(tx.conn, {row.order_id: needs}, others, network.elements.avoided())
    if row.order_id in given.exhausted:
        raise Conflict(f"there is no other port, exhausted: {', '.join(given.exhausted[row.order_id])}")


def last_ports(row: Activation) -> list[dict[str, str]]:
    """The service ports of the last try that had some, as `{"element", "port"}`."""
    return next((tried["ports"] for tried in reversed(row.tried) if tried.get("ports")), [])
