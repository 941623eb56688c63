"""Promises of the photos' rules: only pictures, by their first bytes, within their size; and who may see whose."""

from __future__ import annotations

import base64
from uuid import uuid4

import pytest

from contracts.errors import Conflict, Forbidden, Invalid
from contracts.rpc import PHOTO_BYTES_MAX, PHOTO_TYPES
from fieldwork_svc import domain, photos
from fieldwork_svc.domain import Job

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF" + b"\0" * 20
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
WEBP = b"RIFF\x24\0\0\0WEBPVP8 " + b"\0" * 20


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.mark.parametrize(("content", "media_type"), zip((JPEG, PNG, WEBP), PHOTO_TYPES, strict=True))
def test_picture_is_known_by_its_first_bytes(content: bytes, media_type: str) -> None:
    assert photos.media_type_of(content) == media_type
    assert photos.read(media_type, b64(content)) == content


@pytest.mark.parametrize(
    ("media_type", "content", "field"),
    [
        ("image/jpeg", b64(b"<svg onload=alert(1)>"), "content"),
        ("image/jpeg", b64(b"RIFF\x24\0\0\0WAVEfmt "), "content"),
        ("image/jpeg", b64(b"GIF89a"), "content"),
        ("image/jpeg", b64(b""), "content"),
        ("image/jpeg", "not base64!", "content"),
        ("image/jpeg", "한글", "content"),
        ("image/jpeg", None, "content"),
        ("image/jpeg", 7, "content"),
        ("image/jpeg", b64(JPEG + b"\0" * PHOTO_BYTES_MAX), "content"),
        ("image/png", b64(JPEG), "media_type"),
        ("text/html", b64(JPEG), "media_type"),
        (None, b64(JPEG), "media_type"),
    ],
)
def test_what_is_no_photo_is_invalid_and_named(media_type: object, content: object, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        photos.read(media_type, content)
    assert [fault["field"] for fault in caught.value.fields] == [field]


def test_the_largest_photo_is_taken() -> None:
    largest = JPEG + b"\0" * (PHOTO_BYTES_MAX - len(JPEG))
    assert photos.read("image/jpeg", b64(largest)) == largest


@pytest.mark.parametrize("value", ["", "1", None, 7, "x" * 36])
def test_photo_id_that_is_no_uuid_is_invalid_and_named(value: object) -> None:
    with pytest.raises(Invalid) as caught:
        photos.photo_id_of(value)
    assert caught.value.fields[0]["field"] == "photo_id"


@pytest.mark.parametrize("state", ["assigned", "started", "completed", "rejected"])
def test_job_that_is_done_still_takes_photos(state: str) -> None:
    domain.check_takes_photos(Job(uuid4(), state=state))


def test_withdrawn_job_takes_no_photos() -> None:
    with pytest.raises(Conflict, match="the customer cancelled"):
        domain.check_takes_photos(Job(uuid4(), state="cancelled"))


def test_technician_reads_own_jobs_and_the_desk_reads_every_job() -> None:
    domain.check_reader("tech-1", "tech-1")
    domain.check_reader("tech-1", None)
    with pytest.raises(Forbidden, match="another technician"):
        domain.check_reader("tech-1", "tech-2")
