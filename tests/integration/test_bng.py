"""Promises of the BNG driver, seen by what a real FreeRADIUS answers to its own client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import eventlet
import pytest
import sqlalchemy as sa

from activation_svc.bng import RadiusBng
from activation_svc.driver import Change, Content, ElementError, ElementRefused, ElementUnreachable
from tests.harness.bng import NAS, an_account, live_sessions, login, sql, start_session
from tests.harness.tcp_proxy import TcpProxy
from tools.bng import Bng, prepare_database, profiles
from tools.nodes import Nodes

ACCEPT, REJECT = "Access-Accept", "Access-Reject"
MakeDriver = Callable[..., RadiusBng]


@pytest.fixture(scope="module")
def bng(nodes: Nodes, state_folder: Path) -> Iterator[Bng]:
    running = Bng(state_folder / "bng", uri=nodes.database_uri(f"radius_{uuid4().hex[:8]}"))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def driver(bng: Bng) -> Iterator[MakeDriver]:
    """`driver(port=..., secret=...)` -> a driver of this BNG, closed with the test."""
    made: list[RadiusBng] = []

    def make(port: int | None = None, secret: str | None = None) -> RadiusBng:
        uri = sa.make_url(bng.uri)
        uri = uri.set(port=port or uri.port)
        server = ("127.0.0.1", bng.disconnect_port)
        made.append(
            RadiusBng("bng-1", uri.render_as_string(hide_password=False), server, secret or bng.secret, sessions=2)
        )
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def name() -> str:
    """A user name of the test's own."""
    return f"{uuid4()}-1"


def soon(seconds: float = 60.0) -> float:
    return time.monotonic() + seconds


def put(driver: RadiusBng, name: str, content: Content | None, deadline: float | None = None) -> ElementError | None:
    return driver.write([[Change(f"account/{name}", content)]], deadline or soon())[0]


def holds(driver: RadiusBng, name: str) -> Content | None:
    return driver.read([f"account/{name}"], soon())[f"account/{name}"]


def notes(bng: Bng, name: str) -> int:
    """How many sessions of this account are still to be disconnected."""
    query = "select count(*) from bng_disconnects join radacct using (acctuniqueid) where username = :name"
    return int(sql(bng.uri, query, name=name)[0][0])


def test_a_written_account_logs_in_with_its_address_and_its_profiles_speeds(
    bng: Bng, driver: MakeDriver, name: str
) -> None:
    assert login(bng, name)[0] == REJECT
    assert put(driver(), name, an_account(address="198.51.100.23", profile="internet-500")) is None
    answer, attributes = login(bng, name)
    assert answer == ACCEPT
    assert attributes["Framed-IP-Address"] == ["198.51.100.23"]
    assert attributes["Filter-Id"] == ["internet-500"]
    assert attributes["WISPr-Bandwidth-Max-Down"] == attributes["WISPr-Bandwidth-Max-Up"] == ["500000000"]
    assert login(bng, name, password="wrong")[0] == REJECT


def test_a_removed_account_is_rejected_and_removing_it_again_is_the_same(
    bng: Bng, driver: MakeDriver, name: str
) -> None:
    one = driver()
    put(one, name, an_account())
    assert put(one, name, None) is None and put(one, name, None) is None
    assert login(bng, name)[0] == REJECT
    assert holds(one, name) is None and f"account/{name}" not in one.entries(soon())


def test_an_account_that_was_there_before_comes_back_row_for_row(bng: Bng, driver: MakeDriver, name: str) -> None:
    rows = [
        ("reply", "Framed-Route", "+=", "203.0.113.0/24 0.0.0.0 1"),
        ("check", "Cleartext-Password", ":=", "right"),
        ("reply", "Framed-IP-Address", ":=", "198.51.100.9"),
        ("reply", "Framed-Route", "+=", "192.0.2.0/28 0.0.0.0"),
    ]
    for table, attribute, op, value in rows:
        sql(bng.uri, f"insert into rad{table} (username, attribute, op, value) values (:n, :a, :o, :v)",
            n=name, a=attribute, o=op, v=value)
    before = login(bng, name)
    one = driver()
    snapshot = holds(one, name)
    assert snapshot == {
        "check": [["Cleartext-Password", ":=", "right"]],
        "reply": [["Framed-Route", "+=", "203.0.113.0/24 0.0.0.0 1"], ["Framed-IP-Address", ":=", "198.51.100.9"],
                  ["Framed-Route", "+=", "192.0.2.0/28 0.0.0.0"]],
        "groups": [],
    }
    assert put(one, name, an_account(password="new")) is None
    assert login(bng, name)[0] == REJECT and login(bng, name, password="new")[0] == ACCEPT
    assert put(one, name, snapshot) is None
    assert holds(one, name) == snapshot and one.entries(soon())[f"account/{name}"] == snapshot
    assert before[0] == ACCEPT and login(bng, name) == before


