"""The journal keeps what was accepted, tells the truth when it cannot, and shows what needs a person."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import eventlet
import pytest

from contracts.errors import Invalid, Overloaded, Unavailable
from contracts.ids import new_id
from gateway_svc import parked, pruning
from gateway_svc.journal import Entry, Journal, Mark
from tests.harness.intake import BODY, NOW, an_order


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal" / "journal.sqlite3"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    opened = Journal(path)
    yield opened
    opened.close()


def test_what_was_accepted_is_there_after_a_restart(path: Path) -> None:
    first = Journal(path)
    entries = [first.append(an_order()) for _ in range(3)]
    # No close: the process died.
    second = Journal(path)

    assert [entry.order_id for entry in second.pending(10)] == [entry.order_id for entry in entries]
    assert second.pending(1)[0].body == BODY
    assert second.has_backlog
    first.close()
    second.close()


def test_many_appends_at_once_are_all_kept(journal: Journal) -> None:
    pool = eventlet.GreenPool(50)
    stored = list(pool.imap(journal.append, [an_order() for _ in range(50)]))

    assert {entry.order_id for entry in journal.pending(100)} == {entry.order_id for entry in stored}
    assert journal.lag()["pending"] == 50


def test_a_repeated_key_finds_the_first_entry(journal: Journal) -> None:
    first = journal.append(an_order("k"))
    again = journal.append(an_order("k", "another body"))

    assert again.order_id == first.order_id and again.fingerprint == "f"
    assert journal.lag()["pending"] == 1


def test_a_full_disk_is_an_honest_refusal_and_later_orders_are_taken_again(journal: Journal) -> None:
    kept = journal.append(an_order())
    pages_used = journal._writer.execute("pragma page_count").fetchone()[0]
    journal._writer.execute(f"pragma max_page_count = {pages_used}")
    big = {**BODY, "note": "x" * 100_000}
    with pytest.raises(Unavailable) as raised:
        journal.append(Entry(new_id(), "order", new_id(), big, NOW))
    assert raised.value.http_status == 503 and raised.value.retry_after_s

    journal._writer.execute("pragma max_page_count = 100000")
    more = journal.append(an_order())
    assert [entry.order_id for entry in journal.pending(10)] == [kept.order_id, more.order_id]


def test_a_backlog_has_an_end(path: Path) -> None:
    journal = Journal(path, max_pending=2)
    journal.append(an_order())
    journal.append(an_order())
    with pytest.raises(Overloaded):
        journal.append(an_order())
    journal.close()


def test_settled_entries_are_forgotten_after_their_time(journal: Journal) -> None:
    for _ in range(3):
        journal.append(an_order())
    done, failed, _ = journal.pending(3)
    journal.mark([Mark(done.entry_id, "forwarded"), Mark(failed.entry_id, "failed")])

    assert journal.purge(NOW - timedelta(days=1)) == 0
    assert journal.purge(NOW + timedelta(days=1)) == 1
    assert journal.order(done.order_id) is None and journal.order(failed.order_id) is not None


def test_what_is_old_is_forgotten_in_steps_that_what_waits_before_it_does_not_stop(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a step lasts nobody can order, so none goes through the whole journal."""
    monkeypatch.setattr(pruning, "JOURNAL_AT_ONCE", 4)
    for _ in range(15):
        journal.append(an_order())
    first, *others = journal.pending(15)
    journal.mark([Mark(first.entry_id, "failed"), *(Mark(entry.entry_id, "forwarded") for entry in others[1:])])
    steps = [journal.purge(NOW + timedelta(days=1)) for _ in range(5)]
    assert (sum(steps), max(steps), steps[-1]) == (13, 4, 0)
    assert journal.order(first.order_id) is not None and journal.order(others[0].order_id) is not None


def test_parked_pages_follow_each_other(journal: Journal) -> None:
    for _ in range(5):
        journal.append(an_order())
    journal.mark([Mark(entry.entry_id, "failed") for entry in journal.pending(5)])
    first = parked.page(journal, 3, None)
    second = parked.page(journal, 3, first["next_cursor"])
    assert len(first["items"]) == 3 and len(second["items"]) == 2 and second["next_cursor"] is None
    with pytest.raises(Invalid):
        parked.page(journal, 3, "nonsense")


def states(path: Path) -> list[str]:
    """What the file says, in order."""
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("select state from entries order by seq")]


