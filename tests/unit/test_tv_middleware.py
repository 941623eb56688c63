"""Promises of the TV middleware's interface, and of its HTTP; the driver's are in tests/integration/test_tv.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import eventlet
import pytest
from eventlet.green import socket

from tests.harness.tv import TvClient, tv_middleware
from tools.tv import Tv
from tools.waiting import wait_until
from tv_middleware.api import Answer, Api, Request
from tv_middleware.faults import Faults
from tv_middleware.state import State

KEY = {"authorization": "Bearer a-key"}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    state = State(tmp_path)
    yield Api(state, ("tv-basic", "tv-premium"), "a-key")
    state.close()


def ask(api: Api, method: str, target: str, body: Any = None) -> Answer:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return api.answer(Request(method, target, KEY, sent))


def test_the_first_put_creates_and_the_next_ones_replace(api: Api) -> None:
    assert ask(api, "PUT", "/entitlements/a", {"package": "tv-basic"}).status == 201
    assert ask(api, "PUT", "/entitlements/a", {"package": "tv-premium", "more": [1, {"x": None}]}).status == 204
    assert ask(api, "GET", "/entitlements/a") == Answer(200, {"package": "tv-premium", "more": [1, {"x": None}]})


def test_deleting_twice_is_the_same_as_once(api: Api) -> None:
    ask(api, "PUT", "/entitlements/a", {"package": "tv-basic"})
    assert [ask(api, "DELETE", "/entitlements/a").status for _ in range(2)] == [204, 204]
    gone = ask(api, "GET", "/entitlements/a")
    assert (gone.status, gone.body["type"]) == (404, "urn:problem:tv-middleware:no-entitlement")


def test_the_list_comes_in_pages(api: Api) -> None:
    for name in "cab":
        ask(api, "PUT", f"/entitlements/{name}", {"package": "tv-basic"})
    first = ask(api, "GET", "/entitlements?limit=2").body
    assert (list(first["entitlements"]), first["next"]) == (["a", "b"], "b")
    last = ask(api, "GET", "/entitlements?limit=2&after=b").body
    assert (list(last["entitlements"]), last["next"]) == (["c"], None)


@pytest.mark.parametrize(("method", "target", "body", "status", "words"), [
    ("PUT", "/entitlements/a", {"package": "tv-gold"}, 422, "package 'tv-gold' is not in the catalogue"),
    ("PUT", "/entitlements/a", {"package": 7}, 422, "an entitlement names its package"),
    ("PUT", "/entitlements/a", {}, 422, "an entitlement names its package"),
    ("PUT", "/entitlements/a", ["tv-basic"], 422, "the body is not a JSON object"),
    ("PUT", "/entitlements/a", b"{", 400, "the body is not JSON"),
    ("PUT", "/entitlements/a", b'{"package": "tv-basic", "x": NaN}', 400, "the body is not JSON"),
    ("PUT", "/entitlements/a", b"[" * 50_000, 400, "the body is not JSON"),
    ("PUT", "/entitlements/a%2Fb", {"package": "tv-basic"}, 422, "'a/b' cannot be a subscriber"),
    ("PUT", "/entitlements/" + "a" * 101, {"package": "tv-basic"}, 422, "cannot be a subscriber"),
    ("PUT", "/entitlements", {"package": "tv-basic"}, 405, "PUT is not possible here"),
    ("POST", "/entitlements/a", {}, 405, "POST is not possible here"),
    ("GET", "/entitlements?limit=0", None, 422, "limit must be between 1 and 500, not '0'"),
    ("GET", "/channels", None, 404, "there is no /channels here"),
    ("POST", "/faults", {"kind": "drop"}, 404, "there is no /faults here"),
])
def test_what_makes_no_sense_is_refused_in_words(
    api: Api, method: str, target: str, body: Any, status: int, words: str
) -> None:
    answer = ask(api, method, target, body)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert words in answer.body["detail"]
    assert ask(api, "GET", "/entitlements").body["entitlements"] == {}


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer another"}, {"authorization": "Basic a-key"}])
def test_without_the_key_there_is_nothing_but_livez(api: Api, headers: dict[str, str]) -> None:
    answer = api.answer(Request("GET", "/entitlements", headers))
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert api.answer(Request("GET", "/livez", headers)).status == 200


def test_a_fault_meets_what_it_names_as_often_as_it_says() -> None:
    faults = Faults()
    faults.add({"kind": "fail", "subscriber": "a", "methods": ["PUT"], "times": 1})
    assert [faults.meet("GET", "a"), faults.meet("PUT", "b")] == [None, None]
    assert faults.meet("PUT", "a") is not None
    assert faults.meet("PUT", "a") is None
    for nonsense in ({"kind": "sing"}, {"kind": "fail", "colour": "red"}, {}):
        with pytest.raises((TypeError, ValueError)):
            faults.add(nonsense)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tv]:
    with tv_middleware(tmp_path_factory.mktemp("middleware")) as running:
        yield running


def say(tv: Tv, request: bytes) -> bytes:
    """What comes back for these bytes until the connection ends."""
    with socket.create_connection(("127.0.0.1", tv.port), 30) as connection, eventlet.Timeout(30):
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_requests_of_one_connection_are_answered_one_after_another(process: Tv) -> None:
    alive = b"GET /livez HTTP/1.1\r\nHost: tv\r\n\r\n"
    with_body = b"PUT /livez HTTP/1.1\r\nHost: tv\r\nContent-Length: 5\r\n\r\nGET /"
    heard = say(process, alive + with_body + alive)
    assert [part[:3] for part in heard.split(b"HTTP/1.1 ")[1:]] == [b"200", b"405", b"200"]


@pytest.mark.parametrize(("request_", "status"), [
    (b"PUT /entitlements/a HTTP/1.1\r\nHost: tv\r\nContent-Length: 65537\r\n\r\n", b"413"),
    (b"PUT /entitlements/a HTTP/1.1\r\nHost: tv\r\nContent-Length: -1\r\n\r\n", b"400"),
    (b"PUT /entitlements/a HTTP/1.1\r\nHost: tv\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
    (b"BREW /entitlements/a HTTP/1.1\r\nHost: tv\r\n\r\n", b"501"),
])
def test_a_request_that_cannot_be_read_whole_is_refused_and_ends_its_connection(
    process: Tv, request_: bytes, status: bytes
) -> None:
    heard = say(process, request_ + b"GET /livez HTTP/1.1\r\nHost: tv\r\n\r\n")
    assert heard.startswith(b"HTTP/1.1 " + status)
    assert heard.count(b"HTTP/1.1 ") == 1
    assert b"application/problem+json" in heard


def test_a_client_that_leaves_within_its_request_changes_nothing(process: Tv) -> None:
    head = b"PUT /entitlements/a HTTP/1.1\r\nAuthorization: Bearer a-key-for-tests\r\nContent-Length: 30\r\n\r\n"
    assert say(process, head + b'{"package": "tv-basic"}') == b""
    client = TvClient(process)
    assert client.entitlements() == {}
    client.close()


def test_healing_answers_what_still_waits(process: Tv) -> None:
    client, other = TvClient(process), TvClient(process)
    client.fault("delay", seconds=600, subscriber="a")
    late = eventlet.spawn(client.put, "a", {"package": "tv-basic"})
    wait_until(other.entitlements, "the entitlement is there before its answer", interval_s=0.005)
    other.clear()
    late.wait()
    assert other.entitlements() == {}
    client.close()
    other.close()
