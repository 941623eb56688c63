"""Promises of photos and of results sent from a phone, on a real database, broker and gateway."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import eventlet
import pytest
import requests

from contracts.changes import Change
from contracts.errors import Conflict, Forbidden, Invalid, NotFound
from contracts.rpc import PHOTO_BYTES_MAX, PHOTOS_MAX, Job
from tests.harness.client import Client, an_order
from tests.integration.test_fieldwork_jobs import RESULTS, Fieldwork, a_cancel, a_visit, fieldwork
from tools.system import System
from tools.waiting import wait_until

__all__ = ["fieldwork"]

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF" + b"\0" * 500
PNG = b"\x89PNG\r\n\x1a\n" + b"\1" * 500


class Announced(list[Change]):
    """Stands where hints leave for the broker."""

    def announce(self, changes: list[Change]) -> None:
        self.extend(changes)

    def keys(self) -> set[str]:
        found = {change.key for change in self if change.topic == "jobs"}
        self.clear()
        return found


def add(fieldwork: Fieldwork, order_id: str, photo_id: str, content: bytes = JPEG, by: str = "tech-1") -> Any:
    media_type = "image/png" if content.startswith(b"\x89") else "image/jpeg"
    b64 = base64.b64encode(content).decode()
    return fieldwork.call("add_photo", order_id, by, photo_id, media_type, b64)


def jobs_of_its_day(fieldwork: Fieldwork, order_id: str) -> list[dict[str, Any]]:
    """Not today's: an hour before midnight the visit is tomorrow."""
    start = datetime.fromisoformat(fieldwork.call("get_job", order_id)["window_start"])
    day = start.astimezone(ZoneInfo("Asia/Seoul")).date().isoformat()
    return list(fieldwork.call("list_jobs", "tech-1", day, limit=200)["items"])


def test_photo_sent_twice_is_kept_once(fieldwork: Fieldwork) -> None:
    order_id, photo_id = fieldwork.assigned(), str(uuid4())
    assert add(fieldwork, order_id, photo_id) == add(fieldwork, order_id, photo_id) == {"photo_id": photo_id}
    with pytest.raises(Conflict, match="another photo"):
        add(fieldwork, order_id, photo_id, PNG)
    listed = fieldwork.call("list_photos", order_id)["items"]
    assert [(p["photo_id"], p["media_type"], p["bytes"], p["by"]) for p in listed] == [
        (photo_id, "image/jpeg", len(JPEG), "tech-1")
    ]
    job = fieldwork.call("get_job", order_id)
    assert Job.model_validate_json(Job(**job).model_dump_json()).photos == 1
    assert base64.b64decode(fieldwork.call("get_photo", order_id, photo_id)["content_b64"]) == JPEG


def test_photos_sent_at_once_are_kept_once_each_and_never_too_many(fieldwork: Fieldwork) -> None:
    order_id = fieldwork.assigned()
    ids = [str(uuid4()) for _ in range(PHOTOS_MAX + 2)]

    def send(photo_id: str) -> str:
        try:
            add(fieldwork, order_id, photo_id)
            return "kept"
        except Conflict as conflict:
            assert "at most" in conflict.detail
            return "refused"

    answers = [greenlet.wait() for greenlet in [eventlet.spawn(send, photo_id) for photo_id in ids]]
    assert sorted(answers) == ["kept"] * PHOTOS_MAX + ["refused"] * 2
    kept = [photo["photo_id"] for photo in fieldwork.call("list_photos", order_id)["items"]]
    assert add(fieldwork, order_id, kept[0]) == {"photo_id": kept[0]}
    [listed] = [job for job in jobs_of_its_day(fieldwork, order_id) if job["order_id"] == order_id]
    assert listed["photos"] == PHOTOS_MAX


def test_photo_of_a_job_that_moved_or_was_cancelled_is_refused_with_the_reason(fieldwork: Fieldwork) -> None:
    order_id, first = fieldwork.assigned("tech-1"), str(uuid4())
    add(fieldwork, order_id, first)
    fieldwork.handle(a_visit(order_id=UUID(order_id), revision=2, technician="tech-2"))
    with pytest.raises(Forbidden, match="another technician"):
        add(fieldwork, order_id, str(uuid4()))
    with pytest.raises(Forbidden):
        fieldwork.call("get_photo", order_id, first, "tech-1")
    assert fieldwork.call("get_photo", order_id, first, "tech-2")["media_type"] == "image/jpeg"
    fieldwork.handle(a_cancel(UUID(order_id)))
    with pytest.raises(Conflict, match="the customer cancelled"):
        add(fieldwork, order_id, str(uuid4()), by="tech-2")


def test_photo_of_nothing_and_a_photo_that_is_not_there_are_not_found(fieldwork: Fieldwork) -> None:
    order_id = fieldwork.assigned()
    for nothing in (str(uuid4()), "x"):
        with pytest.raises(NotFound):
            add(fieldwork, nothing, str(uuid4()))
        with pytest.raises(NotFound):
            fieldwork.call("list_photos", nothing)
        with pytest.raises(NotFound):
            fieldwork.call("get_photo", order_id, nothing)
    with pytest.raises(Invalid):
        add(fieldwork, order_id, "x")


