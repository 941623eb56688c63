"""One NETCONF session over SSH (RFC 6241, RFC 6242), and the few of them that an element may have. Over ncclient.

ncclient's own session thread looks for something to send every 0.1 s, which makes each request take that long, and
waits for the network without a deadline while it connects. Here a request is written by who asks it, the thread only
reads, and at the deadline the socket is shut, which ends whatever still waits for it. Under eventlet the threads are
greenlets and nothing here blocks the hub.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lxml import etree  # type: ignore[import-untyped,unused-ignore]
from ncclient.devices.default import DefaultDeviceHandler  # type: ignore[import-untyped]
from ncclient.manager import Manager  # type: ignore[import-untyped]
from ncclient.operations import (  # type: ignore[import-untyped]
    GetConfig,
    OperationError,
    RaiseMode,
    RPCError,
    TimeoutExpiredError,
)
from ncclient.transport import SSHSession  # type: ignore[import-untyped]
from ncclient.transport.errors import SessionCloseError, TransportError  # type: ignore[import-untyped]
from ncclient.transport.session import END_DELIM, MSG_DELIM, NetconfBase  # type: ignore[import-untyped]
from paramiko import SSHException  # type: ignore[import-untyped]

from activation_svc.driver import ElementError, ElementRefused, ElementUnreachable
from activation_svc.netconf_ports import words_of

log = logging.getLogger(__name__)
# At INFO ncclient logs every message with its content; paramiko logs, as errors, what is raised here anyway.
logging.getLogger("ncclient").setLevel(logging.WARNING)
logging.getLogger("ncclient.transport.ssh").setLevel(logging.CRITICAL)

_CHUNK = 65536
_NOTHING = "{urn:oss:nothing}nothing"
_LAST_READ_S = 1.0
"""Longer than the reader needs to see that its socket is shut."""
_NUDGE_FIRST_S, _NUDGE_MAX_S = 0.05, 1.0
_BROKEN = (OSError, EOFError, SSHException, TransportError, TimeoutExpiredError, OperationError, etree.XMLSyntaxError)


@dataclass(frozen=True, slots=True)
class Address:
    """Where an element listens, as whom to go there, and the only host key it may show ("ssh-ed25519 AAAA...")."""

    host: str
    port: int
    username: str
    key_file: str
    host_key: str


class _SshSession(SSHSession):  # type: ignore[misc]
    """ncclient's session, writing at once instead of ten times a second."""

    def send(self, message: str) -> None:
        """Write one message. Raises TransportError or OSError where the session has ended."""
        channel = self._channel
        if not self.connected or channel is None:
            raise TransportError("the session has ended")
        data = message.encode()
        framed = b"\n#%d\n%s%s" % (len(data), data, END_DELIM)
        channel.sendall(framed if self._base == NetconfBase.BASE_11 else data + MSG_DELIM)

    def run(self) -> None:
        """Read until the element ends the session; then tell whoever still waits for an answer."""
        channel = self._channel
        error: Exception = SessionCloseError("the element closed the session")
        try:
            while data := channel.recv(_CHUNK):
                self.parser.parse(data)
        except Exception as exc:  # whatever it is ends the session, and reaches those who wait
            error = exc
        self._connected = False
        self._dispatch_error(error)


