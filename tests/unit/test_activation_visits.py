"""Which calls are made for the visits of a round, and what each answer, or none, means for every order in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

from activation_svc import leases, visits
from activation_svc.domain import Activation
from activation_svc.handover import Handover
from activation_svc.visits import Gate, NoAnswer, Visits
from chassis.rpc_client import DeadlineExceeded, RemoteFault
from contracts.errors import Invalid, Overloaded
from contracts.ids import new_id

HERE = leases.this_process("here")
VISITS = Visits(Gate(), HERE, batch=50, retry_longest_s=15.0, provisioned=Handover(100, lambda: None))
UNKNOWN_METHOD = RemoteFault("scheduling.request_visits: MethodNotFound: request_visits")


@dataclass
class Far:
    """Scheduling: `together` and `alone` answer a call, or raise; `calls` notes the orders of each."""

    together: Callable[[list[str]], Any]
    alone: Callable[[str], Any] = lambda order_id: {"outcome": "accepted"}
    calls: list[list[str]] = field(default_factory=list)

    def call(self, method: str, *, fallback: Any = None, **arguments: Any) -> Any:
        try:
            if method == "request_visits":
                order_ids = [request["order_id"] for request in arguments["requests"]]
                self.calls.append(order_ids)
                return self.together(order_ids)
            self.calls.append([arguments["order_id"]])
            return self.alone(arguments["order_id"])
        except DeadlineExceeded as failed:
            return fallback(failed)


def some(count: int, attempts: int = 0) -> list[Activation]:
    return [Activation(new_id(), "provisioned", visit_attempts=attempts) for _ in range(count)]


def ids(rows: list[Activation]) -> list[str]:
    return [str(row.order_id) for row in rows]


def accepting(order_ids: list[str]) -> list[dict[str, Any]]:
    return [{"order_id": order_id, "outcome": "accepted", "of the next release": 1} for order_id in order_ids]


def raising(error: Exception) -> Callable[[Any], Any]:
    def answer(asked: Any) -> Any:
        raise error

    return answer


SILENCE = raising(DeadlineExceeded("scheduling", "no answer", 2.0))


def outcomes(answers: dict[UUID, str | NoAnswer], rows: list[Activation]) -> list[Any]:
    return [answers.get(row.order_id) for row in rows]


def test_one_order_is_asked_for_by_itself() -> None:
    (row,) = some(1)
    far = Far(raising(AssertionError("there is only one")))
    assert visits._ask(far, [row], VISITS) == {row.order_id: "accepted"}


def test_several_are_asked_for_in_one_call() -> None:
    rows = some(5)
    far = Far(accepting)
    assert outcomes(visits._ask(far, rows, VISITS), rows) == ["accepted"] * 5
    assert far.calls == [ids(rows)]


@pytest.mark.parametrize(
    "together",
    [
        raising(UNKNOWN_METHOD),
        raising(RemoteFault("a defect")),
        raising(Invalid("requests: is none")),
        lambda order_ids: accepting(order_ids)[1:],
        lambda order_ids: accepting(order_ids[::-1]),
        lambda order_ids: [{"order_id": order_id, "outcome": "later"} for order_id in order_ids],
        lambda order_ids: None,
    ],
    ids=["release before", "defect", "refused", "too few", "other order", "unknown outcome", "nothing"],
)
def test_where_the_common_call_is_no_way_to_ask_each_is_asked_for_alone(together: Any) -> None:
    rows = some(3)
    far = Far(together)
    assert outcomes(visits._ask(far, rows, VISITS), rows) == ["accepted"] * 3
    assert far.calls == [ids(rows), *([order_id] for order_id in ids(rows))]


def test_a_defect_with_one_order_is_only_its_own() -> None:
    rows = some(3)

    def alone(order_id: str) -> Any:
        if order_id == str(rows[1].order_id):
            raise RemoteFault("a defect")
        return {"outcome": "accepted"}

    answers = visits._ask(Far(raising(RemoteFault("a defect")), alone), rows, VISITS)
    assert outcomes(answers, rows) == ["accepted", NoAnswer("a defect", 0.0, None), "accepted"]
    assert visits._pause_s(answers) is None


def test_one_that_is_not_valid_waits_and_the_others_are_accepted() -> None:
    rows = some(3)

    def together(order_ids: list[str]) -> Any:
        told = accepting(order_ids)
        told[1] = {"order_id": order_ids[1], "outcome": "invalid", "error": Invalid("phone: is none").as_dict()}
        return told

    answers = visits._ask(Far(together), rows, VISITS)
    assert outcomes(answers, rows) == ["accepted", NoAnswer("scheduling says: phone: is none", 0.0, None), "accepted"]


def test_without_an_answer_in_time_all_of_the_call_wait_and_nobody_else_is_called() -> None:
    rows, tried = some(3), some(2, attempts=1)
    far = Far(SILENCE)
    answers = visits._ask(far, [*tried, *rows], VISITS)
    assert all(isinstance(answer, NoAnswer) for answer in outcomes(answers, rows))
    assert outcomes(answers, tried) == [None, None]
    assert visits._pause_s(answers) == 2.0
    assert far.calls == [ids(rows)]


def test_who_was_in_a_call_without_an_answer_is_asked_for_alone_and_after_the_others() -> None:
    tried, rows = some(2, attempts=1), some(3)
    far = Far(accepting)
    assert outcomes(visits._ask(far, [*tried, *rows], VISITS), [*tried, *rows]) == ["accepted"] * 5
    assert far.calls == [ids(rows), *([order_id] for order_id in ids(tried))]


def test_the_first_alone_that_finds_nobody_there_is_the_last() -> None:
    tried = some(3, attempts=2)
    far = Far(accepting, raising(Overloaded("too many visits wait", retry_after_s=30.0)))
    answers = visits._ask(far, tried, VISITS)
    assert outcomes(answers, tried)[1:] == [None, None]
    assert visits._pause_s(answers) == 15.0, "no longer than VISIT_RETRY_MAX_S"


def test_a_round_ends_well_before_its_leases_where_each_answer_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(visits.time, "monotonic", lambda: float(next(clock)))
    far = Far(raising(UNKNOWN_METHOD))
    visits._ask(far, some(50), VISITS)
    assert 6 * (len(far.calls) - 1) < leases.LEASE_S
