"""Photos of a job: which are taken, and where they are kept. Pictures, not evidence: nothing is read out of them."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from chassis import clock
from contracts.errors import Conflict, Invalid, NotFound
from contracts.rpc import PHOTO_BYTES_MAX, PHOTO_TYPES, PHOTOS_MAX
from fieldwork_svc.models import photos


def media_type_of(content: bytes) -> str | None:
    """The type that the first bytes say: JPEG (ITU-T T.81), PNG (RFC 2083), WebP (RFC 9649); None for others."""
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return None


def photo_id_of(value: Any) -> UUID:
    """The id that the phone made. Raises Invalid naming `photo_id`."""
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        raise _invalid("photo_id", "must be a UUID") from None


def read(media_type: Any, content_b64: Any) -> bytes:
    """The picture's bytes. Raises Invalid naming `content` or `media_type`."""
    try:
        content = base64.b64decode(content_b64, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise _invalid("content", "must be base64") from None
    if not content:
        raise _invalid("content", "must not be empty")
    if len(content) > PHOTO_BYTES_MAX:
        raise _invalid("content", f"may have at most {PHOTO_BYTES_MAX} bytes, this one has {len(content)}")
    found = media_type_of(content)
    if found is None:
        raise _invalid("content", f"must be one of {', '.join(PHOTO_TYPES)}; by its first bytes it is none")
    if found != media_type:
        raise _invalid("media_type", f"must be what the content is: {found}")
    return content


def is_kept(conn: sa.Connection, order_id: UUID, photo_id: UUID, content: bytes) -> bool:
    """Whether this photo is here already: a phone in a dead spot sends twice. Raises Conflict for another one."""
    query = sa.select(photos.c.content == content).where(_key(order_id, photo_id))
    same = conn.execute(query).scalar_one_or_none()
    if same is False:
        raise Conflict(f"another photo has the id {photo_id} already; make a new id for each photo")
    return bool(same)


def keep(
    conn: sa.Connection, order_id: UUID, photo_id: UUID, technician_id: str, content: bytes, now: datetime
) -> None:
    """Store the photo; the caller holds the order's lock. Raises Conflict where the job has enough of them."""
    if count(conn, order_id) >= PHOTOS_MAX:
        raise Conflict(f"a job takes at most {PHOTOS_MAX} photos")
    conn.execute(
        sa.insert(photos).values(
            order_id=order_id, photo_id=photo_id, technician_id=technician_id, media_type=media_type_of(content),
            content=content, bytes=len(content), taken_at=now,
        )
    )


def count(conn: sa.Connection, order_id: UUID) -> int:
    """How many photos the job has."""
    query = sa.select(sa.func.count()).select_from(photos).where(photos.c.order_id == order_id)
    return int(conn.execute(query).scalar_one())


def list_photos(conn: sa.Connection, order_id: UUID) -> dict[str, Any]:
    """What is known of the job's photos but the pictures themselves, oldest first."""
    columns = (photos.c.photo_id, photos.c.media_type, photos.c.bytes, photos.c.taken_at, photos.c.technician_id)
    query = sa.select(*columns).where(photos.c.order_id == order_id).order_by(photos.c.taken_at, photos.c.photo_id)
    return {
        "items": [
            {
                "photo_id": str(row.photo_id),
                "media_type": row.media_type,
                "bytes": row.bytes,
                "taken_at": clock.rfc3339(row.taken_at),
                "by": row.technician_id,
            }
            for row in conn.execute(query)
        ]
    }


def get_photo(conn: sa.Connection, order_id: UUID, photo_id: str) -> dict[str, Any]:
    """The picture as `{"media_type", "content_b64"}`. Raises NotFound."""
    nothing = NotFound(f"the job of order {order_id} has no such photo")
    try:
        key = photo_id_of(photo_id)
    except Invalid:
        raise nothing from None
    query = sa.select(photos.c.media_type, photos.c.content).where(_key(order_id, key))
    row = conn.execute(query).one_or_none()
    if row is None:
        raise nothing
    return {"media_type": row.media_type, "content_b64": base64.b64encode(row.content).decode()}


def _key(order_id: UUID, photo_id: UUID) -> sa.ColumnElement[bool]:
    return sa.and_(photos.c.order_id == order_id, photos.c.photo_id == photo_id)


def _invalid(field: str, message: str) -> Invalid:
    return Invalid(f"{field} {message}", [{"field": field, "message": message}])
