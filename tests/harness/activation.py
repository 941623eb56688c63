"""Activation in a real container, with real elements to work on and, where a test wants it, a far end for its calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

import eventlet
import sqlalchemy as sa

from activation_svc import inventory
from activation_svc.element_config import ElementConfig, resources_of
from activation_svc.service import ActivationService
from chassis.container import Container
from chassis.rpc_server import rpc
from contracts.errors import Invalid, Overloaded
from contracts.events import FieldworkRejected, OrderCancelRequested, OrderPlaced, VisitCancelled
from contracts.ids import new_id
from element_sim.client import SimClient
from tests.harness.containers import Wiretap, call, engine, running, wiretap
from tests.harness.databases import Databases
from tools.nodes import Nodes
from tools.waiting import wait_until

_OLT = {"kind": "olt", "driver": "sim", "slots": 2, "pons": 4, "onus": 64, "vlans": "100-999"}
_BNG = {"kind": "bng", "driver": "sim", "addresses": "100.64.0.0/22"}
SMALL_INVENTORY = {"olt-1": _OLT, "bng-1": _BNG}
"""One OLT, so that a test knows which port comes next."""
TWO_OLTS = {"olt-1": _OLT, "olt-2": _OLT, "bng-1": _BNG}
IMPATIENT: dict[str, Any] = {
    "ELEMENTS_DRIVER": "sim",
    "BNG_LINE_KEY": "a key for tests",
    "ELEMENT_CALL_TIMEOUT_S": 3.0,
    "ELEMENT_BREAKER_FAILURES": 3,
    "ELEMENT_BREAKER_RESET_S": 0.2,
    "ELEMENT_ANSWER_TIMEOUT_S": 1.0,
    "PROVISION_ATTEMPTS": 3,
    "PROVISION_REFUSED_ATTEMPTS": 2,
    "PROVISION_RETRY_FIRST_S": 0.05,
    "PROVISION_RETRY_MAX_S": 0.2,
    "REVERT_ALARM_AFTER": 2,
    "VISIT_RETRY_MAX_S": 0.5,
    "RPC_RETRY_AFTER_S": 0.2,
    "RPC": {"scheduling": {"timeout_s": 0.7, "breaker_failures": 3, "breaker_reset_s": 0.5}},
}


def envelope(order_id: UUID) -> dict[str, Any]:
    return {"event_id": new_id(), "occurred_at": datetime.now(UTC), "order_id": order_id}


def placed(order_id: UUID, **quantities: int) -> OrderPlaced:
    """`placed(order_id, internet_500=1, tv_basic=2)`; one internet line where nothing is said."""
    lines = quantities or {"internet_500": 1}
    return OrderPlaced(
        **envelope(order_id),
        customer={"name": "김하늘", "phone": "010-1234-5678"},
        address={"postcode": "06236", "line1": "서울특별시 강남구 테헤란로 1"},
        items=[{"product": name.replace("_", "-"), "quantity": count} for name, count in lines.items()],
    )


def cancel(order_id: UUID) -> OrderCancelRequested:
    return OrderCancelRequested(**envelope(order_id), reason="이사")


def visit_cancelled(order_id: UUID) -> VisitCancelled:
    return VisitCancelled(**envelope(order_id), reason="이사")


def rejected(order_id: UUID) -> FieldworkRejected:
    return FieldworkRejected(**envelope(order_id), technician_id="kim", reason_code="no_duct", note="막힘")


class ActivationUnderTest:
    """The running service, its database, the elements' truth, and what it says on the broker."""

    def __init__(self, container: Container, db: sa.Engine, tap: Wiretap, elements: SimClient) -> None:
        self.container, self.db, self.tap, self.elements = container, db, tap, elements

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return call(self.container, method, *args, **kwargs)

    def handle(self, *events: Any) -> None:
        self.call("on_events", list(events))

    def place(self, **quantities: int) -> UUID:
        order_id = new_id()
        self.handle(placed(order_id, **quantities))
        return order_id

    def get(self, order_id: UUID) -> dict[str, Any]:
        found: dict[str, Any] = self.call("get_activation", str(order_id))
        return found

    def wait_for(self, order_id: UUID, *states: str) -> dict[str, Any]:
        """Wait until the activation is in one of `states`; what it looks like then."""

        def arrived() -> dict[str, Any] | None:
            found = self.get(order_id)
            return found if found["state"] in states else None

        found = wait_until(arrived, lambda: f"{' or '.join(states)}; is {self.get(order_id)}")
        assert found is not None
        return found

    def sql(self, statement: str, **values: Any) -> Any:
        """Run one statement in the service's database; its rows, where it has some."""
        with self.db.begin() as conn:
            result = conn.execute(sa.text(statement), values)
            return result.all() if result.returns_rows else None

    def forget(self) -> None:
        """Make the running service like new: no order, no held port, whole and empty elements, nothing heard."""
        self.elements.heal()
        self.sql("update activations set state = 'reverted', stuck_since = null")
        wait_until(
            lambda: self.sql("select count(*) from activations where lease_until > now()")[0][0] == 0,
            "the rounds at work to end",
        )
        wait_until(lambda: self.sql("select count(*) from outbox where sent_at is null")[0][0] == 0, "an empty outbox")
        self.sql("delete from activations")
        self.sql("delete from outbox")
        self.sql("update resources set order_id = null, line = null, blocked = null")
        self.tap._queue.purge()
        self.tap.seen.clear()
        for element, entries in self.elements.entries().items():
            for key in entries:
                self.elements.delete(element, key)

    def ports_held(self) -> int:
        return self.held("service-port:%")

    def held(self, pools: str = "%") -> int:
        """How many resources orders hold in the pools that are like `pools`."""
        held = "select count(*) from resources where order_id is not null and pool like :pools"
        return int(self.sql(held, pools=pools)[0][0])


