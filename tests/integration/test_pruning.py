"""Promises of pruning: what is old goes in small steps, what is unfinished stays, and what comes again does nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from nameko.containers import ServiceContainer
from nameko.exceptions import ConfigurationError

from chassis import prune_rules, pruning
from chassis.db import store_of
from contracts import events
from contracts.ids import new_id
from order_svc.service import OrderService
from tests.harness.aged import ago, column, id_of, pruner_of, put_inbox, put_outbox
from tests.harness.containers import call, running
from tests.harness.orders import an_event, place_order
from tools.restore_replay import engine_of, forgets_before, missing_since, resend
from tools.waiting import wait_until

OLD, KEPT = 400, 30
"""Days: older than anything is kept by config/base.yaml, and younger."""


@pytest.fixture
def order(vhost: str, database: Callable[[str], str]) -> Iterator[ServiceContainer]:
    with running(OrderService, database("order"), vhost, RELAY_IDLE_S=600) as container:
        yield container


def sent_ids(container: ServiceContainer) -> set[Any]:
    return set(column(container, "select message_id from outbox"))


def inbox_ids(container: ServiceContainer) -> set[Any]:
    return set(column(container, "select message_id from inbox"))


def park(container: ServiceContainer, key: UUID, order_id: UUID, body: bytes = b"{}") -> None:
    with store_of(container).transaction() as tx:
        tx.conn.execute(tx.tables.parked.insert(), {
            "id": key, "message_id": str(key), "order_id": str(order_id), "event_type": "activation_completed",
            "queue": "order.events", "headers": {}, "body": body, "error": "died", "attempts": 20,
            "parked_at": ago(OLD),
        })  # fmt: skip


def test_what_was_sent_long_ago_goes_and_what_waits_for_the_broker_stays_however_old(order: ServiceContainer) -> None:
    put_outbox(order, OLD, count=2500, sent_days=OLD)
    waiting = put_outbox(order, OLD, count=3, routing_key="nobody listens")
    again = put_outbox(order, OLD, sent_days=1)  # it was published again yesterday
    young = put_outbox(order, KEPT, count=3, sent_days=KEPT)
    assert pruner_of(order).prune()["outbox"] == 2500
    assert sent_ids(order) == {*waiting, *again, *young}
    assert pruner_of(order).prune()["outbox"] == 0


def test_a_run_that_broke_off_is_gone_on_with(order: ServiceContainer, monkeypatch: pytest.MonkeyPatch) -> None:
    put_outbox(order, OLD, count=2500, sent_days=OLD)
    delete, calls = prune_rules.ByKey.delete, []

    def dies(rule: Any, tx: Any, keys: Any, before: Any) -> int:
        calls.append(keys)
        if len(calls) == 2:
            raise sa.exc.OperationalError("delete", {}, OSError("the connection is gone"))
        return delete(rule, tx, keys, before)

    with monkeypatch.context() as patched:
        patched.setattr(prune_rules.ByKey, "delete", dies)
        with pytest.raises(sa.exc.OperationalError):
            pruner_of(order).prune()
    assert len(sent_ids(order)) == 1500
    assert column(order, "select rows from pruned where name = 'outbox'") == [1000]
    assert pruner_of(order).prune()["outbox"] == 1500


def test_work_goes_on_while_a_transaction_of_the_pruner_is_open(order: ServiceContainer) -> None:
    put_outbox(order, OLD, count=1000, sent_days=OLD)
    ids = put_inbox(order, OLD, count=1000)
    placed = place_order()
    with store_of(order).transaction() as tx:
        for rule, keys in ((prune_rules.OUTBOX, [*range(1, 1001)]), (prune_rules.INBOX, ids)):
            assert rule.delete(tx, keys, ago(365)) == 1000
        with store_of(order).transaction() as other:
            other.conn.execute(sa.text("set local lock_timeout = '1s'"))
            other.emit([an_event(events.OrderCompleted, new_id(), cancel_refused=False)])
        assert call(order, "place_orders", [placed])[0]["status"] == "placed"
        call(order, "on_events", [an_event(events.ActivationCompleted, UUID(placed["order_id"]))])
    assert call(order, "get_order", placed["order_id"])["status"] == "activated"


def test_only_one_process_prunes_a_table_at_a_time(order: ServiceContainer) -> None:
    put_outbox(order, OLD, count=10, sent_days=OLD)
    with store_of(order).transaction() as other:
        other.conn.execute(sa.text("select pg_advisory_xact_lock(hashtextextended('pruner outbox', 0))"))
        assert pruner_of(order).prune()["outbox"] == 0
    assert pruner_of(order).prune()["outbox"] == 10


def test_it_prunes_by_itself_when_that_is_due_and_not_again_before(vhost: str, database: Callable[[str], str]) -> None:
    with running(OrderService, database("order"), vhost, RELAY_IDLE_S=600, PRUNE_EVERY_S=2) as order:
        put_outbox(order, OLD, count=5, sent_days=OLD)
        wait_until(lambda: not sent_ids(order), "pruned by itself")
    with running(OrderService, database("order"), vhost, RELAY_IDLE_S=600) as order:
        pruner_of(order).prune()
        put_outbox(order, OLD, count=5, sent_days=OLD)
        assert not pruner_of(order)._is_due()
        assert call(order, "start_pruning") == {"result": "started"}
        wait_until(lambda: not sent_ids(order), "pruned because an operator wanted it")


@pytest.mark.parametrize(("outbox", "inbox"), [(0, 365), (90, 179)])
def test_an_inbox_that_would_forget_what_an_outbox_can_send_again_does_not_start(outbox: int, inbox: int) -> None:
    with pytest.raises(ConfigurationError, match="INBOX_KEEP_DAYS"):
        pruning.check_days(outbox, inbox)


@pytest.mark.parametrize(("outbox", "inbox"), [(90, 365), (90, 0), (0, 0), (90, 180)])
def test_days_that_go_together_are_taken(outbox: int, inbox: int) -> None:
    pruning.check_days(outbox, inbox)


def test_zero_days_keep_for_ever(vhost: str, database: Callable[[str], str]) -> None:
    with running(OrderService, database("order"), vhost, OUTBOX_KEEP_DAYS=0, INBOX_KEEP_DAYS=0) as order:
        kept = {*put_outbox(order, 4000, sent_days=4000)}
        put_inbox(order, 4000)
        assert pruner_of(order).prune() == {}
        assert (sent_ids(order), len(inbox_ids(order))) == (kept, 1)


def test_ids_of_handled_messages_go_but_not_of_one_that_may_still_be_replayed(order: ServiceContainer) -> None:
    put_inbox(order, OLD, count=1200)
    parked, young = put_inbox(order, OLD), put_inbox(order, KEPT, count=3)
    late = put_inbox(order, KEPT, ids=[id_of(OLD)])  # an old message that was handled not long ago
    park(order, parked[0], new_id())
    assert pruner_of(order).prune()["inbox"] == 1200
    assert inbox_ids(order) == {*parked, *young, *late}


def test_a_parked_message_that_had_taken_effect_is_still_skipped_when_it_is_replayed_after_pruning(
    order: ServiceContainer,
) -> None:
    """Its process died after the commit each time, so it was parked; only the inbox knows that it is done."""
    key, order_id = id_of(OLD), new_id()
    put_inbox(order, OLD, ids=[key])
    park(order, key, order_id)
    assert call(order, "replay_parked", str(key))["result"] == "replayed"
    pruner_of(order).prune()  # between the replay and its delivery
    assert inbox_ids(order) == {key}


def test_a_parked_message_that_never_took_effect_does_so_when_it_is_replayed_after_pruning(
    order: ServiceContainer,
) -> None:
    placed = place_order()
    call(order, "place_orders", [placed])
    event = an_event(events.ActivationCompleted, UUID(placed["order_id"]))
    park(order, event.event_id, event.order_id, event.encode())
    put_inbox(order, OLD, count=5)
    pruner_of(order).prune()
    call(order, "replay_parked", str(event.event_id))
    wait_until(lambda: call(order, "get_order", placed["order_id"])["status"] == "activated", "it takes effect")


def test_what_comes_again_after_its_id_has_gone_has_no_effect_a_second_time(order: ServiceContainer) -> None:
    """The state machine's own rows: tests/model hands every message again at any later time, without an inbox."""
    placed = place_order()
    order_id = UUID(placed["order_id"])
    call(order, "place_orders", [placed])
    story: list[Any] = [
        an_event(events.ActivationCompleted, order_id),
        an_event(events.FieldworkCompleted, order_id, technician_id="tech-1", note="",
                 results={"ont_serial": "HFRN1234ABCD", "rx_power_dbm": -19.5, "down_mbps": 487.0}),
    ]  # fmt: skip
    call(order, "on_events", story)
    said = len(sent_ids(order))
    with store_of(order).transaction() as tx:
        tx.conn.execute(tx.tables.inbox.delete())
    call(order, "on_events", story)
    call(order, "place_orders", [placed])
    assert (len(sent_ids(order)), call(order, "get_order", placed["order_id"])["status"]) == (said, "completed")


