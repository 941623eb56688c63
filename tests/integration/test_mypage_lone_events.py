"""Promises of an event that comes alone, for which MyPage asks PostgreSQL once, by what it remembers of the order: the
page, and what is stored, are as ever, whoever else had a hand in it. Two replicas on one database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import eventlet
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.db import StoreSession, store_of
from chassis.hints import Hints
from contracts import versions
from contracts.changes import Change
from contracts.ids import new_id
from mypage_svc import queries, remembered
from mypage_svc.domain import fact, fold
from mypage_svc.queries import page_answer
from mypage_svc.service import MypageService
from tests.harness.containers import engine, fresh_vhost, running, wiretap
from tests.harness.databases import Databases
from tests.integration.test_mypage_databases import HISTORIES
from tests.integration.test_mypage_pages import Mypage, a_completed_history, an_event, placed, scheduled
from tests.unit import test_mypage_fold as folds
from tools.nodes import Nodes
from tools.waiting import wait_until

ONCE, ANEW = ["single"], ["single", "transaction"]
"""The ways an event is taken in: by one question; by one that did nothing, and then as ever."""

Two = tuple[Mypage, Mypage]


@dataclass
class Taken:
    """What the service did since this was last looked at."""

    ways: list[str]
    hinted: list[Change]

    def how(self) -> list[str]:
        ways, self.ways = self.ways, []
        return ways


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Taken:
    seen = Taken([], [])
    for way in ("single", "transaction"):
        real = getattr(StoreSession, way)

        def noted(self: StoreSession, way: str = way, real: Any = real) -> Any:
            seen.ways.append(way)
            return real(self)

        monkeypatch.setattr(StoreSession, way, noted)
    monkeypatch.setattr(Hints, "announce", lambda self, hints: seen.hinted.extend(hints))
    return seen


@pytest.fixture(scope="module")
def replicas(databases: Databases, nodes: Nodes) -> Iterator[Two]:
    uri = databases.fresh("mypage")
    with (
        fresh_vhost(nodes) as amqp_uri, wiretap(amqp_uri) as tap, engine(uri) as db,
        running(MypageService, uri, amqp_uri) as one, running(MypageService, uri, amqp_uri) as other,
    ):  # fmt: skip
        yield Mypage(one, tap, db, amqp_uri), Mypage(other, tap, db, amqp_uri)
    databases.drop(uri)


@pytest.fixture
def mypage(replicas: Two) -> Mypage:
    """One of them, with nothing stored."""
    replicas[0].truncate("pages", "events", "inbox")
    return replicas[0]


def status(mypage: Mypage, order_id: Any) -> tuple[str, int]:
    page = mypage.call("get_order", str(order_id))
    return page["status"], page["version"]


def test_each_event_of_an_order_that_comes_alone_takes_one_question(mypage: Mypage, taken: Taken) -> None:
    order_id = new_id()
    history = a_completed_history(order_id)
    for event in history:
        mypage.handle([event])
        assert taken.how() == ONCE, event.event_type
    assert mypage.call("get_order", str(order_id)) == page_answer(fold(map(fact, history)))
    assert taken.hinted == [Change("orders", str(order_id), version) for version in range(1, 7)]


def test_an_order_of_which_nothing_is_remembered_is_read_once(mypage: Mypage, taken: Taken) -> None:
    order_id = new_id()
    placed_first, *others = a_completed_history(order_id)
    for event in (others[2], placed_first, others[0]):
        mypage.handle([event])
    assert taken.how() == ["transaction", *ONCE, *ONCE]
    mypage.handle(others)
    mypage.handle([an_event("order_cancel_requested", order_id, 12)])
    assert taken.how() == ["transaction", *ONCE], "what came in a batch is remembered as well"
    assert status(mypage, order_id) == ("completed", 7)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_events_one_by_one_in_any_order_at_any_replica_make_the_same_page(replicas: Two, data: st.DataObject) -> None:
    order_id = new_id()
    names = data.draw(st.sampled_from(HISTORIES))
    history = [event.model_copy(update={"order_id": order_id}) for event in folds.events_of(*names)]
    twice = data.draw(st.lists(st.sampled_from(history), max_size=5))
    seen = set()
    for event in data.draw(st.permutations(history + twice)):
        at = data.draw(st.sampled_from(replicas))
        at.handle([event])
        seen.add(event.event_id)
        assert status(at, order_id)[1] == len(seen)
        if data.draw(st.booleans()):
            data.draw(st.sampled_from(replicas)).call("rebuild")
    assert replicas[0].call("get_order", str(order_id)) == page_answer(fold(map(fact, history)))


def test_what_is_stored_of_events_alone_is_what_is_stored_of_them_together(
    mypage: Mypage, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejected = an_event("fieldwork_rejected", new_id(), 9, technician_id="tech-1", reason_code="no_duct", note="why")
    change = versions.Change(
        "fieldwork_rejected", 2, lambda payload: payload, lambda payload: payload | {"note": "WHY"}, type(rejected)
    )
    monkeypatch.setattr(versions, "CHANGES", (change,))
    history = [placed(rejected.order_id), scheduled(rejected.order_id), rejected]
    for event in history:
        mypage.handle([event])
    assert taken.how() == ONCE * 3
    alone = mypage.content()
    with mypage.db.connect() as conn:
        query = "select schema_version, payload->>'note', received_at from events order by received_at"
        rows = conn.execute(sa.text(query)).all()
    assert all(row.received_at for row in rows)
    assert tuple(rows[-1][:2]) == (1, "WHY"), "it is stored in the version that is sent"
    mypage.truncate("pages", "events")
    mypage.handle(history)
    assert mypage.content() == alone


def test_an_event_between_that_another_process_added_is_on_the_page(
    replicas: Two, mypage: Mypage, taken: Taken
) -> None:
    order_id = new_id()
    first, second, third, fourth, *_ = a_completed_history(order_id)
    mypage.handle([first])
    replicas[1].handle([second])
    assert taken.how() == [*ONCE, "transaction"]
    mypage.handle([third])
    assert taken.how() == ANEW
    assert status(mypage, order_id) == ("scheduled", 3)
    mypage.handle([fourth])
    assert taken.how() == ONCE
    assert status(mypage, order_id) == ("scheduled", 4)
    assert [change.version for change in taken.hinted] == [1, 2, 3, 4]


def test_an_event_that_another_process_is_just_adding_is_waited_for(
    replicas: Two, mypage: Mypage, taken: Taken
) -> None:
    order_id = new_id()
    first, second, *_ = a_completed_history(order_id)
    with store_of(replicas[1].container).transaction() as tx, mypage.db.connect() as conn:
        tx.lock([order_id])
        queries.add_events(tx.conn, [fact(second)])
        tx.conn.exec_driver_sql("select 1")
        handling = eventlet.spawn(mypage.handle, [first])
        waiting = "from pg_locks join pg_database on oid = database where datname = current_database() and not granted"
        wait_until(lambda: conn.execute(sa.text(f"select 1 {waiting}")).first(), "the first event waits")
    handling.wait()
    assert taken.how() == ANEW
    assert status(mypage, order_id) == ("activated", 2)


def test_the_same_event_twice_counts_once(replicas: Two, mypage: Mypage, taken: Taken) -> None:
    first, second, *_ = a_completed_history(new_id())
    mypage.handle([first, second])
    before = mypage.content()
    taken.how()
    # The other one guesses that it is the beginning of an order that nobody has heard of.
    for at, event in ((mypage, second), (mypage, first), (replicas[1], first)):
        at.handle([event])
        assert taken.how() == ANEW
    assert mypage.content() == before


def test_what_is_not_as_remembered_is_not_touched(mypage: Mypage) -> None:
    order_id = new_id()
    first, second, third, fourth, *_ = map(fact, a_completed_history(order_id))
    for event in a_completed_history(new_id()):  # another order's are none of its business
        mypage.handle([event])
    with store_of(mypage.container).transaction() as tx:
        queries.add_events(tx.conn, [first, second])
    before = mypage.content()
    for known, event in (([], third), ([first], third), ([first, second, fourth], third), ([first, second], second)):
        with store_of(mypage.container).single() as tx:
            assert not queries.add_lone(tx.conn, known, event, fold([*known, event]))
        assert mypage.content() == before
    with store_of(mypage.container).single() as tx:
        assert queries.add_lone(tx.conn, [second, first], third, fold([first, second, third]))
    assert status(mypage, order_id) == ("scheduled", 3)


@pytest.mark.parametrize("gone", ["pages", "events"])
def test_a_page_between_two_events_rebuilt_or_emptied_is_of_what_is_stored(
    mypage: Mypage, taken: Taken, gone: str
) -> None:
    order_id = new_id()
    first, second, third, *_ = a_completed_history(order_id)
    mypage.handle([first, second])
    mypage.truncate(gone)
    mypage.call("rebuild")
    taken.how()
    mypage.handle([third])
    assert taken.how() == (ONCE if gone == "pages" else ANEW)
    assert status(mypage, order_id) == ("scheduled", 3 if gone == "pages" else 1)
    after = mypage.content()
    mypage.call("rebuild")
    assert mypage.content() == after


def test_the_page_of_an_order_whose_events_have_gone_stays_as_it_is(mypage: Mypage, taken: Taken) -> None:
    order_id = new_id()
    history = a_completed_history(order_id)
    mypage.handle(history)
    with mypage.db.begin() as conn:
        conn.execute(sa.text("update pages set settled_at = now()"))
        conn.execute(sa.text("delete from events"))
    before = mypage.content()["pages"]
    taken.how()
    for event in (an_event("order_cancel_requested", order_id, 12), *history[:2]):
        mypage.handle([event])
    assert mypage.content()["pages"] == before
    assert len(mypage.content()["events"]) == 3, "what comes late is kept, as ever"


def test_a_question_that_fails_changes_nothing_and_the_event_may_come_again(mypage: Mypage, taken: Taken) -> None:
    order_id = new_id()
    first, second, third, *_ = a_completed_history(order_id)
    mypage.handle([first])
    before, hinted = mypage.content(), list(taken.hinted)
    with mypage.db.begin() as conn:
        conn.execute(sa.text("alter table pages add constraint none check (version < 2)"))
    with pytest.raises(sa.exc.IntegrityError):
        mypage.handle([second])
    assert (taken.how(), taken.hinted, mypage.content()) == (ONCE * 2, hinted, before)
    with mypage.db.begin() as conn:
        conn.execute(sa.text("alter table pages drop constraint none"))
    for event in (second, third):
        mypage.handle([event])
    assert taken.how() == ["transaction", *ONCE]
    assert status(mypage, order_id) == ("scheduled", 3)


def test_an_answer_lost_after_the_commit_does_no_harm(
    mypage: Mypage, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = new_id()
    add_lone = queries.add_lone

    def lost(*args: Any) -> bool:
        assert add_lone(*args)
        raise sa.exc.OperationalError("execute", {}, Exception("the connection was cut"))

    first, second, third, *_ = a_completed_history(order_id)
    for event in (first, second):
        monkeypatch.setattr(queries, "add_lone", lost)
        with pytest.raises(sa.exc.OperationalError):
            mypage.handle([event])
        monkeypatch.setattr(queries, "add_lone", add_lone)
        mypage.handle([event])
    assert taken.how() == [*ONCE, *ANEW, *ONCE, "transaction"]
    mypage.handle([third])
    assert taken.how() == ONCE
    assert status(mypage, order_id) == ("scheduled", 3)


def test_no_more_orders_are_remembered_than_it_says_and_those_handled_last(
    mypage: Mypage, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "ORDERS", 2)
    oldest, middle, newest = (a_completed_history(new_id()) for _ in range(3))
    for event in (oldest[0], middle[0], oldest[1], newest[0]):
        mypage.handle([event])
    assert taken.how() == ONCE * 4
    for event in (oldest[2], middle[1]):
        mypage.handle([event])
    assert taken.how() == [*ONCE, "transaction"]
    assert status(mypage, middle[0].order_id) == ("activated", 2)
