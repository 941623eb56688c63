"""An order's trace: what all services know happened, as one list in order of time. Pure; `trace_parts` does the asking.

Messages carry who caused them and who has handled them; calls, attempts, the job, what staff did and what the journal
holds stand between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from chassis import clock

Kind = Literal["message", "parked", "journal", "attempt", "call", "job", "audit"]
CONSUMERS: dict[str, tuple[str, ...]] = {
    "order_placed": ("activation",), "activation_completed": ("order",), "activation_failed": ("order",),
    "visit_scheduled": ("fieldwork", "order"),
    "fieldwork_completed": ("order", "activation", "scheduling"),
    "fieldwork_rejected": ("order", "activation", "scheduling"),
    "order_cancel_requested": ("activation",), "activation_cancel_requested": ("scheduling",),
    "visit_cancel_requested": ("fieldwork",), "fieldwork_cancelled": ("scheduling",),
    "visit_cancelled": ("activation",), "activation_reverted": ("order",),
}
"""Which services act on an event; mypage, beside them, on every one (docs/architecture.md)."""

Entry = dict[str, Any]
"""`{"at", "kind", "service", "what", "id", "cause", "details"}`; see `answers.TraceEntry`."""

# Of things of the same moment, what leads to the others comes first.
_RANK: dict[str, int] = {"journal": 0, "audit": 1, "call": 2, "attempt": 3, "job": 4, "message": 5, "parked": 6}


def merge(
    messages: Mapping[str, Mapping[str, Any]],
    *,
    handled: Mapping[str, Mapping[str, Any]] | None = None,
    journal: Iterable[Mapping[str, Any]] = (),
    activation: Mapping[str, Any] | None = None,
    visit: Mapping[str, Any] | None = None,
    job: Mapping[str, Any] | None = None,
    audit: Iterable[Mapping[str, Any]] = (),
) -> list[Entry]:
    """One chronological list of everything known of one order.

    `messages` and `handled` are answers of `order_messages` by service: the first says what was sent and parked, the
    second which of the sent ones took effect. `journal` and `audit` are the gateway's own rows, the others what
    activation, scheduling and fieldwork answer; None where there is none, or nobody answered.
    """
    entries = [
        *_messages(messages, handled or {}), *_parked(messages), *map(_journal, journal), *_attempts(activation),
        *_calls(visit), *_job(job), *map(_audited, audit),
    ]
    depth = _depths({entry["id"]: (entry["cause"] or {}).get("id") for entry in entries if entry["kind"] == "message"})
    return sorted(entries, key=lambda entry: (entry["at"], _RANK[entry["kind"]], depth.get(entry["id"], 0)))


def sent_ids(messages: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The ids of every message that some service sent."""
    return [item["message_id"] for answer in messages.values() for item in answer["sent"]]


def _messages(
    messages: Mapping[str, Mapping[str, Any]], handled: Mapping[str, Mapping[str, Any]]
) -> list[Entry]:
    takers: dict[str, list[dict[str, Any]]] = {}
    for service, answer in handled.items():
        for item in answer["handled"]:
            takers.setdefault(item["message_id"], []).append({"service": service, "at": _utc(item["at"])})
    senders = {
        item["message_id"]: (service, item["event_type"])
        for service, answer in messages.items() for item in answer["sent"]
    }
    return [
        _entry(
            item["at"], "message", service, item["event_type"], item["message_id"],
            _cause(item["causation_id"], senders),
            sent_at=_utc(item["sent_at"]), traceparent=item["traceparent"],
            handled=sorted(takers.get(item["message_id"], []), key=lambda taker: taker["at"] or ""),
            waits_for=_waits_for(item, takers.get(item["message_id"], []), handled),
        )
        for service, answer in messages.items() for item in answer["sent"]
    ]


