"""The picture of the saga shows where an order is, in every story it can have."""

from __future__ import annotations

import pytest

from contracts.events import EVENTS
from gateway_svc.pages import operations_saga as saga
from gateway_svc.pages.operations_saga import position


def told(*events: str) -> dict[str, str]:
    """A story, one event a second."""
    return {event: f"2026-11-26T00:00:{second:02}Z" for second, event in enumerate(events)}


@pytest.mark.parametrize(("events", "now", "following"), [
    ((), None, ("placed",)),
    (("order_placed",), "placed", ("activated",)),
    (("order_placed", "activation_failed"), "fallout", ("activated",)),
    (("order_placed", "activation_failed", "activation_completed"), "activated", ("scheduled",)),
    (("order_placed", "activation_completed", "visit_scheduled"), "scheduled", ("installed",)),
    (("order_placed", "activation_completed", "visit_scheduled", "fieldwork_completed"), "installed", ("completed",)),
    (("order_placed", "fieldwork_completed", "order_completed"), "completed", ()),
    (("order_placed", "order_cancel_requested"), "cancel-requested", ("activation-cancel",)),
    (("order_placed", "order_cancel_requested", "activation_cancel_requested"), "activation-cancel", ("put-back",)),
    (("order_placed", "activation_completed", "visit_scheduled", "order_cancel_requested",
      "activation_cancel_requested", "visit_cancel_requested"), "visit-cancel", ("job-withdrawn",)),
    (("order_placed", "visit_cancelled"), "visit-cancelled", ("put-back",)),
    (("order_placed", "order_cancel_requested", "activation_reverted"), "put-back", ("cancelled",)),
    (("order_placed", "activation_reverted", "order_cancelled"), "cancelled", ()),
    (("order_placed", "visit_scheduled", "fieldwork_rejected"), "job-rejected", ("put-back-rejected",)),
    (("order_placed", "fieldwork_rejected", "activation_reverted"), "put-back-rejected", ("rejected",)),
    (("order_placed", "fieldwork_rejected", "activation_reverted", "order_rejected"), "rejected", ()),
])  # fmt: skip
def test_where_an_order_is_and_where_it_goes(
    events: tuple[str, ...], now: str | None, following: tuple[str, ...]
) -> None:
    at = position(told(*events))
    assert (at.now, at.following) == (now, following)
    assert [saga.BY_KEY[key].event.partition("/")[0] for key in at.passed] == list(events)


def test_after_the_pivot_a_cancel_has_lost() -> None:
    at = position(told("order_placed", "order_cancel_requested", "fieldwork_completed", "activation_cancel_requested"))
    assert (at.now, at.mark("cancel-requested"), at.following) == ("installed", "passed", ("completed",))


def test_the_way_that_was_taken_is_drawn_apart_from_those_that_were_not() -> None:
    at = position(told("order_placed", "activation_completed"))
    assert {way[:2]: at.way(*way[:2]) for way in saga.WAYS if at.way(*way[:2]) != "idle"} == {
        ("placed", "activated"): "passed", ("activated", "scheduled"): "next"
    }
    assert [at.mark(key) for key in ("placed", "activated", "scheduled", "rejected")] == [
        "passed", "now", "next", "idle"
    ]


def test_a_cancel_that_went_all_the_way_down_did_not_turn_round_before() -> None:
    at = position(told(
        "order_placed", "activation_completed", "visit_scheduled", "order_cancel_requested",
        "activation_cancel_requested", "visit_cancel_requested", "fieldwork_cancelled", "visit_cancelled",
        "activation_reverted", "order_cancelled",
    ))
    taken = (("visit-cancel", "job-withdrawn"), ("visit-cancelled", "put-back"))
    left = (("visit-cancel", "visit-cancelled"), ("activation-cancel", "put-back"))
    assert [at.way(*way) for way in (*taken, *left)] == ["passed", "passed", "idle", "idle"]
    early = position(told("order_cancel_requested", "activation_cancel_requested", "activation_reverted"))
    assert early.way("activation-cancel", "put-back") == "passed"


def test_every_event_of_the_system_has_its_step_and_every_step_lies_on_a_way() -> None:
    assert {step.event.partition("/")[0] for step in saga.STEPS} == set(EVENTS)
    assert {key for start, end, _ in saga.WAYS for key in (start, end)} == set(saga.BY_KEY)
    assert {step.key for step in saga.STEPS} == set(saga._FURTHEST)


def test_boxes_lie_apart_and_inside_the_picture() -> None:
    places = [(step.x, step.y) for step in saga.STEPS]
    assert len(set(places)) == len(places)
    right, bottom = saga.WIDTH - saga.SIZE["box_w"], saga.HEIGHT - saga.SIZE["box_h"]
    assert all(0 <= x <= right and 0 <= y <= bottom for x, y in places)
    assert len(saga.lines(position({}))) == len(saga.WAYS)