def test_nothing_older_than_an_outbox_keeps_is_published_again(order: ServiceContainer) -> None:
    put_outbox(order, 100, sent_days=100)
    young = put_outbox(order, KEPT, sent_days=KEPT, routing_key="nobody listens")
    assert call(order, "republish_events") == {"events": 1, "of_days": 90, "goes_on": False}
    assert column(order, "select message_id from outbox where sent_at is null") == young


def test_an_operator_sees_what_would_go_and_what_has_gone(order: ServiceContainer) -> None:
    put_outbox(order, OLD, count=1500, sent_days=OLD)
    put_inbox(order, KEPT)
    shown = {item["table"]: item for item in call(order, "show_pruning")["items"]}
    assert {name: (item["rows"], item["at_least"]) for name, item in shown.items()} == {
        "outbox": (1500, False), "inbox": (0, False)
    }
    assert (shown["outbox"]["keep_days"], shown["outbox"]["looked_at"]) == (90, None)
    assert len(sent_ids(order)) == 1500, "looking deletes nothing"
    assert call(order, "order_messages", str(new_id()))["pruned_before"] == {"sent": None, "handled": None}
    pruner_of(order).prune()
    shown = {item["table"]: item for item in call(order, "show_pruning")["items"]}
    assert (shown["outbox"]["rows"], shown["outbox"]["pruned_rows"]) == (0, 1500)
    gone = call(order, "order_messages", str(new_id()))["pruned_before"]
    assert gone["sent"] == shown["outbox"]["pruned_before"] and gone["handled"] is None


