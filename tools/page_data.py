"""A day's work for pages to show: orders in every step, calls, jobs, a fallout; put in through the HTTP interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from element_sim.client import SimClient
from tools.client import Client, Json, internet, tv
from tools.network import SIM
from tools.system import System
from tools.visits import day_of, schedule_with

Say = Callable[[str], None]


class Work(NamedTuple):
    """The day's work. `orders`: what an order is for, as in `CUSTOMERS` -> its id; `day`: that of most visits."""

    orders: dict[str, str]
    day: str

    def path(self, template: str) -> str:
        """`/my/{scheduled}` or `/dispatch?day={day}` with what it names filled in."""
        return template.format(**self.orders, day=self.day)


# Pictures are to be there soon, so the simulator plays the elements; what it refuses is given up at the second try.
SETTINGS = {
    "ELEMENTS_DRIVER": SIM, "PROVISION_ATTEMPTS": "2", "PROVISION_RETRY_FIRST_S": "0.1",
    "ORDER_RATE_PER_S": "1000", "ORDER_RATE_BURST": "5000",
}  # fmt: skip
REFUSED_PRODUCT = "internet-1000"
"""The order that is to become a fallout asks for it, and no other does."""

_GANGNAM, _SEOCHO, _SONGPA, _MAPO = "서울특별시 강남구", "서울특별시 서초구", "서울특별시 송파구", "서울특별시 마포구"
# name, phone, postcode, street, flat, items
CUSTOMERS: dict[str, tuple[str, str, str, str, str, list[Json]]] = {
    "activated": ("한지민", "010-2345-1001", "06236", f"{_GANGNAM} 테헤란로 152", "1203호", [internet(), tv()]),
    "missed": ("오세훈", "010-2345-1002", "06611", f"{_SEOCHO} 서초대로 396", "7층", [internet("internet-100")]),
    "call_back": ("윤서아", "010-2345-1003", "05551", f"{_SONGPA} 올림픽로 300", "101동 905호",
                  [internet(), tv("tv-premium", 2)]),
    "waiting": ("Emma Clark", "010-2345-1004", "04147", f"{_MAPO} 마포대로 19", "B동 301호", [internet()]),
    "scheduled": ("김하늘", "010-2345-1005", "06164", f"{_GANGNAM} 삼성로 512", "101동 1203호", [internet(), tv()]),
    "started": ("임도윤", "010-2345-1006", "06134", f"{_GANGNAM} 강남대로 358", "502호",
                [internet("internet-100"), tv()]),
    "lee": ("송예린", "010-2345-1007", "05510", f"{_SONGPA} 백제고분로 69", "203호", [internet()]),
    "jung": ("배준우", "010-2345-1008", "06035", f"{_GANGNAM} 도산대로 45", "12층", [internet(), tv("tv-premium")]),
    "completed": ("장하윤", "010-2345-1009", "06097", f"{_GANGNAM} 봉은사로 524", "801호", [internet(), tv()]),
    "rejected": ("Minho Seo", "010-2345-1010", "06578", f"{_SEOCHO} 반포대로 201", "1층", [internet()]),
    "cancelled": ("권나연", "010-2345-1011", "05836", f"{_SONGPA} 송파대로 201", "1504호", [internet("internet-100")]),
    "fallout": ("조은우", "010-2345-1012", "06292", f"{_GANGNAM} 남부순환로 2909", "302호",
                [internet(REFUSED_PRODUCT), tv()]),
}  # fmt: skip
TECHNICIANS = {"scheduled": "kim", "started": "kim", "lee": "lee", "jung": "jung", "completed": "kim",
               "rejected": "lee"}  # fmt: skip


def fill(client: Client, refusing: AbstractContextManager[object], say: Say = lambda text: None) -> Work:
    """Put the day's work in. While `refusing` is open, elements refuse REFUSED_PRODUCT."""
    say("one order in each step, calls, jobs and a fallout")
    with refusing:
        orders = {"fallout": _place(client, "fallout")}
        client.wait_for_status(orders["fallout"], "fallout")
    orders |= {name: _place(client, name) for name in CUSTOMERS if name != "fallout"}
    for name, order_id in orders.items():
        if name != "fallout":
            client.wait_for_status(order_id, "activated")
    visits = {name: schedule_with(client, orders[name], technician) for name, technician in TECHNICIANS.items()}
    _call(client, orders)
    _work(client, orders)
    return Work(orders, day_of(visits["scheduled"]).isoformat())


def _place(client: Client, name: str) -> str:
    called, phone, postcode, line1, line2, items = CUSTOMERS[name]
    order = {
        "customer": {"name": called, "phone": phone, "email": f"{name.replace('_', '.')}@example.com"},
        "address": {"postcode": postcode, "line1": line1, "line2": line2},
        "items": items,
    }
    return str(client.place(order)["order_id"])


def _call(client: Client, orders: dict[str, str]) -> None:
    later = (datetime.now(UTC) + timedelta(hours=2)).replace(microsecond=0)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("missed", {"outcome": "no_answer"}),
        ("missed", {"outcome": "no_answer", "note": "음성사서함으로 연결됨"}),
        ("call_back", {"outcome": "call_back", "call_back_at": later.isoformat(), "note": "회의 중"}),
    ]
    for name, call in calls:
        client.call("POST", f"/api/visits/{orders[name]}/calls", as_="dispatcher", json=call)


def _work(client: Client, orders: dict[str, str]) -> None:
    client.start_job(orders["started"], by=TECHNICIANS["started"])
    client.complete(orders["completed"])
    client.reject(orders["rejected"], reason_code="no_duct")
    client.cancel(orders["cancelled"])
    for name in ("completed", "rejected", "cancelled"):
        client.wait_for_status(orders[name], name)


@contextmanager
def simulator_refuses(system: System) -> Iterator[None]:
    """The simulated BNG has no profile for REFUSED_PRODUCT, nor for any other, as long as this is open."""
    with SimClient(system.element_port) as simulator:
        simulator.refuse("bng-1", words=f"no profile {REFUSED_PRODUCT}")
        yield
        simulator.heal("bng-1")


@contextmanager
def system_with_data(folder: Path, say: Say) -> Iterator[tuple[System, Client, Work]]:
    """A system of its own under `folder`, with the day's work in it; stopped and removed at the end."""
    system = System(folder, overrides=SETTINGS, say=say)
    try:
        system.up()
        client = Client(system.url, staff_password=system.env["STAFF_PASSWORD"])
        yield system, client, fill(client, simulator_refuses(system), say)
    finally:
        system.down()
        system.nodes.remove()
