"""Promises of the Disconnect-Request: signed, sent again until it is answered; an answer counts where it is signed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from activation_svc.bng_disconnect import Session, disconnect
from tests.harness.bng import ScriptedNas
from tools.bng import free_udp_port
from tools.waiting import wait_until

SECRET = b"shared"
SESSION = Session("unique-1", "kim", "session-1", "192.0.2.1")
OTHER = Session("unique-2", "이", "session-2", "2001:db8::1")


@pytest.fixture
def nas() -> Iterator[Callable[..., ScriptedNas]]:
    made: list[ScriptedNas] = []

    def make(*script: str) -> ScriptedNas:
        made.append(ScriptedNas(*script, secret=SECRET))
        return made[-1]

    yield make
    for one in made:
        one.close()


def end(nas: ScriptedNas, *sessions: Session, secret: bytes = SECRET, within_s: float = 60.0) -> dict[str, str]:
    return disconnect(sessions, nas.address, secret, time.monotonic() + within_s, 1764000000.5)


def test_a_session_is_named_by_user_nas_and_session_and_the_request_is_signed(nas: Callable[..., ScriptedNas]) -> None:
    server = nas("ack")
    assert end(server, SESSION, OTHER) == {}
    # Where the machine is slow some are sent again; each once.
    packets = list(dict.fromkeys(server.received))
    named = [server.attributes(packet) for packet in packets]
    assert [packet[0] for packet in packets] == [40, 40]
    assert [one[1] for one in named] == [b"kim", "이".encode()]
    assert [one[44] for one in named] == [b"session-1", b"session-2"]
    assert named[0][4] == bytes((192, 0, 2, 1)) and named[1][95][:4] == bytes((0x20, 0x01, 0x0D, 0xB8))
    assert named[0][55] == (1764000000).to_bytes(4, "big")


def test_a_lost_packet_is_sent_again_unchanged(nas: Callable[..., ScriptedNas]) -> None:
    server = nas("lose", "ack")
    assert end(server, SESSION) == {}
    assert len(server.received) >= 2 and len(set(server.received)) == 1


def test_a_refusal_is_reported_with_its_cause_and_a_session_not_found_is_an_ended_one(
    nas: Callable[..., ScriptedNas],
) -> None:
    assert end(nas("nak:503"), SESSION) == {}
    assert end(nas("nak:504", "ack"), SESSION, OTHER) == {"unique-1": "refused, Error-Cause 504"}
    assert end(nas("nak"), SESSION) == {"unique-1": "refused"}


def test_an_answer_signed_with_another_secret_is_none(nas: Callable[..., ScriptedNas]) -> None:
    assert end(nas("forge"), SESSION, within_s=0.1) == {"unique-1": "no answer"}
    assert end(nas("forge", "ack"), SESSION) == {}


def test_a_request_signed_with_a_wrong_secret_ends_nothing(nas: Callable[..., ScriptedNas]) -> None:
    server = nas("ack")
    assert end(server, SESSION, secret=b"wrong", within_s=0.1) == {"unique-1": "no answer"}
    wait_until(lambda: server.wrongly_signed, "the request arrives")
    assert server.received == []


def test_nobody_listening_is_no_answer_and_not_later_than_the_deadline() -> None:
    begun = time.monotonic()
    address = ("127.0.0.1", free_udp_port())
    failed = disconnect([SESSION, OTHER], address, SECRET, begun + 0.2, 1764000000.0)
    assert failed == {"unique-1": "no answer", "unique-2": "no answer"}
    assert time.monotonic() - begun < 5
