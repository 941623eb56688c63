"""Intake never stops: orders are taken without broker, database or order service, and survive the gateway's death."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import requests
from eventlet import GreenPool

from gateway_svc.journal import Journal, Mark
from tests.harness.client import Client, an_order
from tests.harness.lonely import LonelyGateway
from tools.system import System
from tools.waiting import wait_until

MORE_THAN_WORKERS = 60


@pytest.fixture
def lonely(tmp_path: Path) -> Iterator[LonelyGateway]:
    gateway = LonelyGateway(tmp_path)
    gateway.start()
    yield gateway
    gateway.process.stop()


def test_a_gateway_with_nothing_behind_it_takes_orders_and_keeps_them_through_kill_9(lonely: LonelyGateway) -> None:
    client = lonely.client
    placed = [client.place(key=f"key-{number}") for number in range(20)]
    assert {answer["status"] for answer in placed} == {"accepted"}
    order_id = placed[0]["order_id"]
    assert client.order(order_id)["status"] == "accepted"
    cancelled = client.cancel(placed[1]["order_id"])
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelling")

    lonely.process.kill()
    kept = Journal(lonely.journal_path)
    entries = kept.pending(100)
    kept.close()
    assert [str(entry.order_id) for entry in entries[:20]] == [answer["order_id"] for answer in placed]
    assert [(entry.kind, str(entry.order_id)) for entry in entries[20:]] == [("cancel", placed[1]["order_id"])]

    lonely.start()
    assert client.place(key="key-0") == placed[0], "the same key gets the same answer, also after the restart"
    assert client.order(order_id)["status"] == "accepted"
    assert client.order(placed[1]["order_id"])["status"] == "cancelling"


def test_a_gateway_says_in_its_log_what_its_journal_holds_when_it_ends(lonely: LonelyGateway) -> None:
    def said() -> list[tuple[int, int]]:
        return [(line["pending"], line["failed"]) for line in lonely.logged("journal_left")]

    placed, failed = [lonely.client.place()["order_id"] for _ in range(2)]
    lonely.process.stop()
    assert said() == [(2, 0)]

    journal = Journal(lonely.journal_path)
    states = {placed: "forwarded", failed: "failed"}
    journal.mark([Mark(entry.entry_id, states[str(entry.order_id)]) for entry in journal.pending(10)])
    journal.close()
    lonely.start()
    lonely.process.stop()
    assert said() == [(2, 0), (0, 1)]


def test_what_cannot_work_without_the_others_says_when_to_come_back(lonely: LonelyGateway) -> None:
    sign_in = lonely.client.request("POST", "/api/sessions", json={"username": "operator", "password": "x"})
    answer = lonely.client.place()
    windows = lonely.client.request("GET", f"/api/visits/{answer['order_id']}/windows", as_=answer["order_id"])
    for response in (sign_in, windows):
        assert response.status_code == 503 and int(response.headers["Retry-After"]) >= 1
        assert response.headers["Content-Type"] == "application/problem+json"


def test_while_the_database_says_nothing_every_sign_in_is_refused_and_orders_are_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=200) as silent:
        uri = f"postgresql+psycopg2://postgres@127.0.0.1:{silent.getsockname()[1]}/nothing"
        gateway = LonelyGateway(tmp_path, GATEWAY_DB_URI=uri, GATEWAY_DB_ANSWER_TIMEOUT_S="0.5")
        gateway.start()
        try:
            wanted = [{"username": f"user-{number}", "password": "x"} for number in range(MORE_THAN_WORKERS)]
            sign_ins = GreenPool(MORE_THAN_WORKERS).imap(
                lambda body: gateway.client.request("POST", "/api/sessions", json=body), wanted
            )
            # Only so many are let in at once: the others are told to come back (429).
            assert {503} <= {answer.status_code for answer in sign_ins} <= {429, 503}
            assert gateway.client.place()["status"] == "accepted"
        finally:
            gateway.process.stop()


def test_orders_taken_while_order_svc_is_down_arrive_once_and_in_order(system: System, client: Client) -> None:
    system.stop("order")
    placed = [client.place() for _ in range(10)]
    assert {answer["status"] for answer in placed} == {"accepted"}
    cancelled = client.cancel(placed[3]["order_id"])
    assert cancelled.status_code == 202
    system.kill("gateway")
    system.start("gateway")
    system.start("order")

    for number, answer in enumerate(placed):
        expected = ("cancelled",) if number == 3 else ("placed", "activated")
        client.wait_for_status(answer["order_id"], expected)
    rows = system.db("order", "select order_id from orders where order_id = any(:ids) order by order_id",
                     ids=[UUID(answer["order_id"]) for answer in placed])
    assert [str(row["order_id"]) for row in rows] == [answer["order_id"] for answer in placed]

    def journal() -> dict[str, object]:
        return dict(client.call("GET", "/api/ops/overview", as_="operator")["journal"])

    wait_until(lambda: journal()["pending"] == 0, lambda: f"the journal is empty: {journal()}")


def test_one_key_at_one_moment_is_one_order(system: System, client: Client) -> None:
    headers = {"Idempotency-Key": f"at the same moment {uuid4()}"}

    def place(_: int) -> tuple[int, str]:
        response = requests.post(f"{system.url}/api/orders", json=an_order(), headers=headers, timeout=30)
        return response.status_code, response.text

    answers = set(GreenPool(20).imap(place, range(20)))
    assert len(answers) == 1 and next(iter(answers))[0] in (201, 202)

    other = client.request("POST", "/api/orders", json=an_order(postcode="06237"), headers=headers)
    assert other.status_code == 409
    spaced = client.request("POST", "/api/orders", headers=headers | {"Content-Type": "application/json"},
                            data=b" " + requests.Request(method="POST", url=system.url, json=an_order()).prepare().body)
    assert (spaced.status_code, spaced.text) == next(iter(answers)), "white space does not make another order"
