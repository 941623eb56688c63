"""Every Python block of docs/runbook.md does what the runbook says, typed into the real `make shell`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from kombu import Connection

from contracts.events import ActivationCompleted
from contracts.ids import new_id
from tests.harness.checker import assert_each_ended_once, live_orders
from tests.harness.client import Client, Json, an_order, internet
from tests.harness.network import without_profile
from tools.paths import ROOT
from tools.run import only_one
from tools.system import System
from tools.waiting import wait_until

_BLOCK = re.compile(r"<!-- shell: ([a-z-]+) -->\n```python\n(.*?)```", re.DOTALL)
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
BLOCKS: dict[str, str] = dict(_BLOCK.findall(RUNBOOK))

Shell = Callable[..., str]


@pytest.fixture
def shell(system: System) -> Shell:
    """Type blocks of the runbook into `make shell`, after its prelude and these variables; returns what it shows."""

    def type_in(*blocks: str, **variables: str) -> str:
        lines = [BLOCKS["prelude"], *(f"{name} = {value!r}" for name, value in variables.items())]
        text = "\n".join([*lines, *(BLOCKS[block] for block in blocks), ""])
        environment = os.environ | {"OSS_STATE_DIR": str(system.folder), "PYTHONWARNINGS": "ignore"}
        # The shell looks for the process that runs the system in this folder; here that is the test.
        with only_one(system.folder):
            done = subprocess.run(
                [sys.executable, "-m", "tools.run", "shell"], cwd=ROOT, env=environment, input=text,
                capture_output=True, text=True, timeout=90, check=False,
            )
        assert done.returncode == 0, f"the shell failed at {blocks}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return " ".join(done.stdout.split())  # pprint breaks lines where it likes

    return type_in


def in_fallout(system: System, client: Client) -> str:
    """The id of a new order whose account the BNG has refused until activation gave up."""
    with without_profile(system, "internet-100"):
        order_id = str(client.place(an_order(items=[internet("internet-100")]))["order_id"])
        client.wait_for_status(order_id, "fallout")
    return order_id


def an_activated_page(client: Client, order_id: str) -> Json:
    """The order's page once both its events have arrived, in whatever order: nothing more comes by itself."""
    wait_until(lambda: client.order(order_id).get("version") == 2, f"{order_id} is placed and activated")
    return client.order(order_id)


def wait_for_book(system: System, order_id: str, state: str) -> None:
    """Wait until the order book has heard of it as well: pages may be ahead."""
    query = "select state from orders where order_id = cast(:id as uuid)"
    wait_until(lambda: system.db("order", query, id=order_id) == [{"state": state}], f"the order book says {state}")


def parked_at_order(system: System, body: bytes) -> str:
    """The id of a message that order_svc has parked: `body` as it stands, sent to its work queue."""
    message_id = str(uuid4())
    publish(system, "order.events", body, message_id)
    query = "select count(*) as n from parked_messages where id = cast(:id as uuid)"
    wait_until(lambda: system.db("order", query, id=message_id)[0]["n"], f"{message_id} is parked")
    return message_id


def publish(system: System, queue: str, body: bytes, message_id: str) -> None:
    with Connection(system.amqp_uri) as connection, connection.Producer() as producer:
        producer.publish(body, routing_key=queue, message_id=message_id, content_type="application/json")


def test_the_overview_shows_every_service_with_its_queues(shell: Shell) -> None:
    shown = shell("overview")
    for service in ("order", "activation", "scheduling", "fieldwork", "mypage"):
        assert f"'service': '{service}'" in shown
        assert f"'{service}.events'" in shown
    assert "'relay': 'ok'" in shown


