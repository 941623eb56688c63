"""The call order is said twice, as a rule and in SQL: the two are held together here."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduling_svc import call_queue, models, policy
from scheduling_svc.domain import Visit
from scheduling_svc.urgency import NOT_DUE, call_place
from tests.harness.scheduling import WEDNESDAY_8_AM, Scheduling, running, scheduling

__all__ = ["running", "scheduling"]

POLICY = policy.urgency({})


def some_visits(now: datetime) -> st.SearchStrategy[list[Visit]]:
    """Visits in every state of the queue, with moments close enough to each other to meet every rule."""
    moments = st.sampled_from([timedelta(hours=h) for h in (0, 1, 4, 5, 23, 24, 25, 72, 100)]).map(lambda d: now - d)
    ahead = st.sampled_from([timedelta(minutes=m) for m in (-60, -30, -29, 0, 1, 60)]).map(lambda d: now + d)
    one = st.builds(
        Visit,
        order_id=st.uuids(),
        state=st.sampled_from(["requested", "flagged", "scheduled"]),
        customer=st.just({"name": "김하늘"}),
        requested_at=moments,
        missed_calls=st.integers(0, 4),
        last_outcome=st.sampled_from([None, "agreed", "no_answer", "call_back", "refused"]),
        next_call_at=st.none() | ahead,
        window_start=st.none() | ahead,
    )
    return st.lists(one, min_size=1, max_size=12)


@given(visits=some_visits(WEDNESDAY_8_AM))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_queue_in_sql_is_the_queue_of_the_rule(scheduling: Scheduling, visits: list[Visit]) -> None:
    now = WEDNESDAY_8_AM
    with scheduling.store.engine.connect() as conn, conn.begin() as undone:
        rows = [{name: getattr(visit, name) for name in Visit.__dataclass_fields__}
                | {"created_at": now, "updated_at": now} for visit in visits]
        conn.execute(models.visits.insert(), rows)
        waiting = [visit for visit in visits if visit.state != "scheduled"]
        expected = sorted(waiting, key=lambda visit: (*call_place(visit, POLICY, now), visit.order_id))
        listed, cursor = [], None
        while True:
            page, cursor = call_queue.list_visits(conn, None, 5, cursor, POLICY, now)
            listed += page
            if cursor is None:
                break
        assert [visit.order_id for visit in listed] == [visit.order_id for visit in expected]
        callable_ = [visit.order_id for visit in expected
                     if call_place(visit, POLICY, now)[0] < NOT_DUE and visit.last_outcome != "refused"]
        assert call_queue.take_next(conn, "anna", POLICY, now) == next(iter(callable_), None)
        undone.rollback()


def test_closed_visits_come_newest_order_first_page_by_page(scheduling: Scheduling) -> None:
    now = WEDNESDAY_8_AM
    ids = [scheduling.request() for _ in range(7)]
    scheduling.receive(*(scheduling.event("activation_cancel_requested", one, reason="") for one in ids[:5]))
    with scheduling.store.engine.connect() as conn:
        listed, cursor, pages = [], None, 0
        while cursor is not None or not pages:
            page, cursor = call_queue.list_visits(conn, "cancelled", 2, cursor, POLICY, now)
            listed += [str(visit.order_id) for visit in page]
            pages += 1
    assert (listed, pages) == (sorted(ids[:5], reverse=True), 3)