def test_a_restore_does_not_send_again_what_an_inbox_has_forgotten(
    order: ServiceContainer, database: Callable[[str], str]
) -> None:
    """The outbox of an old backup holds more than the inboxes of today remember."""
    uris = {"order": str(store_of(order).engine.url.render_as_string(hide_password=False))}
    uris |= {service: database(service) for service in ("activation", "scheduling", "fieldwork", "mypage")}
    put_outbox(order, OLD, sent_days=OLD)
    put_outbox(order, KEPT, sent_days=KEPT)
    for service, name in (("activation", "inbox"), ("mypage", "events")):
        with engine_of(uris[service]).begin() as conn:
            conn.execute(sa.text("insert into pruned values (:name, :until, 7, :until)"),
                         {"name": name, "until": ago(365)})  # fmt: skip
    assert forgets_before("mypage", uris["mypage"]) is not None
    assert resend(uris, "oss.events") == {"order": 1}


def test_a_backup_that_is_older_than_what_the_others_keep_is_refused_for_one_service_alone(
    order: ServiceContainer, database: Callable[[str], str]
) -> None:
    uris = {"order": str(store_of(order).engine.url.render_as_string(hide_password=False))}
    uris |= {service: database(service) for service in ("activation", "scheduling", "fieldwork", "mypage")}
    put_outbox(order, OLD, sent_days=OLD)
    pruner_of(order).prune()
    assert missing_since(["fieldwork"], uris, ago(KEPT)) == []
    (said,) = missing_since(["fieldwork"], uris, ago(100))
    assert said.startswith("order has been pruned of its outbox up to ")
    assert missing_since([*uris, "gateway"], uris, ago(100)) == [], "everything goes back to one moment"
