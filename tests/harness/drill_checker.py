"""The end of a drill: order book, read model, outboxes, journals and network elements are compared, order by order.

Nothing is asserted here; what does not fit is counted as lost, doubled or stuck, or said in words.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness import checker
from tests.harness.heard import on_its_way, sent_about
from tests.harness.network import assert_no_drift
from tools.system import System
from tools.waiting import NotInTime, wait_until

CLOSED = ("completed", "rejected", "cancelled")
# One order in a thousand drills that is wrong is told in full; of a thousand wrong ones twenty are enough.
SHOWN = 20


@dataclass
class Verdict:
    """Orders and messages by what went wrong with them, each in words."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """All of it, to be read."""
        return [
            f"{sort}: {text}"
            for sort in ("lost", "doubled", "stuck", "wrong") for text in getattr(self, sort)[:SHOWN]
        ]


def judge(
    system: System, expected: Mapping[str, str], *, keys: Mapping[str, str] | None = None,
    journals: Iterable[Path] = (), patience_s: float = 90.0,
) -> Verdict:  # fmt: skip
    """Compare everything, once it is at rest. `expected`: each order's outcome by its id; `keys`: its
    Idempotency-Key, under which the order book may hold one order only; `journals`: further ones than the gateways'.
    """
    found = Verdict()
    journals = [*journals, *(journal_of(system, name) for name in system.replicas("gateway"))]
    journals = [path for path in journals if path.exists()]
    _come_to_rest(system, journals, found, patience_s)
    ids = list(expected)
    _messages(system, ids, found)
    _books(system, expected, found)
    _keys(system, keys or {}, found)
    found.doubled += checker.closed_twice(system, _known(system, ids))
    found.stuck += checker.open_ends(system, ids)
    found.wrong += checker.parked(system, ids)
    for path in journals:
        _journal(system, path, found)
    _elements(system, expected, found)
    return found


def journal_of(system: System, name: str) -> Path:
    """The journal of one gateway."""
    return Path(system.processes[name].env["JOURNAL_PATH"])


def entries_of(path: Path) -> list[dict[str, str]]:
    """Every entry of a journal, by a reader of its own."""
    with closing(sqlite3.connect(path, timeout=10)) as connection:
        connection.row_factory = sqlite3.Row
        query = "select entry_id, kind, order_id, state, stands_as, accepted_at, error from entries order by seq"
        return [dict(row) for row in connection.execute(query)]


def _come_to_rest(system: System, journals: list[Path], found: Verdict, patience_s: float) -> None:
    def moving() -> list[str]:
        waiting = [(path, _count(path, "pending")) for path in journals]
        return checker.on_the_way(system) + [f"{count} pending in {path.name}" for path, count in waiting if count]

    try:
        wait_until(lambda: not moving(), lambda: "everything is at rest", timeout_s=patience_s, interval_s=0.2)
    except NotInTime:
        found.stuck += moving()


def _books(system: System, expected: Mapping[str, str], found: Verdict) -> None:
    """The order book and the read model, as soon as the second has heard of what the first has."""
    ids = list(expected)

    def differ() -> list[str]:
        book, pages = _book(system, ids), _pages(system, ids)
        return [order_id for order_id in ids if book.get(order_id) != pages.get(order_id)]

    try:
        wait_until(lambda: not differ(), "the read model agrees with the order book", timeout_s=15, interval_s=0.2)
    except NotInTime:
        found.wrong += [f"{order_id}: order book and MyPage do not agree" for order_id in differ()]
    book, pages = _book(system, ids), _pages(system, ids)
    for order_id, outcome in expected.items():
        state = book.get(order_id)
        if state is None or order_id not in pages:
            where = "the order book" if state is None else "MyPage"
            found.lost.append(f"{order_id}: it was taken, and {where} does not know it")
        elif state not in CLOSED:
            found.stuck.append(f"{order_id}: meant to be {outcome}, left {state}")
        elif state != outcome:
            found.wrong.append(f"{order_id}: meant to be {outcome}, is {state}")


def _book(system: System, ids: list[str]) -> dict[str, str]:
    return checker.states(system, "order", "select order_id, state from orders where order_id = any(:ids)", ids)


def _pages(system: System, ids: list[str]) -> dict[str, str]:
    query = "select order_id, status as state from pages where order_id = any(:ids)"
    return checker.states(system, "mypage", query, ids)


def _known(system: System, ids: list[str]) -> list[str]:
    return list(_book(system, ids))


def _keys(system: System, keys: Mapping[str, str], found: Verdict) -> None:
    """A second order of the same request would stand under the same key, or under none of ours."""
    query = "select order_id, idempotency_key from orders where idempotency_key = any(:keys)"
    by_key = {key: order_id for order_id, key in keys.items()}
    for row in system.db("order", query, keys=list(by_key)):
        if (meant := by_key[row["idempotency_key"]]) != str(row["order_id"]):
            found.doubled.append(f"{row['order_id']}: another order of the request that was answered as {meant}")


def _messages(system: System, ids: list[str], found: Verdict) -> None:
    """Every event that a service has sent about these orders has taken effect wherever it is acted on."""
    for sender, messages in sent_about(system, ids).items():
        known: set[str] = set()
        for message_id, order_id, event in messages:
            if message_id in known:
                found.doubled.append(f"{order_id}: {sender} holds {event} {message_id} twice")
            known.add(message_id)
    try:
        wait_until(lambda: not on_its_way(system, ids), "every event is handled", timeout_s=30, interval_s=0.5)
    except NotInTime:
        found.lost += on_its_way(system, ids)


def _journal(system: System, path: Path, found: Verdict) -> None:
    entries = entries_of(path)
    ids = [entry["stands_as"] or entry["order_id"] for entry in entries if entry["kind"] == "order"]
    book = _book(system, ids)
    for entry in entries:
        if entry["state"] == "failed":
            found.wrong.append(f"{entry['order_id']}: {path.name} gave its {entry['kind']} up: {entry['error']}")
        elif entry["kind"] == "order" and entry["state"] == "forwarded":
            stands_as = entry["stands_as"] or entry["order_id"]
            if stands_as not in book:
                found.lost.append(f"{stands_as}: forwarded by {path.name}, not in the order book")


def _elements(system: System, expected: Mapping[str, str], found: Verdict) -> None:
    live = checker.live_orders(system)
    for order_id, outcome in expected.items():
        if (outcome == "completed") != (order_id in live):
            how = "live" if order_id in live else "not live"
            found.wrong.append(f"{order_id}: {outcome}, but its lines are {how}")
    try:
        assert_no_drift(system)
    except NotInTime as error:
        found.wrong.append(str(error))


def _count(path: Path, state: str) -> int:
    with closing(sqlite3.connect(path, timeout=10)) as connection:
        row = connection.execute("select count(*) from entries where state = ?", (state,)).fetchone()
        return int(row[0])