class Session:
    """An open session; it is cut off where a deadline passes while it is used."""

    def __init__(self, address: Address, deadline: float) -> None:
        """Connect. Raises one of _BROKEN."""
        left_s = max(deadline - time.monotonic(), 0.001)
        self._socket = socket.create_connection((address.host, address.port), left_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        handler = DefaultDeviceHandler()
        self._ssh = _SshSession(handler)
        try:
            with self._cut_off_at(deadline):
                self._ssh.connect(
                    host=address.host, port=address.port, sock=self._socket, username=address.username,
                    key_filename=address.key_file, hostkey_b64=address.host_key.split()[1], allow_agent=False,
                    look_for_keys=False, timeout=left_s,
                )  # fmt: skip
                self._wait_until_heard(handler)
        except BaseException:
            self.close()
            raise
        self._rpc = Manager(self._ssh, handler, raise_mode=RaiseMode.ERRORS)

    def _wait_until_heard(self, handler: DefaultDeviceHandler) -> None:
        """Ask for nothing until it is answered.

        A request that reaches netconfd together with our hello lies there until something else arrives.
        """
        wait_s = _NUDGE_FIRST_S
        while True:
            asked = GetConfig(self._ssh, handler, async_mode=True)
            asked.request("running", filter=("subtree", etree.Element(_NOTHING)))
            if asked.event.wait(wait_s):
                break
            wait_s = min(wait_s * 2, _NUDGE_MAX_S)
        if asked.error is not None:
            raise asked.error

    @property
    def alive(self) -> bool:
        """False once the element has ended it."""
        return bool(self._ssh.connected)

    @contextlib.contextmanager
    def until(self, deadline: float) -> Iterator[Any]:
        """ncclient's Manager for this session. Requests raise RPCError, or one of _BROKEN."""
        self._rpc.timeout = max(deadline - time.monotonic(), 0.001)
        with self._cut_off_at(deadline):
            yield self._rpc

    def close(self) -> None:
        """End it at once; the element drops its locks and undoes what it had not confirmed."""
        self._shut()
        if self._ssh.transport is not None:
            # Its reader first: a number that it still waits on must not be given to somebody else's socket.
            self._ssh.transport.join(_LAST_READ_S)
            self._ssh.close()
        self._socket.close()

    @contextlib.contextmanager
    def _cut_off_at(self, deadline: float) -> Iterator[None]:
        timer = threading.Timer(max(deadline - time.monotonic(), 0.0), self._shut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _shut(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


class Sessions:
    """At most `limit` sessions with one element: opened when needed, kept, dropped once something went wrong."""

    def __init__(self, element: str, address: Address, limit: int) -> None:
        self._element = element
        self._address = address
        self._slots = threading.BoundedSemaphore(limit)
        self._idle: list[Session] = []
        self._open: set[Session] = set()
        self.opened = 0
        """How many were opened so far."""

    @property
    def open(self) -> int:
        """How many there are now."""
        return len(self._open)

    @contextlib.contextmanager
    def session(self, deadline: float, begin: Callable[[Any], None]) -> Iterator[Any]:
        """A session of one's own, after the request `begin`; a kept one that turns out dead there is replaced.

        A session that breaks raises ElementUnreachable, a refusal that reaches here ElementRefused. After either, and
        after anything else but an ElementError, the session is dropped, and with it locks and unconfirmed commits.
        """
        if not self._slots.acquire(timeout=max(deadline - time.monotonic(), 0.001)):
            raise ElementUnreachable(self._element, "no session was free in time")
        session: Session | None = None
        keep = False
        try:
            session = self._begun(deadline, begin)
            with session.until(deadline) as rpc:
                yield rpc
            keep = True
        except ElementError:
            keep = session is not None
            raise
        except RPCError as refusal:
            raise ElementRefused(self._element, words_of(refusal)) from refusal
        except _BROKEN as error:
            why = "no answer in time" if time.monotonic() >= deadline else f"cannot be reached ({error})"
            raise ElementUnreachable(self._element, why) from error
        finally:
            if session is not None:
                self._give_back(session, keep)
            self._slots.release()

    def close(self) -> None:
        """End every session, also those in use."""
        self._idle.clear()
        for session in list(self._open):
            self._drop(session)

    def _begun(self, deadline: float, begin: Callable[[Any], None]) -> Session:
        while self._idle:
            kept = self._idle.pop()
            try:
                self._begin(kept, deadline, begin)
            except RPCError:
                raise
            except _BROKEN as error:
                log.info("%s: a kept session had ended (%s)", self._element, error)
            else:
                return kept
        session = Session(self._address, deadline)
        self._open.add(session)
        self.opened += 1
        self._begin(session, deadline, begin)
        return session

    def _begin(self, session: Session, deadline: float, begin: Callable[[Any], None]) -> None:
        try:
            with session.until(deadline) as rpc:
                begin(rpc)
        except ElementError:
            self._give_back(session, True)
            raise
        except BaseException:
            self._drop(session)
            raise

    def _give_back(self, session: Session, keep: bool) -> None:
        if keep and session.alive and session in self._open:
            self._idle.append(session)
        else:
            self._drop(session)

    def _drop(self, session: Session) -> None:
        self._open.discard(session)
        session.close()