def test_writing_what_stands_already_writes_nothing(bng: Bng, driver: MakeDriver, name: str) -> None:
    rows = "select id, xmin::text from radcheck where username = :n union all select id, xmin::text from radusergroup" \
           " where username = :n order by 1"
    put(driver(), name, an_account())
    before = sql(bng.uri, rows, n=name)
    assert put(driver(), name, an_account()) is None
    assert sql(bng.uri, rows, n=name) == before and len(before) == 2


def test_an_unknown_profile_refuses_its_own_order_only_and_wholly(bng: Bng, driver: MakeDriver, name: str) -> None:
    one = driver()
    results = one.write([
        [Change(f"account/{name}-a", an_account())],
        [Change(f"account/{name}-b", an_account()), Change(f"account/{name}-c", an_account(profile="internet-9000"))],
        [Change("port/1/1/1", None)],
    ], soon())  # fmt: skip
    assert results[0] is None
    assert isinstance(results[1], ElementRefused) and "unknown service profile 'internet-9000'" in str(results[1])
    assert isinstance(results[2], ElementRefused) and "names no account" in str(results[2])
    assert [login(bng, f"{name}-{letter}")[0] for letter in "abc"] == [ACCEPT, REJECT, REJECT]


def test_what_the_database_refuses_is_said_in_its_words_and_spoils_no_other_order(
    bng: Bng, driver: MakeDriver, name: str
) -> None:
    bad = an_account() | {"check": [["Cleartext-Password", ":==", "a secret"]]}
    works = [[Change(f"account/{name}-{letter}", content)] for letter, content in
             (("a", an_account()), ("b", bad), ("c", an_account()))]
    results = driver().write(works, soon())
    assert [type(result) for result in results] == [type(None), ElementRefused, type(None)]
    assert "value too long for type character varying(2)" in str(results[1]) and "a secret" not in str(results[1])
    assert [login(bng, f"{name}-{letter}")[0] for letter in "abc"] == [ACCEPT, REJECT, ACCEPT]


def test_an_account_that_could_not_be_put_back_is_not_replaced(bng: Bng, driver: MakeDriver, name: str) -> None:
    sql(bng.uri, "insert into radusergroup (username, groupname, priority) values (:n, 'vip', 3)", n=name)
    one = driver()
    refusal = put(one, name, an_account())
    assert isinstance(refusal, ElementRefused) and "could not be put back" in str(refusal)
    assert holds(one, name) == {"check": [], "reply": [], "groups": [["vip", 3]]}
    assert put(one, name, None) is None


@pytest.mark.parametrize("content", [None, an_account(profile="internet-1000")], ids=["removed", "changed"])
def test_a_live_session_is_ended_when_its_account_goes_or_changes(
    bng: Bng, driver: MakeDriver, name: str, content: Content | None
) -> None:
    one = driver()
    put(one, name, an_account())
    start_session(bng, name, "first")
    start_session(bng, name, "second")
    assert put(one, name, an_account()) is None
    assert live_sessions(bng.uri, name) == ["first", "second"], "nothing changed, so nobody is cut off"
    assert put(one, name, content) is None
    assert live_sessions(bng.uri, name) == [] and notes(bng, name) == 0
    causes = sql(bng.uri, "select distinct acctterminatecause from radacct where username = :n", n=name)
    assert causes == [("Admin-Reset",)]


def test_a_disconnect_that_did_not_come_through_is_taken_up_by_the_next_life(
    bng: Bng, driver: MakeDriver, name: str
) -> None:
    # A wrong secret stands for a crash after the commit: the account is gone, its session lives, the note is there.
    one = driver(secret="wrong")
    put(one, name, an_account())
    start_session(bng, name, "only")
    assert put(one, name, None) is None, "the write counts, whatever becomes of the session"
    assert login(bng, name)[0] == REJECT
    assert live_sessions(bng.uri, name) == ["only"] and notes(bng, name) == 1
    assert put(driver(), f"{name}-other", an_account()) is None
    assert live_sessions(bng.uri, name) == [] and notes(bng, name) == 0


def test_the_bng_hears_no_disconnect_that_is_signed_with_a_wrong_secret(bng: Bng, name: str, tmp_path: Path) -> None:
    start_session(bng, name, "only")
    (tmp_path / "secret").write_text("wrong\n")
    session = f'User-Name = "{name}", Acct-Session-Id = "only", NAS-IP-Address = {NAS}'
    wrong = bng.radclient("disconnect", bng.disconnect_port, session, secret_file=tmp_path / "secret")
    assert wrong.returncode != 0 and live_sessions(bng.uri, name) == ["only"]
    assert "Disconnect-ACK" in bng.radclient("disconnect", bng.disconnect_port, session, tries=10).stdout
    assert live_sessions(bng.uri, name) == []