def test_an_order_is_found_by_telephone_number_and_in_every_book(
    system: System, client: Client, shell: Shell
) -> None:
    phone = f"010-77{uuid4().int % 100:02d}-{uuid4().int % 10000:04d}"
    order_id = str(client.place(an_order(phone=phone))["order_id"])
    client.schedule(order_id)
    query = "select count(*) as n from jobs where order_id = cast(:id as uuid)"
    wait_until(lambda: system.db("fieldwork", query, id=order_id)[0]["n"], "the job is assigned")
    client.wait_for_status(order_id, "scheduled")
    wait_for_book(system, order_id, "scheduled")
    shown = shell("find-by-phone", "find", phone=phone, order_id=order_id)
    assert f"('{order_id}', 'scheduled'" in shown
    assert re.findall(r">>> '([a-z]+)'", shown) == ["scheduled", "active", "scheduled", "assigned"]
    assert "'visit_scheduled')" in shown


def test_a_fallout_is_listed_and_retried(system: System, client: Client, shell: Shell) -> None:
    order_id = in_fallout(system, client)
    shown = shell("fallout-list", "fallout-retry", order_id=order_id)
    assert order_id in shown and "internet-100" in shown and "'element': 'bng-1'" in shown
    client.wait_for_status(order_id, "activated")
    assert order_id in live_orders(system)


def test_a_fallout_is_retried_on_another_port_and_the_old_one_stays_blocked(
    system: System, client: Client, shell: Shell
) -> None:
    order_id = in_fallout(system, client)
    [row] = system.db("activation", "select tried from activations where order_id = cast(:id as uuid)", id=order_id)
    [old] = row["tried"][-1]["ports"]
    shown = shell("fallout-another-port", order_id=order_id)
    assert f"'port': '{old['port']}'" in shown, f"{old} is blocked: {shown}"
    client.wait_for_status(order_id, "activated")
    assert order_id in live_orders(system)


def test_a_fallout_is_abandoned_and_the_order_ends_as_cancelled(
    system: System, client: Client, shell: Shell
) -> None:
    order_id = in_fallout(system, client)
    shell("fallout-abandon", order_id=order_id)
    client.wait_for_status(order_id, "cancelled")
    wait_until(lambda: order_id not in live_orders(system), "nothing of the order is left on an element")
    [row] = system.db("order", "select cancel_reason from orders where order_id = cast(:id as uuid)", id=order_id)
    assert row["cancel_reason"] == "no fibre in this street"


def test_a_parked_message_is_listed_and_dropped(system: System, shell: Shell) -> None:
    message_id = parked_at_order(system, b"not JSON")
    shown = shell("parked-list", "parked-drop", message_id=message_id)
    assert message_id in shown and "'body': 'not JSON'" in shown and "'result': 'dropped'" in shown
    query = "select count(*) as n from parked_messages where id = cast(:id as uuid)"
    assert system.db("order", query, id=message_id) == [{"n": 0}]


def test_a_parked_message_is_replayed_and_takes_effect_once_its_cause_is_mended(
    system: System, client: Client, shell: Shell
) -> None:
    # Its order is not in the order book: hidden for a moment, under an id that nobody else knows.
    order_id, hidden = str(client.place()["order_id"]), str(uuid4())
    client.wait_for_status(order_id, "activated")
    wait_for_book(system, order_id, "activated")
    move = "update orders set order_id = cast(:to as uuid) where order_id = cast(:id as uuid)"
    system.db("order", move, id=order_id, to=hidden)
    event = ActivationCompleted(event_id=new_id(), occurred_at=datetime.now(UTC), order_id=order_id)
    message_id = event.message_id
    publish(system, "order.events", event.encode(), message_id)
    parked = "select error, attempts from parked_messages where id = cast(:id as uuid)"
    wait_until(lambda: system.db("order", parked, id=message_id), "the message is parked after its last try")
    [row] = system.db("order", parked, id=message_id)
    assert "does not expect 'activation_completed'" in row["error"] and row["attempts"] > 1
    system.db("order", move, id=hidden, to=order_id)
    shown = shell("parked-replay", message_id=message_id)
    assert "'result': 'replayed'" in shown
    done = "select count(*) as n from inbox where message_id = cast(:id as uuid)"
    wait_until(lambda: system.db("order", done, id=message_id)[0]["n"] == 1, "the message has taken effect")
    assert system.db("order", parked, id=message_id) == []


