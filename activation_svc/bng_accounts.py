"""Accounts as FreeRADIUS keeps them in SQL: rows of radcheck, radreply and radusergroup. Reading and replacing them.

Works on a connection inside a transaction of the caller's; connects, times out and disconnects nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from activation_svc.driver import Change, Content

Accounts = dict[str, Content | None]
"""By user name; None means no account."""

_PREFIX = "account/"
# RFC 2865, section 5: an attribute carries 253 octets at most.
_LONGEST_NAME = 253


def key_of(username: str) -> str:
    """The key under which an account is read and written."""
    return _PREFIX + username


def username_of(key: str) -> str:
    """The user name in `account/<username>`; raises ValueError for any other key."""
    username = key.removeprefix(_PREFIX)
    if username == key or not username or len(username.encode()) > _LONGEST_NAME or "\0" in username:
        raise ValueError(f"{key!r} names no account: account/<user name of 1 to {_LONGEST_NAME} octets> does")
    return username


def accounts_of(work: Iterable[Change]) -> Accounts:
    """What the changes ask for, by user name; of two for one account the later counts. Raises ValueError."""
    return {
        username_of(change.key): None if change.content is None else _checked(change.key, change.content)
        for change in work
    }


def _checked(key: str, content: Content) -> Content:
    """The content with lists where tuples may stand, as it will be read back. Raises ValueError."""
    if set(content) != {"check", "reply", "groups"} or not any(content.values()):
        raise ValueError(f"{key}: an account is `check`, `reply` and `groups`, with a row in one of them at least")
    rows = {name: [list(row) for row in content[name]] for name in ("check", "reply", "groups")}
    for name, types in (("check", (str, str, str)), ("reply", (str, str, str)), ("groups", (str, int))):
        for row in rows[name]:
            if tuple(map(type, row)) != types or any("\0" in value for value in row if isinstance(value, str)):
                shape = "[group, priority]" if name == "groups" else "[attribute, op, value]"
                raise ValueError(f"{key}: every row of `{name}` is {shape}, not {[type(v).__name__ for v in row]}")
    return rows


def lock(conn: sa.Connection, usernames: Collection[str]) -> None:
    """Hold these accounts, also those without a row yet, until the transaction ends; sorted, so nobody deadlocks."""
    conn.execute(_LOCK, {"names": sorted(usernames)})


def read(conn: sa.Connection, usernames: Collection[str] | None = None) -> dict[str, Content]:
    """The accounts of these users that have a row, or all accounts; rows in the order of their ids."""
    query = _READ_ALL if usernames is None else _READ_SOME
    found: dict[str, Content] = {}
    for kind, username, first, op, value in conn.execute(query, {"names": sorted(usernames or ())}):
        account = found.setdefault(username, {"check": [], "reply": [], "groups": []})
        account[kind].append([first, int(value)] if kind == "groups" else [first, op, value])
    return found


def unknown_profiles(conn: sa.Connection, accounts: Iterable[Content]) -> set[str]:
    """Which groups of these accounts the element knows nothing about."""
    groups = {group for account in accounts for group, _ in account["groups"]}
    if not groups:
        return set()
    return groups - set(conn.execute(_KNOWN_GROUPS, {"groups": sorted(groups)}).scalars())


def replace(conn: sa.Connection, accounts: Mapping[str, Content | None]) -> int:
    """Put these in the place of what stands. Their live sessions are noted as to be disconnected; return how many."""
    values: dict[str, Sequence[Any]] = {"names": sorted(accounts)}
    for kind in ("check", "reply"):
        rows = [(name, *row) for name, account in accounts.items() if account for row in account[kind]]
        for at, column in enumerate(("user", "attribute", "op", "value")):
            values[f"{kind}_{column}"] = [row[at] for row in rows]
    groups = [(name, *row) for name, account in accounts.items() if account for row in account["groups"]]
    for at, column in enumerate(("user", "group", "priority")):
        values[f"member_{column}"] = [row[at] for row in groups]
    return int(conn.execute(_REPLACE, values).scalar_one())


# The seed keeps these locks apart from others that are taken on hashes of texts.
_LOCK = sa.text(
    "select count(pg_advisory_xact_lock(k)) from"
    " (select distinct hashtextextended(name, 7741) as k from unnest(cast(:names as text[])) as name order by 1) as s"
)

_KNOWN_GROUPS = sa.text(
    "select groupname from radgroupreply where groupname = any(cast(:groups as text[]))"
    " union select groupname from radgroupcheck where groupname = any(cast(:groups as text[]))"
)


def _read_query(where: str) -> sa.TextClause:
    return sa.text(
        "select kind, username, first, op, value from ("
        f" select 'check' as kind, id, username, attribute as first, op, value from radcheck {where}"
        f" union all select 'reply', id, username, attribute, op, value from radreply {where}"
        f" union all select 'groups', id, username, groupname, null, cast(priority as text) from radusergroup {where}"
        ") as rows order by kind, id"
    )


_READ_ALL = _read_query("")
_READ_SOME = _read_query("where username = any(cast(:names as text[]))")


def _insert_rows(kind: str) -> str:
    arrays = ", ".join(f"cast(:{kind}_{column} as text[])" for column in ("user", "attribute", "op", "value"))
    return (
        f"insert into rad{kind} (username, attribute, op, value) select u, a, o, v"
        f" from unnest({arrays}) with ordinality as t(u, a, o, v, n) order by n"
    )


# One statement, so one round trip: no part of it sees what another does. Ids, and with them the order of the rows,
# are given in the order of the select. The count says how many sessions are live on accounts that change.
_REPLACE = sa.text(f"""
with gone_check as (delete from radcheck where username = any(cast(:names as text[]))),
     gone_reply as (delete from radreply where username = any(cast(:names as text[]))),
     gone_groups as (delete from radusergroup where username = any(cast(:names as text[]))),
     new_check as ({_insert_rows("check")}),
     new_reply as ({_insert_rows("reply")}),
     new_groups as (
        insert into radusergroup (username, groupname, priority) select u, g, p
        from unnest(cast(:member_user as text[]), cast(:member_group as text[]), cast(:member_priority as int[]))
            with ordinality as t(u, g, p, n) order by n),
     live as (
        select distinct acctuniqueid from radacct
        where acctstoptime is null and username = any(cast(:names as text[]))),
     owed as (insert into bng_disconnects (acctuniqueid) select acctuniqueid from live on conflict do nothing)
select count(*) from live
""")
