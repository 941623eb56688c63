"""Requests that are broken, cut off or slow: each is the client's fault, said as a 4xx, and harms nobody else."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from chassis import web_body, web_protocol
from tests.harness.web import Connection, ask, demo


@pytest.fixture
def container() -> Iterator[Any]:
    with demo() as running:
        yield running


POST = b"POST /things HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /things/7 HTTP/1.1\r\nHost: x\r\n"
BROKEN = {
    "not HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", {400}),
    "no version number": (b"GET / HTTP/x\r\n\r\n", {400}),
    "HTTP/2": (b"GET / HTTP/2.0\r\n\r\n", {400}),
    "PRI": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
    "four words": (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "unknown method": (b"BREW /things HTTP/1.1\r\nHost: x\r\n\r\n", {405}),
    "hostile method": (b"<script> /things HTTP/1.1\r\nHost: x\r\n\r\n", {405}),
    "request line too long": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {414}),
    "header line too long": (GET + b"A: " + b"a" * 9000 + b"\r\n\r\n", {431}),
    "headers too large": (GET + b"".join(b"A%d: %s\r\n" % (n, b"a" * 900) for n in range(90)) + b"\r\n", {431}),
    "too many headers": (GET + b"".join(b"A%d: a\r\n" % n for n in range(200)) + b"\r\n", {431}),
    "header without colon": (GET + b"nonsense\r\nContent-Length: 3\r\n\r\nabc", {400}),
    "space before colon": (POST + b"Content-Length : 3\r\n\r\nabc", {400}),
    "no host": (b"GET /things/7 HTTP/1.1\r\n\r\n", {400}),
    "two hosts": (GET + b"Host: y\r\n\r\n", {400}),
    "hostile host": (b"GET /things/7 HTTP/1.1\r\nHost: \xff..[::1\x00\r\n\r\n", {200, 400}),
    "negative length": (POST + b"Content-Length: -1\r\n\r\n", {400}),
    "length with sign": (POST + b"Content-Length: +3\r\n\r\nabc", {400}),
    "length with underscore": (POST + b"Content-Length: 1_0\r\n\r\n0123456789", {400}),
    "length not a number": (POST + b"Content-Length: three\r\n\r\n", {400}),
    "length beyond all": (POST + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n", {400}),
    "two lengths": (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", {400}),
    "length and chunked": (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    "unknown coding": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", {400}),
    "chunk size not hex": (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", {400}),
    "negative chunk size": (POST + b"Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n", {400}),
    "chunk size with prefix": (POST + b"Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", {400}),
    "chunk longer than said": (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n", {400}),
    "chunk without end": (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n" + b"a: b\r\n" * 99, {400}),
    "body nobody asked for": (b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\nGET / HTTP", {404}),
    "path not UTF-8": (b"GET /things/%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "raw bytes in the path": (b"GET /things/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "overlong UTF-8": (b"GET /things/%c0%af HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "NUL in the path": (b"GET /things/a%00b HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "half an escape": (b"GET /things/%f HTTP/1.1\r\nHost: x\r\n\r\n", {200}),
    "broken query": (b"GET /things/7?%ff=%zz&&==&a HTTP/1.1\r\nHost: x\r\n\r\n", {200}),
    "dots": (b"GET /things/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", {404}),
    "two slashes": (b"GET //things//7 HTTP/1.1\r\nHost: x\r\n\r\n", {404}),
    "absolute form": (b"GET http://elsewhere/things/7 HTTP/1.1\r\nHost: x\r\n\r\n", {200}),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", {204, 404}),
    "connect": (b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", {404, 405}),
    "hostile traceparent": (GET + b"traceparent: \xff\x00'; drop table\r\n\r\n", {200}),
    "HTTP/1.0": (b"GET /things/7 HTTP/1.0\r\n\r\n", {200}),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_request_is_the_clients_fault(container: Any, case: str) -> None:
    request, statuses = BROKEN[case]
    status, headers, body = Connection(container).send(request).answer()
    assert status in statuses
    assert headers["x-request-id"]
    if status >= 400:
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["status"] == status
    assert ask(container, "GET", "/things/7")[0] == 200


def test_client_that_hangs_up_at_any_point_harms_nobody(container: Any) -> None:
    whole = POST + b"Content-Length: 10\r\n\r\n0123456789"
    for length in range(0, len(whole), 7):
        connection = Connection(container).send(whole[:length])
        connection.file.close()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
        connection.sock.close()
    half = Connection(container).send(whole[:-4])
    half.sock.shutdown(socket.SHUT_WR)
    assert half.answer()[0] == 400
    assert ask(container, "GET", "/things/7")[0] == 200


def test_slow_clients_run_out_of_time_and_hold_no_worker(container: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_protocol, "HEADERS_TIMEOUT_S", 1.0)
    monkeypatch.setattr(web_body, "BODY_TIMEOUT_S", 1.0)
    slow_headers = Connection(container).send(b"GET /things/7 HTTP/1.1\r\nHost:")
    slow_bodies = [Connection(container).send(POST + b"Content-Length: 5\r\n\r\nab") for _ in range(8)]
    assert ask(container, "GET", "/things/7")[0] == 200, "slow clients took all workers"
    assert slow_headers.answer()[0] == 408
    assert [slow.answer()[0] for slow in slow_bodies] == [408] * 8