def test_mypage_is_rebuilt_to_the_same_content(system: System, client: Client, shell: Shell) -> None:
    order_id = str(client.place()["order_id"])
    page = an_activated_page(client, order_id)
    system.db("mypage", "update pages set status = 'placed' where order_id = cast(:id as uuid)", id=order_id)
    assert client.order(order_id)["status"] == "placed"
    assert "{'orders': " in shell("rebuild")
    assert client.order(order_id) == page


def test_events_published_again_bring_a_lost_page_back(system: System, client: Client, shell: Shell) -> None:
    order_id = str(client.place()["order_id"])
    page = an_activated_page(client, order_id)
    for table in ("pages", "events"):
        system.db("mypage", f"delete from {table} where order_id = cast(:id as uuid)", id=order_id)
    shown = shell("republish", order_id=order_id)
    assert "'order': {'events': 1, " in shown and "'activation': {'events': 1, " in shown
    wait_until(lambda: client.order(order_id).get("version") == page["version"], "the page is back")
    assert client.order(order_id) == page


def test_an_operator_cancels_for_a_subscriber(system: System, client: Client, shell: Shell) -> None:
    order_id = str(client.place()["order_id"])
    client.wait_for_status(order_id, "activated")
    assert "'status': 'cancelling'" in shell("cancel", order_id=order_id)
    client.wait_for_status(order_id, "cancelled")
    assert_each_ended_once(system, {order_id: "cancelled"})


def test_the_call_queue_shows_whom_to_call_and_what_is_flagged(
    system: System, client: Client, shell: Shell
) -> None:
    order_id = str(client.place()["order_id"])
    client.wait_for_status(order_id, "activated")
    # Long ago, so that it stands on the first page whatever else waits.
    early = "update visits set requested_at = '2020-01-01T00:00:00Z' where order_id = cast(:id as uuid)"
    system.db("scheduling", early, id=order_id)
    assert f"('{order_id}', 'new', 0, True)" in shell("call-queue")
    call = {"outcome": "refused", "note": "wants no visit"}
    client.call("POST", f"/api/visits/{order_id}/calls", as_="dispatcher", json=call)
    shown = shell("call-queue")
    assert f"('{order_id}', 'the customer refused: wants no visit')" in shown
    client.cancel(order_id)
    client.wait_for_status(order_id, "cancelled")


def test_an_operator_sees_what_is_pruned_and_prunes_now(system: System, shell: Shell) -> None:
    old = uuid4()
    system.db(
        "order", "insert into outbox (message_id, exchange, routing_key, body, created_at, sent_at)"
        " values (cast(:id as uuid), 'oss.events', 'order_placed', '', '2020-01-01T00:00:00Z', '2020-01-01T00:00:00Z')",
        id=str(old),
    )  # fmt: skip
    shown = shell("pruning", "prune-now")
    assert re.search(r"'rows': 1,\s+'table': 'outbox'", shown), shown
    query = "select count(*) as n from outbox where message_id = cast(:id as uuid)"
    wait_until(lambda: system.db("order", query, id=str(old)) == [{"n": 0}], "it has gone")


def test_no_block_of_the_runbook_is_left_out() -> None:
    assert RUNBOOK.count("```python") == len(BLOCKS), "each Python block has a marker of its own"
    things = re.findall(r"^### (\d+)\. ", RUNBOOK, re.MULTILINE)
    assert [int(number) for number in things] == list(range(1, 12)), "eleven things"
    asked = set(re.findall(r'shell\(\n?\s*((?:"[a-z-]+"(?:, )?)+)', (ROOT / __file__).read_text(encoding="utf-8")))
    tested = {name for group in asked for name in re.findall(r'"([a-z-]+)"', group)}
    assert tested | {"prelude"} == BLOCKS.keys()
