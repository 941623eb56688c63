"""What a client may send: strict JSON, fields named when they are wrong, limits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel
from werkzeug.datastructures import MultiDict
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from contracts.errors import DomainError, Invalid, NotFound
from contracts.ids import new_id
from contracts.orders import OrderRequest
from gateway_svc import schemas, wire


def a_request(body: bytes, content_type: str | None = "application/json", **headers: str) -> Request:
    builder = EnvironBuilder(method="POST", data=body, content_type=content_type, headers=headers)
    return Request(builder.get_environ())


def fields_of(error: DomainError) -> set[str]:
    return {field["field"] for field in error.fields}


@pytest.mark.parametrize("raw", [
    b"", b"{", b"nope", b"\xff\xfe{}", b'{"a": NaN}', b'{"a": Infinity}', b'{"a": -Infinity}', b'{"a":1,"a":2}',
    b"[" * 60_000, b'{"a":' * 40 + b"1" + b"}" * 40, b'\xef\xbb\xbf{}', b'{"a": 01}',
    b"{'a': 1}", "{}".encode("utf-16"),
])
def test_what_is_not_strict_json_is_said_to_be_not_json(raw: bytes) -> None:
    with pytest.raises(wire.NotJson) as raised:
        wire.parse_json(raw)
    assert raised.value.http_status == 400


@pytest.mark.parametrize(("raw", "field"), [
    (b'{"a": {"b": "x\\u0000"}}', "a.b"), (b'{"a": ["ok", "\\ud800"]}', "a.1"), (b'{"n\\u0000": 1}', "n\\u0000"),
    (b'{"a": "\\udfff\\ud800"}', "a"),
])
def test_text_that_cannot_be_stored_is_named(raw: bytes, field: str) -> None:
    with pytest.raises(Invalid) as raised:
        wire.parse_json(raw)
    assert fields_of(raised.value) == {field}
    json.dumps(raised.value.as_dict()).encode()


def test_numbers_beyond_all_reason_become_the_fields_problem() -> None:
    for digits in ("9" * 5000, "1e999", "-" + "9" * 400):
        raw = json.dumps({"items": [{"product": "internet-500", "quantity": 7}]}).replace("7", digits).encode()
        with pytest.raises(Invalid) as raised:
            wire.read_body(a_request(raw), OrderRequest)
        assert "items.0.quantity" in fields_of(raised.value)


def test_a_body_must_be_announced_as_json() -> None:
    for content_type in (None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"):
        with pytest.raises(wire.UnsupportedMediaType) as raised:
            wire.read_body(a_request(b"{}", content_type), schemas.Cancel)
        assert raised.value.http_status == 415
    with pytest.raises(wire.UnsupportedMediaType):
        wire.read_body(a_request(b"{}", **{"Content-Encoding": "gzip"}), schemas.Cancel)
    assert wire.read_body(a_request(b"{}", "application/json; charset=utf-8"), schemas.Cancel).reason == ""


def test_an_empty_body_is_enough_where_every_field_is_optional() -> None:
    assert wire.read_body(a_request(b"", None), schemas.Cancel, optional=True).reason == ""
    with pytest.raises(wire.NotJson):
        wire.read_body(a_request(b""), schemas.RecordCall)


@pytest.mark.parametrize("value", [None, [], "x", 1, True])
def test_a_body_that_is_no_object_is_invalid(value: Any) -> None:
    with pytest.raises(Invalid) as raised:
        wire.read_body(a_request(json.dumps(value).encode()), schemas.Cancel)
    assert fields_of(raised.value) == {"body"}


@pytest.mark.parametrize(("model", "arguments", "field"), [
    (schemas.ListQuery, {"limit": "0"}, "limit"), (schemas.ListQuery, {"limit": "201"}, "limit"),
    (schemas.ListQuery, {"limit": "-1"}, "limit"), (schemas.ListQuery, {"limit": "9" * 5000}, "limit"),
    (schemas.ListQuery, {"limit": "1.5"}, "limit"), (schemas.ListQuery, {"limit": ""}, "limit"),
    (schemas.ListQuery, {"limit": "٣"}, "limit"), (schemas.ListQuery, {"cursor": ""}, "cursor"),
    (schemas.ListQuery, {"cursor": "ö"}, "cursor"), (schemas.ListQuery, {"cursor": "x" * 501}, "cursor"),
    (schemas.OrdersQuery, {"status": "nope"}, "status"), (schemas.OrdersQuery, {"phone": "123"}, "phone"),
    (schemas.OrdersQuery, {"phone": "0" * 5000}, "phone"), (schemas.VisitsQuery, {"state": "x\0"}, "state"),
    (schemas.JobsQuery, {"date": "2026-13-01"}, "date"), (schemas.JobsQuery, {"date": "1764000000"}, "date"),
    (schemas.JobsQuery, {"date": "9999-12-31"}, "date"), (schemas.WindowsQuery, {"from": "yesterday"}, "from"),
    (schemas.WindowsQuery, {"from": "0001-01-01T00:00:00+14:00"}, "from"),
    (schemas.WindowsQuery, {"to": "2026-11-25T09:00:00"}, "to"), (schemas.ServiceQuery, {"service": "x"}, "service"),
])
def test_wrong_query_parameters_are_named(model: type[BaseModel], arguments: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid) as raised:
        wire.read_query(MultiDict(arguments), model)
    assert fields_of(raised.value) == {field}


def test_right_query_parameters_arrive_typed_and_unknown_ones_are_ignored() -> None:
    query = wire.read_query(MultiDict({"limit": "7", "phone": "010 1234 5678", "x": "y"}), schemas.OrdersQuery)
    assert (query.limit, query.phone, query.cursor) == (7, "010-1234-5678", None)
    given = MultiDict({"from": "2026-11-25", "to": "2026-11-26T00:00:00+09:00"})
    windows = wire.read_query(given, schemas.WindowsQuery)
    assert (windows.from_, windows.to) == ("2026-11-25", "2026-11-26T00:00:00+09:00")


def test_a_query_parameter_given_twice_is_named() -> None:
    with pytest.raises(Invalid) as raised:
        wire.read_query(MultiDict([("limit", "1"), ("limit", "2")]), schemas.ListQuery)
    assert fields_of(raised.value) == {"limit"}


def test_only_a_canonical_uuid7_names_an_order() -> None:
    order_id = new_id()
    assert wire.order_id_from(str(order_id)) == order_id
    for text in ("x", str(order_id).upper(), order_id.hex, f"{{{order_id}}}", "a" * 5000,
                 "00000000-0000-4000-8000-000000000000", "٣" * 36):
        with pytest.raises(NotFound):
            wire.order_id_from(text)


def test_an_appointment_must_end_after_it_starts() -> None:
    body = {"window_start": "2026-11-26T02:00:00Z", "window_end": "2026-11-26T01:00:00Z"}
    with pytest.raises(Invalid) as raised:
        wire.read_body(a_request(json.dumps(body).encode()), schemas.Appointment)
    assert fields_of(raised.value) == {"window_end"}
