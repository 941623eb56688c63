"""A journalled request, what may become of it, and the two as rows of the journal's table. No file, no I/O."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

Kind = Literal["order", "cancel"]
State = Literal["pending", "forwarded", "refused", "failed", "dropped"]

COLUMNS = (
    "seq", "entry_id", "kind", "order_id", "body", "accepted_at", "state", "answer", "error", "attempts", "stands_as",
    "idempotency_key", "fingerprint", "traceparent",
)
SELECTED = ", ".join(COLUMNS)
INSERT = (
    "insert into entries (entry_id, kind, order_id, body, accepted_at, idempotency_key, fingerprint, traceparent) "
    "values (?, ?, ?, ?, ?, ?, ?, ?)"
)
MARK = (
    "update entries set state = ?, answer = coalesce(?, answer), error = ?, attempts = ?, stands_as = ? "
    "where entry_id = ?"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted request. `answer` is the HTTP status a waiting client was given (None: it was told 202).

    `state`: pending (still to forward), forwarded, refused (the client was told so), failed (the client was told
    202, so a person must look), dropped (a person looked). `stands_as` is set where order_svc knew the idempotency
    key already: the order stands under that id.
    """

    entry_id: UUID
    kind: Kind
    order_id: UUID
    body: dict[str, Any]
    accepted_at: datetime
    idempotency_key: str | None = None
    fingerprint: str | None = None
    traceparent: str | None = None
    seq: int = 0
    state: State = "pending"
    answer: int | None = None
    error: dict[str, Any] | None = None
    attempts: int = 0
    stands_as: UUID | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """What became of an entry."""

    entry_id: UUID
    state: State
    answer: int | None = None
    error: dict[str, Any] | None = None
    attempts: int = 0
    stands_as: UUID | None = None


def marked(entry: Entry, mark: Mark) -> Entry:
    """The entry as `mark` leaves it."""
    answer = entry.answer if mark.answer is None else mark.answer
    return replace(
        entry, state=mark.state, answer=answer, error=mark.error, attempts=mark.attempts, stands_as=mark.stands_as
    )


def entry_of(row: Sequence[Any]) -> Entry:
    """The entry in a row of `COLUMNS`."""
    known = dict(zip(COLUMNS, row, strict=True))
    return Entry(
        **known | {
            "entry_id": UUID(known["entry_id"]),
            "order_id": UUID(known["order_id"]),
            "body": json.loads(known["body"]),
            "accepted_at": datetime.fromisoformat(known["accepted_at"]),
            "error": json.loads(known["error"]) if known["error"] else None,
            "stands_as": UUID(known["stands_as"]) if known["stands_as"] else None,
        }
    )


def to_insert(entry: Entry) -> tuple[Any, ...]:
    """The values of `INSERT`."""
    return (
        str(entry.entry_id), entry.kind, str(entry.order_id), _json(entry.body), entry.accepted_at.isoformat(),
        entry.idempotency_key, entry.fingerprint, entry.traceparent,
    )  # fmt: skip


def to_mark(mark: Mark) -> tuple[Any, ...]:
    """The values of `MARK`."""
    return (
        mark.state, mark.answer, _json(mark.error), mark.attempts, _text(mark.stands_as), str(mark.entry_id),
    )  # fmt: skip


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
