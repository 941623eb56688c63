"""An access node (OLT) as activation's Driver: service ports in its configuration, over NETCONF (RFC 6241).

A write edits the candidate under its lock, commits for confirmation, reads back and confirms: what is not confirmed
because the session broke, the node takes back by itself. The lock is on the candidate alone: netconfd cannot take an
unconfirmed commit back while `running` is locked. Decision: docs/decisions/0011-netconf.md.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ncclient.operations import RPCError  # type: ignore[import-untyped]

from activation_svc.driver import Change, Content, ElementDiffers, ElementError, ElementRefused, ElementUnreachable
from activation_svc.netconf_ports import config_of, entries_of, filter_of, normal, tag_of, words_of
from activation_svc.netconf_session import Address, Sessions

log = logging.getLogger(__name__)

Changes = dict[str, Content | None]

_BUSY = {"lock-denied", "in-use"}
_WAIT_FIRST_S, _WAIT_MAX_S = 0.01, 0.2
_MARGIN_S = 0.05
"""Waiting for a lock ends this long before the deadline, so that the session survives it."""


class NetconfOlt:
    """Driver of one access node. `sessions`: how many it grants us at once.

    One transaction at a time, since they need the same lock; the other sessions are for listing meanwhile.
    """

    def __init__(self, element: str, address: Address, sessions: int = 2) -> None:
        self.element = element
        self.sessions = Sessions(element, address, sessions)
        self._turn = threading.Lock()

    def read(self, keys: Sequence[str], deadline: float) -> dict[str, Content | None]:
        """See Driver. Under the lock, so that nothing is read which the node may still take back."""
        if not keys:
            return {}
        with self._known(keys), self._locked(deadline) as rpc:
            found = _read(rpc, keys)
        return {key: found.get(key) for key in keys}

    def write(self, works: Sequence[Sequence[Change]], deadline: float) -> list[ElementError | None]:
        """See Driver."""
        results: dict[int, ElementError | None] = {}
        left = {at: {change.key: change.content for change in work} for at, work in enumerate(works)}
        try:
            while left:
                together = _without_a_key_twice(left)
                with self._locked(deadline) as rpc:
                    self._write(rpc, together, results, deadline)
                left = {at: work for at, work in left.items() if at not in together}
        except ElementError as why:
            return [results.get(at, why) for at in range(len(works))]
        return [results[at] for at in range(len(works))]

    def entries(self, deadline: float) -> dict[str, Content]:
        """See Driver. Without the lock, so that a node which somebody else holds locked can be audited."""
        with self.sessions.session(deadline, lambda rpc: None) as rpc:
            return entries_of(rpc.get_config("running", filter=filter_of()).data_ele)

    def close(self) -> None:
        """See Driver."""
        self.sessions.close()

    @contextlib.contextmanager
    def _locked(self, deadline: float) -> Iterator[Any]:
        """A session that holds the candidate's lock. Raises ElementUnreachable where it is not free in time."""
        if not self._turn.acquire(timeout=max(deadline - time.monotonic(), 0.001)):
            raise ElementUnreachable(self.element, "no turn in time")
        try:
            with self.sessions.session(deadline, lambda rpc: self._lock(rpc, deadline)) as rpc:
                try:
                    yield rpc
                except ElementError:
                    rpc.unlock("candidate")
                    raise
                rpc.unlock("candidate")
        finally:
            self._turn.release()

    def _lock(self, rpc: Any, deadline: float) -> None:
        def attempt() -> None:
            try:
                rpc.lock("candidate")
            except RPCError as refusal:
                if tag_of(refusal) != "resource-denied":
                    raise
                # Somebody edited the candidate without locking it and left (RFC 6241 8.3.5.2).
                log.warning("%s: discarding another session's unfinished edit: %s", self.element, words_of(refusal))
                rpc.discard_changes()
                rpc.lock("candidate")

        self._patiently(attempt, deadline)

    def _patiently(self, request: Callable[[], Any], deadline: float) -> None:
        """Repeat a request while another session is in its way. Raises ElementUnreachable with who it is."""
        wait_s = _WAIT_FIRST_S
        while True:
            try:
                request()
                return
            except RPCError as refusal:
                if tag_of(refusal) not in _BUSY:
                    raise
                if time.monotonic() + wait_s > deadline - _MARGIN_S:
                    raise ElementUnreachable(self.element, words_of(refusal)) from refusal
            time.sleep(wait_s)
            wait_s = min(wait_s * 2, _WAIT_MAX_S)

    def _write(
        self, rpc: Any, works: dict[int, Changes], results: dict[int, ElementError | None], deadline: float
    ) -> None:
        """All works in one transaction; where that is refused, one by one, to find whose fault it is."""
        changes = {key: content for work in works.values() for key, content in work.items()}
        error = self._transact(rpc, changes, deadline)
        if error is None or len(works) == 1:
            results.update(dict.fromkeys(works, error))
            return
        for at, work in works.items():
            results[at] = self._transact(rpc, work, deadline)

    def _transact(self, rpc: Any, changes: Changes, deadline: float) -> ElementError | None:
        """Edit, commit, read back, confirm. What is refused, or reads back otherwise, leaves nothing behind."""
        if not changes:
            return None
        confirmed = ":confirmed-commit" in rpc.server_capabilities
        # Longer than we may still take: the node never takes back what we are about to confirm.
        patience = {"confirmed": True, "timeout": str(math.ceil(max(deadline - time.monotonic(), 0)) + 1)}
        try:
            # Validated with the edit: after a <validate> of its own, netconfd's next commit does nothing.
            tested = {"test_option": "test-then-set"} if ":validate" in rpc.server_capabilities else {}
            config = config_of(changes)
            self._patiently(lambda: rpc.edit_config(config, target="candidate", **tested), deadline)
            self._patiently(lambda: rpc.commit(**(patience if confirmed else {})), deadline)
        except (ValueError, RPCError, ElementUnreachable) as error:
            rpc.discard_changes()
            if isinstance(error, ElementUnreachable):
                raise
            return ElementRefused(self.element, words_of(error) if isinstance(error, RPCError) else str(error))
        found = _read(rpc, list(changes))
        for key, content in changes.items():
            if found.get(key) != (None if content is None else normal(content)):
                if confirmed:
                    rpc.cancel_commit()
                return ElementDiffers(self.element, f"{key} reads back otherwise")
        if confirmed:
            rpc.commit()
        return None

    @contextlib.contextmanager
    def _known(self, keys: Sequence[str]) -> Iterator[None]:
        try:
            filter_of(keys)
        except ValueError as error:
            raise ElementRefused(self.element, str(error)) from error
        yield


def _read(rpc: Any, keys: Sequence[str]) -> dict[str, Content]:
    return entries_of(rpc.get_config("running", filter=filter_of(keys)).data_ele)


def _without_a_key_twice(works: dict[int, Changes]) -> dict[int, Changes]:
    """The works, in order, up to the first that has a key of an earlier one."""
    together: dict[int, Changes] = {}
    keys: set[str] = set()
    for at, work in works.items():
        if keys & work.keys():
            break
        keys |= work.keys()
        together[at] = work
    return together
