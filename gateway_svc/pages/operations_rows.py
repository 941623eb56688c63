"""An order's trace, row by row, in the reader's language. Pure but for the texts it is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from gateway_svc.pages.texts import Texts

Row = dict[str, Any]

_TONES = {"parked": "bad", "attempt": "bad", "audit": "accent", "call": "accent", "job": "accent"}


def rows(entries: Iterable[Mapping[str, Any]], t: Texts) -> list[Row]:
    """The entries of `trace.merge` as the page shows them.

    Each `{"at", "kind", "service", "tone", "title", "words", "cause", "handled", "waits_for", "details", "id"}`:
    `words` are people's or elements' own (never translated), `handled` says who took a message in after how many ms,
    `details` are (label, value) pairs.
    """
    return [_row(entry, t) for entry in entries]


def moments(entries: Iterable[Mapping[str, Any]], timeline: Iterable[Mapping[str, Any]] = ()) -> dict[str, str]:
    """When each event first happened, from the trace and, where services were silent, MyPage's timeline as well."""
    found = [(entry["what"], entry["at"]) for entry in entries if entry["kind"] == "message"]
    for told in timeline:
        outcome = (told.get("details") or {}).get("outcome")
        found.append((f"{told['event']}/{outcome}" if outcome else told["event"], told["at"]))
    first: dict[str, str] = {}
    for event, at in sorted(found, key=lambda pair: datetime.fromisoformat(pair[1])):
        first.setdefault(event, at)
    return first


def say(t: Texts, prefix: str, code: str) -> str:
    """The text for a code of the system's, or the code itself where there is none."""
    key = f"{prefix}-{code.replace('_', '-').replace(' ', '-')}"
    return t(key) if key in t else code


def _row(entry: Mapping[str, Any], t: Texts) -> Row:
    details = entry["details"]
    kind = entry["kind"]
    return {
        "id": entry["id"],
        "at": entry["at"],
        "kind": kind,
        "service": entry["service"],
        "tone": _TONES.get(kind, "plain"),
        "title": _title(entry, t),
        "words": details.get("error") or details.get("note") or None,
        "cause": _cause(entry["cause"], t),
        "handled": [_taker(entry["at"], taker) for taker in details.get("handled", ())],
        "waits_for": details.get("waits_for", ()),
        "unsent": kind == "message" and details["sent_at"] is None,
        "details": _details(kind, details, t),
        "traceparent": details.get("traceparent"),
    }


def _title(entry: Mapping[str, Any], t: Texts) -> str:
    what = str(entry["what"])
    prefixes = {"message": "ops-event", "parked": "ops-event", "call": "ops-call", "job": "ops-job",
                "audit": "ops-action", "journal": "ops-journal", "attempt": "ops-step"}  # fmt: skip
    title = say(t, prefixes[entry["kind"]], what)
    return t("ops-parked-title", event=title) if entry["kind"] == "parked" else title


def _cause(cause: Mapping[str, str | None] | None, t: Texts) -> str | None:
    if cause is None:
        return None
    return say(t, "ops-event", cause["what"]) if cause["what"] else t("ops-cause-unknown", id=str(cause["id"])[-8:])


def _taker(at: str, taker: Mapping[str, Any]) -> dict[str, Any]:
    """Who took the message in, and how many milliseconds after it was written; None where that was not noted."""
    if taker["at"] is None:
        return {"service": taker["service"], "ms": None}
    took = datetime.fromisoformat(taker["at"]) - datetime.fromisoformat(at)
    return {"service": taker["service"], "ms": round(took.total_seconds() * 1000)}


def _details(kind: str, details: Mapping[str, Any], t: Texts) -> list[tuple[str, str]]:
    """What else is known, as (label, value)."""
    ports = ", ".join(f"{port['element']} {port['port']}" for port in details.get("ports") or ())
    refused = details.get("status") if (details.get("status") or 0) >= 400 else None
    known = {
        "attempt": [("element", details.get("element")), ("ports", ports)],
        "parked": [("attempts", details.get("attempts")), ("queue", details.get("queue"))],
        "call": [("by", _person(details.get("by"), t))],
        "job": [("technician", details.get("technician"))],
        "audit": [("by", _person(details.get("username"), t)), ("status", refused)],
        "journal": [("state", details.get("state")), ("attempts", details.get("attempts") or None)],
    }
    return [(t(f"ops-detail-{name}"), str(value)) for name, value in known.get(kind, []) if value]


def _person(name: str | None, t: Texts) -> str | None:
    """A user's name; a subscriber has none, only an order."""
    return t("ops-role-subscriber") if name and name.startswith("subscriber:") else name