@contextmanager
def own_nodes(databases: Databases, nodes: Nodes) -> Iterator[tuple[str, str]]:
    """A database and a virtual host that several tests share: their URIs; dropped at the end."""
    name = f"t-{new_id().hex}"
    database_uri, amqp_uri = databases.fresh("activation"), nodes.make_vhost(name)
    try:
        yield database_uri, amqp_uri
    finally:
        databases.drop(database_uri)
        nodes.drop_vhost(name)


@contextmanager
def activation_under_test(
    database_uri: str,
    amqp_uri: str,
    elements: SimClient,
    port: int,
    inventory_of: dict[str, dict[str, Any]] = SMALL_INVENTORY,
    **settings: Any,
) -> Iterator[ActivationUnderTest]:
    """Activation on these nodes and simulated elements, with a small inventory and little patience."""
    config = IMPATIENT | {"ELEMENT_SIM_PORT": port, **settings}
    with engine(database_uri) as db, wiretap(amqp_uri) as tap:
        with db.begin() as conn:
            for name, described in inventory_of.items():
                inventory.seed(conn, resources_of(name, ElementConfig.model_validate(described)))
        with running(ActivationService, database_uri, amqp_uri, **config) as container:
            yield ActivationUnderTest(container, db, tap, elements)


class FarEnd:
    """What the far end does with a visit request, and which ones reached it.

    `calls`: the orders of each call. It has a defect with an order of `spoilt`, calls one of `invalid` so, and leaves
    a call with one of `deadly` unanswered.
    """

    mode: ClassVar[str] = "accepted"
    calls: ClassVar[list[list[str]]] = []
    spoilt: ClassVar[set[str]] = set()
    invalid: ClassVar[set[str]] = set()
    deadly: ClassVar[set[str]] = set()

    @classmethod
    def asked(cls) -> list[str]:
        """Every order that was asked for, as often as it was."""
        return [order_id for call in cls.calls for order_id in call]

    @classmethod
    def answer(cls, *order_ids: str) -> list[str]:
        """What to say of each order of one call."""
        cls.calls.append(list(order_ids))
        if cls.mode == "hanging" or cls.deadly.intersection(order_ids):
            eventlet.sleep(3)
        if cls.mode == "overloaded":
            raise Overloaded("too many visits are waiting", retry_after_s=0.2)
        if cls.spoilt.intersection(order_ids):
            raise ZeroDivisionError("a defect over there")
        outcome = "cancelled" if cls.mode == "cancelled" else "accepted"
        return ["invalid" if order_id in cls.invalid else outcome for order_id in order_ids]


class FormerFarEnd:
    """A service that answers in scheduling's place, as the release before did: asked for one order at a time."""

    name = "scheduling"

    @rpc
    def request_visit(self, order_id: str, customer: Any, address: Any, items: Any) -> dict[str, str]:
        """Answer as FarEnd says."""
        (outcome,) = FarEnd.answer(order_id)
        if outcome == "invalid":
            raise Invalid("customer: is none", [{"field": "customer", "message": "is none"}])
        return {"outcome": outcome}


class SchedulingFarEnd(FormerFarEnd):
    """The same, as of today: asked for several orders together."""

    @rpc
    def request_visits(self, requests: list[Any]) -> list[dict[str, Any]]:
        """Answer as FarEnd says."""
        order_ids = [request["order_id"] for request in requests]
        outcomes = FarEnd.answer(*order_ids)
        error = Invalid("customer: is none").as_dict()
        return [
            {"order_id": order_id, "outcome": outcome, "error": error if outcome == "invalid" else None}
            for order_id, outcome in zip(order_ids, outcomes, strict=True)
        ]


@contextmanager
def scheduling_far_end(
    amqp_uri: str, mode: str = "accepted", service: type[Any] = SchedulingFarEnd
) -> Iterator[type[FarEnd]]:
    """Scheduling's stand-in on the virtual host, until the block ends."""
    FarEnd.mode = mode
    FarEnd.calls.clear()
    for orders in (FarEnd.spoilt, FarEnd.invalid, FarEnd.deadly):
        orders.clear()
    config = {
        "AMQP_URI": amqp_uri, "RPC_MAX_QUEUE": 100, "RPC_PREFETCH": 10, "max_workers": 10, "HEARTBEAT": 10,
        "RPC_RETRY_AFTER_S": 1, "BASE": "",
    }
    container = Container(service, config)
    container.start()
    try:
        yield FarEnd
    finally:
        container.kill()