def test_what_was_forwarded_is_known_at_once_and_written_with_the_next_order(path: Path, journal: Journal) -> None:
    first, second = journal.append(an_order("k")), journal.append(an_order())
    stands_as = new_id()
    journal.mark([Mark(first.entry_id, "forwarded", 201, stands_as=stands_as)])

    assert states(path) == ["pending", "pending"]
    for known in (journal.by_entry_id(first.entry_id), journal.order(first.order_id)):
        assert known is not None and (known.state, known.answer, known.stands_as) == ("forwarded", 201, stands_as)
    assert [entry.entry_id for entry in journal.pending(10)] == [second.entry_id]
    assert journal.lag() == {"pending": 1, "failed": 0, "oldest_pending_at": NOW.isoformat()}
    journal.append(an_order())
    assert states(path) == ["forwarded", "pending", "pending"]
    again = journal.append(an_order("k"))
    assert (again.entry_id, again.state, again.answer, again.stands_as) == (first.entry_id, "forwarded", 201, stands_as)


def test_what_would_not_come_out_the_same_again_is_written_at_once(path: Path, journal: Journal) -> None:
    cancel = Entry(new_id(), "cancel", new_id(), {"reason": ""}, NOW)
    entries = [journal.append(entry) for entry in (an_order(), an_order(), an_order(), cancel)]
    states_of = ["refused", "failed", "pending", "forwarded"]
    for entry, state in zip(entries, states_of, strict=True):
        journal.mark([Mark(entry.entry_id, state, attempts=1)])  # type: ignore[arg-type]
    assert states(path) == states_of
    assert [entry.attempts for entry in journal.pending(10)] == [1]


def test_a_process_that_dies_before_it_wrote_down_what_was_forwarded_sends_it_again(path: Path) -> None:
    first = Journal(path)
    entry = first.append(an_order())
    first.mark([Mark(entry.entry_id, "forwarded", 201)])
    # No close: the process died.
    second = Journal(path)
    assert [again.order_id for again in second.pending(10)] == [entry.order_id]
    second.close()
    first.close()
    assert states(path) == ["forwarded"]


def test_what_was_put_off_is_written_when_there_is_nothing_else_to_do_or_much_of_it(
    path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [journal.append(an_order()) for _ in range(5)]
    journal.mark([Mark(entries[0].entry_id, "forwarded")])
    journal.flush()
    assert states(path) == ["forwarded", *["pending"] * 4]
    monkeypatch.setattr("gateway_svc.journal.MAX_UNWRITTEN", 2)
    journal.mark([Mark(entry.entry_id, "forwarded") for entry in entries[1:4]])
    assert states(path) == [*["forwarded"] * 4, "pending"]
    assert journal.lag()["pending"] == 1


def test_a_disk_that_refuses_what_was_put_off_loses_nothing(path: Path, journal: Journal) -> None:
    entry = journal.append(an_order())
    journal.mark([Mark(entry.entry_id, "forwarded", 201)])
    journal._writer.execute("pragma query_only = on")
    with pytest.raises(Unavailable):
        journal.flush()
    with pytest.raises(Unavailable):
        journal.append(an_order())
    known = journal.by_entry_id(entry.entry_id)
    assert known is not None and known.state == "forwarded" and journal.pending(1) == []

    journal._writer.execute("pragma query_only = off")
    journal.append(an_order())
    assert states(path) == ["forwarded", "pending"]


def test_a_backlog_beyond_what_is_kept_in_memory_is_drained_in_its_order(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway_svc.journal.IN_MEMORY", 3)
    journal = Journal(path)
    expected = [journal.append(an_order()).entry_id for _ in range(8)]
    drained = []
    while waiting := journal.pending(2):
        drained += [entry.entry_id for entry in waiting]
        journal.mark([Mark(entry.entry_id, "forwarded") for entry in waiting])
        if len(drained) == 4:
            expected.append(journal.append(an_order()).entry_id)
        assert journal.lag()["pending"] == len(expected) - len(drained)
    assert drained == expected
    journal.close()


def test_what_is_to_be_tried_again_stands_where_it_stood(journal: Journal) -> None:
    first, second, third = [journal.append(an_order()) for _ in range(3)]
    journal.mark([Mark(first.entry_id, "failed"), Mark(second.entry_id, "forwarded")])
    journal.mark([Mark(first.entry_id, "pending")])
    assert [entry.entry_id for entry in journal.pending(10)] == [first.entry_id, third.entry_id]
    assert journal.lag()["pending"] == 2