def test_result_sent_twice_at_once_is_done_once(fieldwork: Fieldwork) -> None:
    order_id = fieldwork.assigned()
    sends = [eventlet.spawn(fieldwork.call, "complete_job", order_id, "tech-1", RESULTS, "ok") for _ in range(4)]
    answers = [send.wait() for send in sends]
    assert all(answer == answers[0] for answer in answers)
    assert fieldwork.outbox(order_id) == ["fieldwork_completed"]


def test_start_that_arrives_again_after_the_result_is_a_repeat(fieldwork: Fieldwork) -> None:
    order_id = fieldwork.assigned()
    fieldwork.call("start_job", order_id, "tech-1")
    fieldwork.call("complete_job", order_id, "tech-1", RESULTS)
    assert fieldwork.call("start_job", order_id, "tech-1")["state"] == "completed"


def test_result_that_comes_too_late_is_refused_with_the_reason(fieldwork: Fieldwork) -> None:
    moved, cancelled = fieldwork.assigned("tech-1"), fieldwork.assigned("tech-1")
    fieldwork.handle(a_visit(UUID(moved), 2, "tech-2"), a_cancel(UUID(cancelled)))
    for method, arguments in (("start_job", ()), ("complete_job", (RESULTS,)), ("reject_job", ("no_duct",))):
        with pytest.raises(Forbidden, match="another technician"):
            fieldwork.call(method, moved, "tech-1", *arguments)
        with pytest.raises(Conflict, match="the customer cancelled"):
            fieldwork.call(method, cancelled, "tech-1", *arguments)
    with pytest.raises(Forbidden):
        fieldwork.call("get_job", moved, "tech-1")


def test_old_and_new_technician_are_told_of_a_job_that_moves(
    fieldwork: Fieldwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Announced()
    service = next(e for e in fieldwork.container.dependencies if e.attr_name == "hints")
    monkeypatch.setattr(service, "announce", told.announce)
    order_id = fieldwork.assigned("tech-8")
    assert told.keys() == {"tech-8"}
    fieldwork.handle(a_visit(UUID(order_id), 2, "tech-9"))
    assert told.keys() == {"tech-8", "tech-9"}
    fieldwork.handle(a_visit(UUID(order_id), 1, "tech-8"))
    assert told.keys() == set()
    fieldwork.call("start_job", order_id, "tech-9")
    assert told.keys() == {"tech-9"}
    add(fieldwork, order_id, str(uuid4()), by="tech-9")
    assert told.keys() == {"tech-9"}
    fieldwork.handle(a_cancel(UUID(order_id)))
    assert told.keys() == {"tech-9"}


def post(system: System, token: str, order_id: str, content: bytes, **headers: str) -> requests.Response:
    sent = {"Authorization": f"Bearer {token}", "Content-Type": "image/jpeg", "Photo-Id": str(uuid4())} | headers
    return requests.post(f"{system.url}/api/jobs/{order_id}/photos", data=content, headers=sent, timeout=20)


def test_photo_travels_through_the_gateway_and_is_seen_by_the_operator(system: System, client: Client) -> None:
    order_id = client.place(an_order())["order_id"]
    client.schedule(order_id)
    owner = client.technician_of(order_id)
    another = next(name for name in ("kim", "lee") if name != owner)
    token, photo_id = client.login(owner), str(uuid4())
    largest = JPEG + b"\2" * (PHOTO_BYTES_MAX - len(JPEG))

    same = {"Photo-Id": photo_id}
    wait_until(lambda: post(system, token, order_id, largest, **same).status_code == 201, "the photo is kept")
    again = post(system, token, order_id, largest, **same)
    assert (again.status_code, again.json()) == (201, {"photo_id": photo_id})
    assert post(system, client.login(another), order_id, JPEG).status_code == 403

    listed = client.call("GET", f"/api/jobs/{order_id}/photos", as_="operator")["items"]
    assert [(photo["photo_id"], photo["bytes"]) for photo in listed] == [(photo_id, PHOTO_BYTES_MAX)]
    path = f"/api/jobs/{order_id}/photos/{photo_id}"
    seen = client.request("GET", path, as_="operator")
    assert (seen.status_code, seen.headers["Content-Type"], seen.content) == (200, "image/jpeg", largest)
    assert seen.headers["X-Content-Type-Options"] == "nosniff"
    assert client.request("GET", path, as_=owner).status_code == 200
    assert client.request("GET", path, as_=another).status_code == 403
    assert client.request("GET", f"/api/jobs/{order_id}/photos/{uuid4()}", as_="operator").status_code == 404


def test_what_is_no_photo_is_refused_by_name(system: System, client: Client) -> None:
    order_id = client.place(an_order())["order_id"]
    client.schedule(order_id)
    token = client.login(client.technician_of(order_id))
    wait_until(lambda: post(system, token, order_id, JPEG).status_code == 201, "the job takes photos")
    for answer, status, field in (
        (post(system, token, order_id, b"<html>"), 422, "content"),
        (post(system, token, order_id, b""), 422, "content"),
        (post(system, token, order_id, PNG), 422, "media_type"),
        (post(system, token, order_id, JPEG, **{"Photo-Id": "1"}), 422, "Photo-Id"),
        (post(system, token, order_id, JPEG, **{"Content-Type": "image/svg+xml"}), 415, None),
        (post(system, token, order_id, JPEG + b"\0" * PHOTO_BYTES_MAX), 413, None),
    ):
        assert answer.status_code == status, answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
        if field is not None:
            assert [error["field"] for error in answer.json()["errors"]] == [field]
