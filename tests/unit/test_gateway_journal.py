"""The journal keeps what was accepted, tells the truth when it cannot, and shows what needs a person."""

from __future__ import annotations

from collections.abc import Iterator
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
