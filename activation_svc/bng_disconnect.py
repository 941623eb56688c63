"""Disconnect-Request of RFC 5176 over UDP: ends live sessions at the BNG's dynamic authorization server.

Only packets and their retransmission; which sessions, and what to do about a refusal, is the caller's.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

DISCONNECT_REQUEST, DISCONNECT_ACK, DISCONNECT_NAK = 40, 41, 42
SESSION_NOT_FOUND = 503
"""Error-Cause 503, Session-Context-Not-Found: there is nothing to end any more."""
MOST_AT_ONCE = 200
"""An identifier is one octet, and must not come again while its request is under way."""

_USER_NAME, _NAS_IP, _SESSION_ID, _TIMESTAMP, _NAS_IPV6, _ERROR_CAUSE = 1, 4, 44, 55, 95, 101
_MESSAGE_AUTHENTICATOR = 80
_HEADER = struct.Struct("!BBH")
_MAC_LENGTH = 18
_WAITS_S = (0.4, 0.8, 1.6)


@dataclass(frozen=True, slots=True)
class Session:
    """One live session, as radacct has it."""

    unique_id: str
    username: str
    session_id: str
    nas_address: str


def disconnect(
    sessions: Sequence[Session], server: tuple[str, int], secret: bytes, deadline: float, now: float
) -> dict[str, str]:
    """End these sessions (MOST_AT_ONCE at most); return those that are perhaps still live, with the reason.

    Sends each request up to three times in less than 3 s and not after `deadline` (monotonic). `now` is the time
    of day in seconds, for Event-Timestamp. An answer whose authenticator is wrong is none. Raises OSError where
    there is no way to the server.
    """
    first = secrets.randbelow(256)
    waiting = {}
    for number, session in enumerate(sessions):
        identifier = (first + number) % 256
        waiting[identifier] = (session, request(identifier, attributes_of(session, now), secret))
    refused: dict[str, str] = {}
    with socket.socket(socket.AF_INET6 if ":" in server[0] else socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.connect(server)
        for wait_s in _WAITS_S:
            for _, packet in waiting.values():
                _send(link, packet)
            until = min(time.monotonic() + wait_s, deadline)
            for answer in _answers(link, until):
                if (sent := waiting.get(answer[1])) is None or not is_answer(answer, sent[1], secret):
                    continue
                del waiting[answer[1]]
                if (why := _refusal(answer)) is not None:
                    refused[sent[0].unique_id] = why
                if not waiting:
                    return refused
    return refused | {session.unique_id: "no answer" for session, _ in waiting.values()}


def attributes_of(session: Session, now: float) -> bytes:
    """The attributes that identify the NAS and the session (RFC 5176, section 3), and when this was asked."""
    nas = ipaddress.ip_address(session.nas_address.partition("/")[0])
    return b"".join((
        _attribute(_USER_NAME, session.username.encode()),
        _attribute(_NAS_IP if nas.version == 4 else _NAS_IPV6, nas.packed),
        _attribute(_SESSION_ID, session.session_id.encode()),
        _attribute(_TIMESTAMP, struct.pack("!I", int(now))),
    ))  # fmt: skip


def request(identifier: int, attributes: bytes, secret: bytes) -> bytes:
    """A signed Disconnect-Request: Message-Authenticator and Request Authenticator (RFC 5176, 2.3 and 3.4)."""
    head = _HEADER.pack(DISCONNECT_REQUEST, identifier, 20 + len(attributes) + _MAC_LENGTH)
    unsigned = attributes + _attribute(_MESSAGE_AUTHENTICATOR, bytes(16))
    mac = hmac.digest(secret, head + bytes(16) + unsigned, "md5")
    signed = attributes + _attribute(_MESSAGE_AUTHENTICATOR, mac)
    return head + hashlib.md5(head + bytes(16) + signed + secret).digest() + signed


def is_answer(answer: bytes, asked: bytes, secret: bytes) -> bool:
    """Whether `answer` is a whole ACK or NAK, signed with the secret, to exactly what was `asked`."""
    if len(answer) < 20 or answer[0] not in (DISCONNECT_ACK, DISCONNECT_NAK) or answer[1] != asked[1]:
        return False
    if _HEADER.unpack_from(answer)[2] != len(answer):
        return False
    expected = hashlib.md5(answer[:4] + asked[4:20] + answer[20:] + secret).digest()
    if not hmac.compare_digest(expected, answer[4:20]):
        return False
    return _mac_is_right(answer, asked, secret)


def _mac_is_right(answer: bytes, asked: bytes, secret: bytes) -> bool:
    """A Message-Authenticator in the answer is optional, but must be right where there is one."""
    for kind, value, at in _attributes(answer):
        if kind == _MESSAGE_AUTHENTICATOR:
            blank = answer[:4] + asked[4:20] + answer[20:at] + bytes(len(value)) + answer[at + len(value):]
            return hmac.compare_digest(hmac.digest(secret, blank, "md5"), value)
    return True


def _refusal(answer: bytes) -> str | None:
    if answer[0] == DISCONNECT_ACK:
        return None
    causes = [int.from_bytes(value, "big") for kind, value, _ in _attributes(answer) if kind == _ERROR_CAUSE]
    if SESSION_NOT_FOUND in causes:
        return None
    return f"refused, Error-Cause {causes[0]}" if causes else "refused"


def _attribute(kind: int, value: bytes) -> bytes:
    return bytes((kind, len(value) + 2)) + value


def _attributes(packet: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield type, value and the value's place for each attribute; stops at what is none."""
    at = 20
    while at + 2 <= len(packet) and packet[at + 1] >= 2:
        yield packet[at], packet[at + 2:at + packet[at + 1]], at + 2
        at += packet[at + 1]


def _send(link: socket.socket, packet: bytes) -> None:
    try:
        link.send(packet)
    except ConnectionRefusedError:
        # The kernel's word on an earlier packet: nobody listened then. Saying so cleared it.
        with suppress(ConnectionRefusedError):
            link.send(packet)


def _answers(link: socket.socket, until: float) -> Iterator[bytes]:
    """What comes before `until` (monotonic)."""
    while (left_s := until - time.monotonic()) > 0:
        link.settimeout(left_s)
        try:
            yield link.recv(4096)
        except ConnectionRefusedError:
            continue
        except TimeoutError:
            return
