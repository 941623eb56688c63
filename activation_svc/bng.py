"""The BNG as a network element: subscribers' accounts in FreeRADIUS's SQL tables, live sessions ended by RFC 5176.

Key `account/<username>`, content `{check: [[attribute, op, value]], reply: [...], groups: [[group, priority]]}`,
rows in their order. Where FreeRADIUS's schema lacks an index or a table of ours: `network_elements/bng/activation.sql`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import eventlet
import sqlalchemy as sa
from eventlet.semaphore import Semaphore

from activation_svc import bng_accounts as accounts
from activation_svc.bng_accounts import Accounts
from activation_svc.bng_disconnect import MOST_AT_ONCE, Session, disconnect
from activation_svc.driver import Change, Content, ElementError, ElementRefused, ElementUnreachable
from chassis.logging import get_logger

log = get_logger(__name__)

FOLLOW_UP_S = 10.0
"""How long after a disconnect that failed a write tries it again, and how often a write looks for forgotten ones."""
# SQLSTATE classes of a server that cannot now: connection, transaction state (read-only standby, left idle), rollback,
# resources, object in use, intervention, system.
_UNABLE = ("08", "25", "40", "53", "55", "57", "58")


class RadiusBng:
    """Driver for one BNG. `uri` is its RADIUS database, `server` and `secret` its dynamic authorization server.

    Accounts of one `write` go into one transaction; where the database refuses it, each work gets one of its own.
    A changed or removed account's live sessions are noted in `bng_disconnects` in the same transaction and then
    disconnected; a refusal, a silent server or a crash in between undoes nothing and leaves the note, which later
    writes, or `follow_up`, take up again. What remains: a session whose login was accepted before the change and
    whose Accounting-Start arrives after it is not noted, and lives until it logs in again.

    FreeRADIUS reads its tables one by one: a login in the instant of a change may see parts of both accounts.
    Needs a cooperative psycopg2 (`eventlet.monkey_patch`).
    """

    def __init__(
        self,
        element: str,
        uri: str,
        server: tuple[str, int],
        secret: str,
        *,
        sessions: int = 4,
    ) -> None:
        self.element = element
        self._server = server
        self._secret = secret.encode()
        self._slots = Semaphore(sessions)
        self._follow_up_at = float("-inf")
        self._engine = sa.create_engine(
            uri,
            pool_size=sessions,
            max_overflow=0,
            pool_pre_ping=True,
            # Values are subscribers' passwords; an SQL error shows none of them.
            hide_parameters=True,
            connect_args={
                "application_name": "activation",
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                # Where this process stops in the middle, its locks go.
                "options": "-c idle_in_transaction_session_timeout=30s",
            },
        )

    def read(self, keys: Sequence[str], deadline: float) -> dict[str, Content | None]:
        """See Driver."""
        try:
            names = {key: accounts.username_of(key) for key in keys}
        except ValueError as exc:
            raise ElementRefused(self.element, str(exc)) from exc
        with self._transaction(deadline) as conn:
            found = accounts.read(conn, set(names.values()))
        return {key: found.get(name) for key, name in names.items()}

    def write(self, works: Sequence[Sequence[Change]], deadline: float) -> list[ElementError | None]:
        """See Driver. Words for an unknown service profile name it and the account."""
        errors: dict[int, ElementError] = {}
        wanted: dict[int, Accounts] = {}
        for at, work in enumerate(works):
            try:
                wanted[at] = accounts.accounts_of(work)
            except ValueError as exc:
                errors[at] = ElementRefused(self.element, str(exc))
        for together in _apart(wanted):
            errors |= self._write(together, deadline)
        if time.monotonic() >= self._follow_up_at:
            try:
                self.follow_up(deadline)
            except ElementError as exc:
                log.warning("bng_follow_up_failed", element=self.element, why=str(exc))
        return [errors.get(at) for at in range(len(works))]

    def entries(self, deadline: float) -> dict[str, Content]:
        """See Driver: every account that has a row."""
        with self._transaction(deadline) as conn:
            return {accounts.key_of(name): content for name, content in accounts.read(conn).items()}

    def follow_up(self, deadline: float) -> int:
        """Disconnect the sessions that are noted, newest first; return how many notes stay.

        Also for accounts that another process changed before it died. Raises ElementError where the notes cannot
        be read or struck out; a session that was ended all the same is then found gone the next time.
        """
        self._follow_up_at = time.monotonic() + FOLLOW_UP_S
        with self._transaction(deadline) as conn:
            conn.execute(_STRIKE_ENDED)
            sessions = [Session(*row) for row in conn.execute(_NOTED, {"limit": MOST_AT_ONCE})]
        if not sessions:
            return 0
        try:
            failed = disconnect(sessions, self._server, self._secret, deadline, time.time())
        except OSError as exc:
            failed = dict.fromkeys((session.unique_id for session in sessions), str(exc))
        for session in sessions:
            why = failed.get(session.unique_id)
            outcome = {"username": session.username, "session": session.session_id}
            if why is None:
                log.info("bng_session_ended", element=self.element, **outcome)
            else:
                log.warning("bng_session_not_ended", element=self.element, why=why, **outcome)
        done = [session.unique_id for session in sessions if session.unique_id not in failed]
        if done:
            with self._transaction(deadline) as conn:
                conn.execute(_STRIKE, {"done": done})
        return len(failed)

    def close(self) -> None:
        """See Driver."""
        self._engine.dispose()

    def _write(self, wanted: Mapping[int, Accounts], deadline: float) -> dict[int, ElementError]:
        """All works in one transaction; after a refusal each for itself. Returns the errors."""
        if not wanted:
            return {}
        try:
            return self._store(wanted, deadline)
        except ElementUnreachable as exc:
            # Perhaps it was committed: then there may be notes.
            self._follow_up_at = float("-inf")
            return dict.fromkeys(wanted, exc)
        except ElementRefused as exc:
            if len(wanted) == 1:
                return dict.fromkeys(wanted, exc)
        errors: dict[int, ElementError] = {}
        for at, work in wanted.items():
            errors |= self._write({at: work}, deadline)
        return errors

    def _store(self, wanted: Mapping[int, Accounts], deadline: float) -> dict[int, ElementError]:
        """One transaction. Returns the works with unknown profiles, which are left out; raises ElementError."""
        names = {name for work in wanted.values() for name in work}
        refused: dict[int, ElementError] = {}
        changes: Accounts = {}
        live = 0
        with self._transaction(deadline) as conn:
            accounts.lock(conn, names)
            standing = accounts.read(conn, names)
            changed = {
                at: {name: new for name, new in work.items() if standing.get(name) != new}
                for at, work in wanted.items()
            }
            new_contents = [new for work in changed.values() for new in work.values() if new]
            old_contents = [standing[name] for work in changed.values() for name in work if name in standing]
            unknown = accounts.unknown_profiles(conn, [*new_contents, *old_contents])
            for at, work in changed.items():
                if words := _unknown_in(work, standing, unknown):
                    refused[at] = ElementRefused(self.element, words)
                else:
                    changes |= work
            if changes:
                live = accounts.replace(conn, changes)
        if live:
            self._follow_up_at = float("-inf")
        return refused

    @contextmanager
    def _transaction(self, deadline: float) -> Iterator[sa.Connection]:
        """One of the few sessions, in a transaction; what goes wrong comes out as ElementError."""
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise ElementUnreachable(self.element, "the time for this step is over")
        # On both sides: a database that hangs sends no error, and one that works must not go on without us.
        limit = eventlet.Timeout(left_s)
        try:
            with self._slots, self._engine.begin() as conn:
                conn.execute(_LIMIT, {"ms": int(left_s * 1000) + 1})
                yield conn
        except eventlet.Timeout as raised:
            if raised is not limit:
                raise
            raise ElementUnreachable(self.element, f"no answer within {left_s:.1f} s") from raised
        except sa.exc.DBAPIError as exc:
            raise self._error(exc) from exc
        finally:
            limit.cancel()

    def _error(self, exc: sa.exc.DBAPIError) -> ElementError:
        # The first line only: the details of an error may show a row, and a row may be a password.
        state = getattr(exc.orig, "pgcode", None)
        words = getattr(getattr(exc.orig, "diag", None), "message_primary", None) or " ".join(str(exc.orig).split())
        kind = ElementRefused if state and not state.startswith(_UNABLE) else ElementUnreachable
        return kind(self.element, words)


def _apart(wanted: Mapping[int, Accounts]) -> list[dict[int, Accounts]]:
    """All works together, or one by one in their order where two of them are about the same account."""
    names = [name for work in wanted.values() for name in work]
    if len(names) == len(set(names)):
        return [dict(wanted)]
    return [{at: work} for at, work in wanted.items()]


def _unknown_in(work: Accounts, standing: Mapping[str, Content], unknown: set[str]) -> str | None:
    """Why this work is refused, or None. What could not be put back must not be replaced; removing is always right."""
    for name, new in work.items():
        if new is None:
            continue
        for group, _ in new["groups"]:
            if group in unknown:
                return f"unknown service profile {group!r} for account {name}: radgroupreply has no such group"
        for group, _ in standing.get(name, {"groups": []})["groups"]:
            if group in unknown:
                return (
                    f"account {name} has the service profile {group!r}, which is in neither radgroupreply nor "
                    "radgroupcheck and could not be put back: define it, or take it from the account"
                )
    return None


_LIMIT = sa.text("set local statement_timeout = :ms")
_STRIKE_ENDED = sa.text(
    "delete from bng_disconnects where not exists (select from radacct"
    " where radacct.acctuniqueid = bng_disconnects.acctuniqueid and acctstoptime is null)"
)
_NOTED = sa.text(
    "select acctuniqueid, username, acctsessionid, host(nasipaddress) from bng_disconnects"
    " join radacct using (acctuniqueid) where acctstoptime is null order by since desc, acctuniqueid limit :limit"
)
_STRIKE = sa.text("delete from bng_disconnects where acctuniqueid = any(cast(:done as text[]))")
