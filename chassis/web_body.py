"""Reading a request's body whole, within a size and a time, strictly by RFC 9112.

eventlet's own chunked reader takes "-3", "+3" and "1_0" for sizes and loops on the first; this one does not.
"""

from __future__ import annotations

import io
import re
from typing import Any

import eventlet

BODY_TIMEOUT_S = 30
MAX_TRAILERS = 50
_CHUNK_HEAD = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")


class BodyRefused(Exception):
    """The body cannot be taken; `status` and `title` say why. The connection must close after the answer."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail = status, title, detail


def has_body(environ: dict[str, Any]) -> bool:
    """Whether the request announces a body that has not been taken yet."""
    return bool(environ.get("HTTP_TRANSFER_ENCODING")) or environ.get("CONTENT_LENGTH", "0").strip("0") != ""


def take_body(environ: dict[str, Any], limit: int) -> None:
    """Read the body, at most `limit` bytes, and put it back into `environ` as a file of known length.

    Raises BodyRefused: 413 too large, 408 too slow, 400 broken or incomplete.
    """
    body = b""
    if has_body(environ):
        timer = eventlet.Timeout(BODY_TIMEOUT_S)
        try:
            chunked = bool(environ.get("HTTP_TRANSFER_ENCODING"))
            body = _chunked(environ["wsgi.input"], limit) if chunked else _counted(environ, limit)
        except (eventlet.Timeout, TimeoutError) as raised:
            if isinstance(raised, eventlet.Timeout) and raised is not timer:
                raise
            detail = f"The body did not arrive within {BODY_TIMEOUT_S} seconds"
            raise BodyRefused(408, "Request timeout", detail) from None
        except OSError:
            raise BodyRefused(400, "Bad request", "The body is incomplete") from None
        finally:
            timer.cancel()
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    environ["chassis.body_taken"] = True


def _counted(environ: dict[str, Any], limit: int) -> bytes:
    length = int(environ["CONTENT_LENGTH"])
    if length > limit:
        raise _too_large(limit)
    body: bytes = environ["wsgi.input"].read(length)
    if len(body) < length:
        raise BodyRefused(400, "Bad request", "The body is shorter than Content-Length says")
    return body


def _chunked(source: Any, limit: int) -> bytes:
    """`source` is eventlet's wsgi.Input; it is told that nothing is left, so that it does not read on."""
    if source.should_send_hundred_continue:
        source.send_hundred_continue_response()
        source.is_hundred_continue_response_sent = True
    rfile, body = source.rfile, bytearray()
    while size := _chunk_size(rfile):
        if len(body) + size > limit:
            raise _too_large(limit)
        chunk = rfile.read(size + 2)
        if len(chunk) != size + 2 or not chunk.endswith(b"\r\n"):
            raise _broken()
        body += chunk[:-2]
    for _ in range(MAX_TRAILERS):
        line = rfile.readline(8192)
        if line == b"\r\n":
            source.chunk_length = 0
            return bytes(body)
        if not line.endswith(b"\r\n"):
            break
    raise _broken()


def _chunk_size(rfile: Any) -> int:
    head = _CHUNK_HEAD.fullmatch(rfile.readline(1024))
    if head is None:
        raise _broken()
    return int(head[1], 16)


def _broken() -> BodyRefused:
    return BodyRefused(400, "Bad request", "The body's chunked coding is broken or the body is incomplete")


def _too_large(limit: int) -> BodyRefused:
    return BodyRefused(413, "Content too large", f"The body may have at most {limit} bytes")