def is_pruned(answer: Mapping[str, Any], kind: Literal["sent", "handled"], message_id: UUID) -> bool:
    """Whether a service that answered so may have forgotten a message of this id, or of the order of this id.

    The release before says nothing of it, and forgets nothing.
    """
    before = (answer.get("pruned_before") or {}).get(kind)
    return before is not None and message_id < clock.first_uuid7(datetime.fromisoformat(before))


def _waits_for(
    item: Mapping[str, Any], takers: list[dict[str, Any]], asked: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Those of the services asked that are to act on the event and have not yet, as far as they remember."""
    done = {taker["service"] for taker in takers}
    still = [name for name in (*CONSUMERS.get(item["event_type"], ()), "mypage") if name in asked and name not in done]
    return [name for name in still if not is_pruned(asked[name], "handled", UUID(item["message_id"]))]


def _cause(message_id: str | None, senders: Mapping[str, tuple[str, str]]) -> dict[str, str | None] | None:
    """What led to a message; without a name where its sender did not answer."""
    if message_id is None:
        return None
    service, what = senders.get(message_id, (None, None))
    return {"id": message_id, "service": service, "what": what}


def _parked(messages: Mapping[str, Mapping[str, Any]]) -> list[Entry]:
    return [
        _entry(
            item["parked_at"], "parked", service, item["event_type"], item["message_id"],
            error=item["error"], attempts=item["attempts"], queue=item["queue"],
        )
        for service, answer in messages.items() for item in answer["parked"]
    ]


def _journal(row: Mapping[str, Any]) -> Entry:
    return _entry(row["at"], "journal", "gateway", row["what"], row["id"], **row["details"])


def _attempts(activation: Mapping[str, Any] | None) -> list[Entry]:
    """Provisioning's failed tries: the last ones are kept."""
    tried = (activation or {}).get("tried") or ()
    return [
        _entry(
            item["at"], "attempt", "activation", str(item.get("step")), None, element=item.get("element"),
            error=item.get("error"), ports=item.get("ports"),
        )
        for item in tried
    ]


def _calls(visit: Mapping[str, Any] | None) -> list[Entry]:
    return [
        _entry(
            item["at"], "call", "scheduling", item["outcome"], None, by=item["by"], note=item["note"],
            call_back_at=item["call_back_at"],
        )
        for item in (visit or {}).get("attempts", ())
    ]


def _job(job: Mapping[str, Any] | None) -> list[Entry]:
    if job is None:
        return []
    closed = job["state"] if job["state"] in ("completed", "rejected", "cancelled") else "closed"
    moments = (("started", job.get("started_at")), (closed, job.get("closed_at")))
    return [
        _entry(at, "job", "fieldwork", what, None, technician=job["technician_name"], note=job.get("note") or "")
        for what, at in moments if at
    ]


def _audited(row: Mapping[str, Any]) -> Entry:
    return _entry(
        row["at"], "audit", "gateway", row["action"], row["id"], username=row["username"], role=row["role"],
        status=row["status"],
    )


def _entry(
    at: Any, kind: Kind, service: str, what: str, key: str | None, cause: dict[str, str | None] | None = None,
    **details: Any,
) -> Entry:
    return {
        "at": _utc(at), "kind": kind, "service": service, "what": what, "id": key, "cause": cause, "details": details
    }


def _utc(at: Any) -> str | None:
    """A moment as text that sorts: UTC, always with six digits of a second."""
    if at is None:
        return None
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")  # type: ignore[no-any-return]


def _depths(causes: Mapping[str, str | None]) -> dict[str, int]:
    """How many known messages led to each message, one after another."""
    found: dict[str, int] = {}
    for message_id in causes:
        chain: list[str] = []
        at: str | None = message_id
        while at is not None and at in causes and at not in found and at not in chain:
            chain.append(at)
            at = causes[at]
        depth = found.get(at, -1) if at is not None else -1
        for known in reversed(chain):
            depth += 1
            found[known] = depth
    return found
