"""The call queue in SQL: who enters it, the order of `urgency.py`, page by page, and whom nobody calls about yet."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from chassis.db import Tx
from chassis.saga import Saga
from contracts.errors import Invalid
from scheduling_svc import models
from scheduling_svc.domain import IN_QUEUE, TABLE, RequestVisit, Visit
from scheduling_svc.queries import VISIT_COLUMNS, visit_of
from scheduling_svc.urgency import DUE, FLAGGED, NOT_DUE, OUTSIDE, PROMISED, RISKY, UrgencyPolicy

_c = models.visits.c
_IN_QUEUE = _c.state.in_(IN_QUEUE)
# A tombstone is no visit: nobody ever asked for it.
_ASKED_FOR = _c.customer.is_not(None)


def add(tx: Tx, saga: Saga[Visit], requests: Sequence[RequestVisit]) -> list[UUID]:
    """Store the visits of orders that nobody has heard of, and return these orders; what is there stays as it is.

    One question, so that it may be all that a transaction asks (`StoreSession.single`).
    """
    unheard_of = {request.order_id: Visit(request.order_id) for request in requests}
    _, visits, events = saga.effects(tx, unheard_of, requests)
    tx.lock(visits)
    added = saga.add(tx, list(visits.values()), events)
    return [order_id for order_id in visits if order_id in added]


def list_visits(
    conn: sa.Connection, state: str | None, limit: int, cursor: str | None, policy: UrgencyPolicy, now: datetime
) -> tuple[list[Visit], str | None]:
    """One page of visits in the order to call (`urgency.call_place`), and the next page's cursor.

    What is due and how risky it is are judged as of the first page, which the cursor remembers, so that no visit
    changes its place between pages. Closed visits come newest order first. Raises Invalid (`cursor`).
    """
    as_of, after = (now, None) if cursor is None else _read_cursor(cursor)
    if state in TABLE.final:
        return _closed(conn, state, limit, as_of, after and after[2])
    place, moment = _call_order(policy, as_of)
    states = IN_QUEUE if state is None else (state,)
    query = sa.select(*VISIT_COLUMNS, place.label("place"), moment.label("moment")).where(
        _c.state.in_(states), _ASKED_FOR
    )
    if after is not None:
        key = sa.tuple_(place, moment, _c.order_id)
        query = query.where(key > sa.tuple_(*(sa.literal(part) for part in after)))
    found = conn.execute(query.order_by(place, moment, _c.order_id).limit(limit + 1)).all()
    visits = [visit_of(row) for row in found[:limit]]
    if len(found) <= limit:
        return visits, None
    last = found[limit - 1]
    return visits, _write_cursor(as_of, last.place, last.moment, last.order_id)


def _closed(
    conn: sa.Connection, state: str | None, limit: int, as_of: datetime, after: UUID | None
) -> tuple[list[Visit], str | None]:
    """A page of the visits closed so: by their ids, since there is no end to them and nobody calls about them."""
    query = sa.select(*VISIT_COLUMNS).where(_c.state == state, _ASKED_FOR)
    if after is not None:
        query = query.where(_c.order_id < after)
    found = conn.execute(query.order_by(_c.order_id.desc()).limit(limit + 1)).all()
    visits = [visit_of(row) for row in found[:limit]]
    return visits, _write_cursor(as_of, OUTSIDE, as_of, visits[-1].order_id) if len(found) > limit else None


def take_next(conn: sa.Connection, by: str, policy: UrgencyPolicy, now: datetime) -> UUID | None:
    """The first visit that is due and that nobody else holds, its row locked; None where there is none.

    A row that another transaction has its hand on is passed by, so that two dispatchers who ask at one moment get
    two customers. Who has refused is not handed out: calling again is a person's decision.
    """
    place, moment = _call_order(policy, now)
    claims = models.call_claims.c
    held = sa.exists().where(claims.order_id == _c.order_id, claims.until > now, claims.by != by)
    refused = _c.last_outcome.is_not_distinct_from("refused")
    query = (
        sa.select(_c.order_id)
        .where(_IN_QUEUE, _ASKED_FOR, place < NOT_DUE, ~refused, ~held)
        .order_by(place, moment, _c.order_id)
        .limit(1)
        # NO KEY: the claim's foreign key must not wait for this lock.
        .with_for_update(key_share=True, skip_locked=True)
    )
    return conn.execute(query).scalar_one_or_none()


def _call_order(policy: UrgencyPolicy, now: datetime) -> tuple[sa.ColumnElement[int], sa.ColumnElement[datetime]]:
    """The sort key of a visit: `urgency.call_place` in SQL."""
    due = _IN_QUEUE & sa.or_(_c.next_call_at.is_(None), _c.next_call_at <= now)
    promised = _c.last_outcome.is_not_distinct_from("call_back")
    place = sa.case(
        (due & promised, PROMISED),
        (due & (_c.state == "flagged"), FLAGGED),
        (due & (_points(policy, now) >= policy.high_at), RISKY),
        (due, DUE),
        (_IN_QUEUE, NOT_DUE),
        else_=OUTSIDE,
    )
    moment = sa.case(
        (place.in_((PROMISED, NOT_DUE)), _c.next_call_at),
        (place == OUTSIDE, _c.window_start),
        (place == FLAGGED, _c.requested_at),
        else_=_c.requested_at - _c.missed_calls * sa.literal(policy.missed_call, sa.Interval),
    )
    return place, sa.func.coalesce(moment, _c.requested_at)


def _points(policy: UrgencyPolicy, now: datetime) -> sa.ColumnElement[int]:
    """The points of cancel risk of a visit in the queue."""
    promised = _c.last_outcome.is_not_distinct_from("call_back")
    points: sa.ColumnElement[int] = _c.missed_calls + sa.literal(0)
    for age in policy.ages:
        points += sa.case((_c.requested_at <= now - age, 1), else_=0)
    points += sa.case((_c.last_outcome == "refused", policy.high_at), else_=0)
    return points + sa.case((promised & (_c.next_call_at <= now - policy.overdue), 1), else_=0)


def _write_cursor(as_of: datetime, place: int, moment: datetime, order_id: UUID) -> str:
    text = json.dumps([as_of.isoformat(), place, moment.isoformat(), str(order_id)])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, tuple[int, datetime, UUID]]:
    try:
        as_of, place, moment, order_id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        times = datetime.fromisoformat(as_of), datetime.fromisoformat(moment)
        if type(place) is not int or not PROMISED <= place <= OUTSIDE or any(at.tzinfo is None for at in times):
            raise ValueError("not a cursor of ours")
        return times[0], (place, times[1], UUID(order_id))
    except (ValueError, TypeError, AttributeError, binascii.Error, RecursionError) as exc:
        message = "must be the next_cursor of an earlier answer"
        raise Invalid(f"cursor {message}", [{"field": "cursor", "message": message}]) from exc
