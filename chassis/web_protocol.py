"""One HTTP connection: request line, headers, framing, and the end of it. It knows no route.

Whatever is wrong with a request's framing is a 4xx problem document; rules are RFC 9112.
"""

from __future__ import annotations

import http
import json
import re
import socket
import uuid
from email import errors
from typing import Any

import eventlet
from eventlet import wsgi
from nameko.web.server import HttpOnlyProtocol

from chassis import metrics
from chassis.logging import get_logger

HEADERS_TIMEOUT_S = 20
LINGER_S = 1.0
LINGER_BYTES = 1 << 20

# The standard library reads header fields as a whole message, and misses the parts of a form with files.
_OF_A_BODY = (
    errors.StartBoundaryNotFoundDefect, errors.NoBoundaryInMultipartDefect, errors.MultipartInvariantViolationDefect,
)  # fmt: skip
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_NAMES = re.compile(f"{_TOKEN}(?::{_TOKEN})*")
_LENGTH = re.compile(r"[0-9]{1,15}")
_ABSOLUTE = re.compile(r"(?i)^https?://[^/?#]*")
_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_log = get_logger(__name__)


def sane_request_id(given: str | None) -> str:
    """Return the client's request id where it is short and plain ASCII, else a new one."""
    return given if given and _SANE_ID.fullmatch(given) else uuid.uuid4().hex


def problem_document(status: int, title: str, detail: str, **members: Any) -> bytes:
    """Return an RFC 9457 problem document as JSON; members that are None or empty are left out."""
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    document |= {key: value for key, value in members.items() if value}
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")


class Protocol(HttpOnlyProtocol):
    """One connection. Whatever is wrong with a request's framing is a 4xx problem document and the end of it."""

    linger = False
    headers: Any
    path: str

    def refuse(self, status: int, detail: str) -> None:
        """Answer before routing and close. 5xx becomes 400: a client's mistake is never a server's failure."""
        status = 400 if status >= 500 else status
        phrase = http.HTTPStatus(status).phrase
        headers = getattr(self, "headers", None)
        request_id = sane_request_id(headers.get("X-Request-ID") if headers is not None else None)
        body = problem_document(status, phrase, detail, request_id=request_id)
        head = (
            f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n"
            f"X-Request-ID: {request_id}\r\nConnection: close\r\n\r\n"
        )
        self.wfile.write(head.encode("latin-1") + body)
        self.close_after(linger=True)
        service = self.server.service_name
        metrics.HTTP_DURATION.labels(service, "other", "unreadable", str(status)).observe(0)
        _log.info("http_refused", status=status, detail=detail, request_id=request_id)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Standard library's way to refuse a request line."""
        self.refuse(int(code), message or "The request cannot be read")

    def close_after(self, linger: bool = False) -> None:
        """Close the connection after this answer; `linger` swallows what the client still sends, so it reads it."""
        self.close_connection = True
        self.linger = self.linger or linger

    def _read_request_line(self) -> Any:
        line = super()._read_request_line()
        if len(line) >= self.server.url_length_limit:
            self.refuse(414, f"The request line may have at most {self.server.url_length_limit} bytes")
            return b""
        return line

    def parse_request(self) -> bool:
        """Read the headers, within a time limit, and check the framing. False: refused, or nothing was there."""
        self.headers = None
        limit = eventlet.Timeout(HEADERS_TIMEOUT_S)
        try:
            if not super().parse_request():
                return False
        except (wsgi.HeaderLineTooLong, wsgi.HeadersTooLarge):
            self.refuse(431, "The header fields are too large")
            return False
        except eventlet.Timeout as raised:
            if raised is not limit:
                raise
            self.refuse(408, f"The header fields did not arrive within {HEADERS_TIMEOUT_S} seconds")
            return False
        finally:
            limit.cancel()
        flaw = self._framing_flaw()
        if flaw:
            self.refuse(400, flaw)
            return False
        self.path = _ABSOLUTE.sub("", self.path) or "/"  # absolute-form, RFC 9112 3.2.2
        return True

    def _framing_flaw(self) -> str | None:
        """What would let two parties read this request differently (RFC 9112 sections 3.2, 5.1, 6.1, 6.3)."""
        lengths = set(self.headers.get_all("Content-Length", []))
        codings = self.headers.get_all("Transfer-Encoding", [])
        if any(not isinstance(defect, _OF_A_BODY) for defect in self.headers.defects):
            return "A header line is malformed"
        names = self.headers.keys()
        if names and not _NAMES.fullmatch(":".join(names)):  # A name has no colon: it would have ended there.
            return "A header name is malformed"
        if self.request_version == "HTTP/1.1" and len(self.headers.get_all("Host", [])) != 1:
            return "Exactly one Host header field is required"
        if lengths and codings:
            return "Content-Length and Transfer-Encoding are not allowed together"
        if len(lengths) > 1 or any(not _LENGTH.fullmatch(length.strip()) for length in lengths):
            return "Content-Length must be one decimal number"
        if codings and [coding.strip().lower() for coding in codings] != ["chunked"]:
            return "The only Transfer-Encoding understood here is chunked"
        return None

    def get_environ(self) -> dict[str, Any]:
        """The WSGI environment, with this connection under "chassis.connection"."""
        environ: dict[str, Any] = super().get_environ()
        environ["chassis.connection"] = self
        return environ

    def finish(self) -> None:
        """Close; a lingering close first reads on for a moment, or the reset would destroy our answer."""
        if self.linger:
            with eventlet.Timeout(LINGER_S, False):
                try:
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_WR)
                    left = LINGER_BYTES
                    while left > 0 and (read := self.connection.recv(min(left, 65536))):
                        left -= len(read)
                except (OSError, ValueError) as error:
                    _log.debug("http_client_gone", error=str(error))
        super().finish()