@pytest.mark.parametrize(("last_heard", "took_effect"), [(b"COMMIT", True), (b"insert into radcheck", False)])
def test_a_database_cut_off_in_the_middle_is_unknown_and_reading_settles_it(
    bng: Bng, driver: MakeDriver, name: str, last_heard: bytes, took_effect: bool
) -> None:
    with TcpProxy(sa.make_url(bng.uri).port or 0) as proxy:
        one = driver(port=proxy.port)
        assert holds(one, name) is None
        proxy.drop_answer_to(last_heard, then="cut")
        assert isinstance(put(one, name, an_account()), ElementUnreachable)
        assert (holds(one, name) is not None) is took_effect
        assert put(one, name, an_account()) is None, "writing it again is the same as once"
        assert login(bng, name)[0] == ACCEPT
        proxy.cut()
        with pytest.raises(ElementUnreachable):
            holds(one, name)
        proxy.heal()
        assert holds(one, name) == an_account()


def test_two_who_write_the_same_account_leave_one_whole_account(bng: Bng, driver: MakeDriver, name: str) -> None:
    drivers = [driver(), driver()]
    contents = [an_account(profile="internet-100", vlan=7), an_account(password="other", profile="internet-1000")]
    for _ in range(10):
        writers = [eventlet.spawn(put, one, name, content)
                   for one, content in zip(drivers * 2, contents * 2, strict=True)]
        assert [writer.wait() for writer in writers] == [None] * 4
        assert holds(drivers[0], name) in contents


def test_other_work_goes_on_while_the_database_hangs_and_the_deadline_holds(
    bng: Bng, driver: MakeDriver, name: str
) -> None:
    with TcpProxy(sa.make_url(bng.uri).port or 0) as proxy:
        one = driver(port=proxy.port)
        put(one, name, an_account())
        proxy.freeze()
        begun = time.monotonic()
        # More than there are sessions: some wait for an answer, some for a session, some for a connection.
        hanging = [eventlet.spawn(put, one, f"{name}-{n}", an_account(), begun + 0.6) for n in range(6)]
        ticks = 0
        while not all(writer.dead for writer in hanging):
            eventlet.sleep(0.01)
            ticks += 1
        assert ticks > 5, "the hub stood still"
        assert {type(writer.wait()) for writer in hanging} == {ElementUnreachable}
        assert time.monotonic() - begun < 5
        proxy.heal()
        writers = [eventlet.spawn(put, one, f"{name}-{n}", an_account()) for n in range(6)]
        assert [writer.wait() for writer in writers] == [None] * 6, "no session was lost"


def test_a_table_that_somebody_holds_is_waited_for_up_to_the_deadline(bng: Bng, driver: MakeDriver, name: str) -> None:
    one = driver()
    holder = sa.create_engine(bng.uri, poolclass=sa.NullPool)
    with holder.begin() as conn:
        conn.execute(sa.text("lock table radreply in exclusive mode"))
        assert isinstance(put(one, name, an_account(), soon(0.4)), ElementUnreachable)
    assert holds(one, name) is None, "what came too late is not carried out later"
    with holder.begin() as conn:
        conn.execute(sa.text("lock table radreply in exclusive mode"))
        waiting = eventlet.spawn(put, one, name, an_account())
        eventlet.sleep(0.1)
    assert waiting.wait() is None and holds(one, name) == an_account()


def test_accounts_survive_kill_9_and_profiles_are_seeded_once(bng: Bng, driver: MakeDriver, name: str) -> None:
    put(driver(), name, an_account(profile="internet-100"))
    seeded = "select id, groupname from radgroupreply where groupname like 'internet-%' order by id"
    before = sql(bng.uri, seeded)
    bng.kill()
    bng.start()
    assert sql(bng.uri, seeded) == before and len(before) == sum(map(len, profiles().values()))
    answer, attributes = login(bng, name)
    assert (answer, attributes["Filter-Id"]) == (ACCEPT, ["internet-100"])


def test_a_profile_that_somebody_altered_becomes_again_what_the_catalogue_says(bng: Bng, tmp_path: Path) -> None:
    sql(bng.uri, "update radgroupreply set value = '1' where groupname = 'internet-1000' and attribute like 'WISPr%'")
    # The schema stands, so its file is not read.
    prepare_database(bng.uri, tmp_path / "none.sql")
    query = "select attribute, op, value from radgroupreply where groupname = 'internet-1000' order by id"
    assert [tuple(row) for row in sql(bng.uri, query)] == profiles()["internet-1000"]
