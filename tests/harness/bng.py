"""What the BNG's tests share: logins by FreeRADIUS's own client, accounts and sessions, a scripted NAS for RFC 5176."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Any

import eventlet
import sqlalchemy as sa
from eventlet.green import socket

from tools.bng import Bng

DISCONNECT_ACK, DISCONNECT_NAK = 41, 42
NAS = "192.0.2.1"


def an_account(
    password: str = "right", profile: str = "internet-500", address: str = "198.51.100.7", vlan: int = 0
) -> dict[str, Any]:
    """The content of an account, as a plan writes it."""
    check = [["Cleartext-Password", ":=", password]]
    reply = [["Framed-IP-Address", ":=", address]]
    if vlan:
        reply.append(["Tunnel-Private-Group-Id", "=", str(vlan)])
    return {"check": check, "reply": reply, "groups": [[profile, 1]]}


def login(bng: Bng, username: str, password: str = "right") -> tuple[str, dict[str, list[str]]]:
    """What a subscriber who logs in is answered: `Access-Accept` or `Access-Reject`, and its attributes."""
    answer = bng.radclient(
        "auth", bng.auth_port, f'User-Name = "{username}", User-Password = "{password}", NAS-IP-Address = {NAS}',
        tries=10,
    )  # fmt: skip
    sent, received, rest = answer.stdout.partition("Received ")
    assert received, f"no answer to the login: {sent}{answer.stderr}"
    attributes: dict[str, list[str]] = {}
    for name, value in re.findall(r"^\t([\w-]+)(?::\d+)? = \"?(.*?)\"?$", rest, re.M):
        attributes.setdefault(name, []).append(value)
    return rest.split()[0], attributes


def start_session(bng: Bng, username: str, session_id: str) -> None:
    """The BNG reports a session that has begun."""
    done = bng.radclient(
        "acct", bng.acct_port,
        f'User-Name = "{username}", Acct-Session-Id = "{session_id}", NAS-IP-Address = {NAS}, '
        "Acct-Status-Type = Start, Framed-IP-Address = 198.51.100.7",
        tries=10,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def live_sessions(uri: str, username: str) -> list[str]:
    """The ids of this account's sessions that have not ended."""
    query = "select acctsessionid from radacct where username = :name and acctstoptime is null order by 1"
    return [row[0] for row in sql(uri, query, name=username)]


def sql(uri: str, query: str, **values: Any) -> list[Any]:
    """Run one statement on the RADIUS database, as an operator would."""
    engine = sa.create_engine(uri, poolclass=sa.NullPool)
    with engine.begin() as conn:
        result = conn.execute(sa.text(query), values)
        return list(result) if result.returns_rows else []


class ScriptedNas:
    """A dynamic authorization server that does as told, one word a packet: `ack`, `nak:504`, `lose`, `forge`.

    The last word counts for all further packets. It checks what it gets by its own reading of RFC 5176.
    """

    def __init__(self, *script: str, secret: bytes = b"shared") -> None:
        self.secret = secret
        self.received: list[bytes] = []
        self.wrongly_signed = 0
        self._script = list(script)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._socket.getsockname()
        self._serving = eventlet.spawn(self._serve)

    def close(self) -> None:
        """Stop listening."""
        self._serving.kill()
        self._socket.close()

    def attributes(self, packet: bytes) -> dict[int, bytes]:
        """The attributes of a packet by their type."""
        found, rest = {}, packet[20:]
        while rest:
            found[rest[0]] = rest[2:rest[1]]
            rest = rest[rest[1]:]
        return found

    def _serve(self) -> None:
        while True:
            packet, sender = self._socket.recvfrom(4096)
            if not self._is_signed(packet):
                self.wrongly_signed += 1
                continue
            self.received.append(packet)
            word = self._script.pop(0) if len(self._script) > 1 else self._script[0]
            if word != "lose":
                self._socket.sendto(self._answer(packet, word), sender)

    def _is_signed(self, packet: bytes) -> bool:
        unsigned = packet[:4] + b"\0" * 16 + packet[20:]
        if hashlib.md5(unsigned + self.secret).digest() != packet[4:20]:
            return False
        mac = self.attributes(packet)[80]
        blanked = unsigned.replace(b"\x50\x12" + mac, b"\x50\x12" + b"\0" * 16)
        return hmac.new(self.secret, blanked, "md5").digest() == mac

    def _answer(self, packet: bytes, word: str) -> bytes:
        kind, _, cause = word.partition(":")
        code = DISCONNECT_NAK if kind == "nak" else DISCONNECT_ACK
        attributes = b"\x65\x06" + int(cause).to_bytes(4, "big") if cause else b""
        head = bytes((code, packet[1])) + (20 + len(attributes)).to_bytes(2, "big")
        secret = b"another" if kind == "forge" else self.secret
        return head + hashlib.md5(head + packet[4:20] + attributes + secret).digest() + attributes
