"""Transition tables: how one is built and asked, what is refused, and that the page about them is true."""

from __future__ import annotations

import pytest

from activation_svc import domain as activation
from chassis.table import IGNORE, NONE, Refusal, Refused, Table, Transition, UnexpectedMessage, rows, to
from contracts.events import EVENTS
from fieldwork_svc import domain as fieldwork
from order_svc import domain as order
from scheduling_svc import domain as scheduling
from tools.render_tables import PAGE, render

SERVICES = {"order": order, "activation": activation, "scheduling": scheduling, "fieldwork": fieldwork}

DOOR = Table(
    name="door",
    rows=rows(
        (NONE, {"build": to("open", "door_built")}),
        (("open", "ajar"), {"close": to("closed", "door_closed"), "build": IGNORE}),
        ("closed", {"close": IGNORE, "build": IGNORE, "lock": Refusal("the key is missing")}),
    ),
    final=frozenset({"closed"}),
)


def test_a_row_given_twice_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match=r"\('open', 'close'\) is given twice"):
        rows(("open", {"close": to("closed")}), (("ajar", "open"), {"close": IGNORE}))


def test_a_group_of_states_shares_its_rows() -> None:
    assert DOOR.decide("open", "close") == DOOR.decide("ajar", "close") == Transition("closed", ("door_closed",))


def test_an_ignored_trigger_keeps_the_state_and_emits_nothing() -> None:
    assert DOOR.decide("closed", "close") == Transition("closed", (), ignored=True)


def test_a_refused_command_says_why_and_leaves_no_transition() -> None:
    with pytest.raises(Refused, match="the key is missing") as refused:
        DOOR.decide("closed", "lock")
    assert (refused.value.state, refused.value.trigger) == ("closed", "lock")
    assert DOOR.decide("closed", "close").to == "closed"


def test_a_trigger_the_state_does_not_know_raises_with_table_state_and_trigger() -> None:
    with pytest.raises(UnexpectedMessage, match="door: state 'NONE' does not expect 'close'"):
        DOOR.decide(NONE, "close")


def test_a_table_knows_its_states_and_triggers() -> None:
    assert DOOR.states() == {NONE, "open", "ajar", "closed"}
    assert DOOR.triggers() == {"build", "close", "lock"}
    assert len(list(DOOR)) == 8


@pytest.mark.parametrize("name", SERVICES)
def test_a_final_state_is_never_left(name: str) -> None:
    table = SERVICES[name].TABLE
    assert table.final <= table.states()
    for state, trigger, row in table:
        if state in table.final and isinstance(row, Transition):
            assert row.to == state, f"{name}: {trigger} leads out of {state}"


@pytest.mark.parametrize("name", SERVICES)
def test_every_message_out_and_every_subscription_is_an_event_of_the_contracts(name: str) -> None:
    table = SERVICES[name].TABLE
    emitted = {event for _, _, row in table if isinstance(row, Transition) for event in row.emits}
    assert {event.partition("/")[0] for event in emitted} <= set(EVENTS)
    assert set(SERVICES[name].CONSUMES) <= set(EVENTS)


@pytest.mark.parametrize("name", SERVICES)
def test_every_subscription_is_a_trigger_and_every_event_that_is_a_trigger_is_subscribed(name: str) -> None:
    triggers = {trigger.partition("/")[0] for trigger in SERVICES[name].TABLE.triggers()}
    assert set(SERVICES[name].CONSUMES) == triggers & set(EVENTS)


@pytest.mark.parametrize("name", SERVICES)
def test_a_command_about_an_order_nobody_has_heard_of_is_refused(name: str) -> None:
    commands = {trigger for _, trigger, row in SERVICES[name].TABLE if isinstance(row, Refusal)}
    for command in commands:
        with pytest.raises(Refused):
            SERVICES[name].TABLE.decide(NONE, command)


def test_every_event_is_emitted_by_exactly_one_service() -> None:
    emitters: dict[str, set[str]] = {event: set() for event in EVENTS}
    for name, service in SERVICES.items():
        for _, _, row in service.TABLE:
            for event in row.emits if isinstance(row, Transition) else ():
                emitters[event.partition("/")[0]].add(name)
    assert {event: len(names) for event, names in emitters.items()} == dict.fromkeys(EVENTS, 1)


def test_the_page_of_state_machines_says_what_the_tables_do() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run `python -m tools.render_tables` and commit the page"
