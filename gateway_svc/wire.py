"""Bytes become typed values here, once: strict JSON, request bodies, query parameters, ids in paths.

Everything a client can send wrongly ends in a problem that says where and what would be right. Holds no rules of
the business; those are the models' (`schemas.py`, `contracts`).
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Request

from contracts.errors import DomainError, Invalid, NotFound
from contracts.ids import is_uuid7

MAX_DEPTH = 32
MAX_FIELDS = 50
_MAX_INT_DIGITS = 18

M = TypeVar("M", bound=BaseModel)


class NotJson(DomainError):
    """The body is not JSON in UTF-8 (RFC 8259)."""

    title = "Not JSON"
    http_status: ClassVar[int] = 400


class UnsupportedMediaType(DomainError):
    """The body is not announced as what is taken here."""

    title = "Unsupported media type"
    http_status: ClassVar[int] = 415


def order_id_from(text: str) -> UUID:
    """The order id in a path. Anything but a canonical UUIDv7 names nothing, so it is NotFound."""
    if not is_uuid7(text):
        raise NotFound("there is nothing of that id; ids are UUIDv7")
    return UUID(text)


def read_body(request: Request, model: type[M], *, optional: bool = False) -> M:
    """The request's body as `model`. An empty body counts as `{}` where all of it is `optional`.

    `chassis.web` has read it and held it to its size. Raises UnsupportedMediaType, NotJson, or Invalid naming the
    fields.
    """
    raw = request.get_data(cache=False)
    if optional and not raw:
        return validated(model, {})
    content_type = request.mimetype
    if content_type != "application/json":
        raise UnsupportedMediaType(f"send application/json, not {content_type[:100] or 'no Content-Type'}")
    if request.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise UnsupportedMediaType("send the body without a content coding")
    return validated(model, parse_json(raw), strict=True)


def uuid_from_header(request: Request, name: str) -> UUID:
    """The UUID in a header. Raises Invalid naming the header where it is missing or none."""
    try:
        return UUID(request.headers.get(name, ""))
    except ValueError:
        raise Invalid(f"{name} must be a UUID", [{"field": name, "message": "send a UUID"}]) from None


def read_upload(request: Request, media_types: tuple[str, ...]) -> bytes:
    """A body that is not JSON, as it came. Raises UnsupportedMediaType for other media types or a content coding."""
    if request.mimetype not in media_types:
        raise UnsupportedMediaType(f"send {', '.join(media_types)}, not {request.mimetype[:100] or 'no Content-Type'}")
    if request.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise UnsupportedMediaType("send the body without a content coding")
    return request.get_data(cache=False)


def read_query(arguments: MultiDict[str, str], model: type[M]) -> M:
    """Query parameters as `model`. Unknown ones are ignored; one given twice is Invalid. Names may be aliases."""
    names = {field.alias or name for name, field in model.model_fields.items()}
    values: dict[str, str] = {}
    for name in sorted(names & set(arguments)):
        given = arguments.getlist(name)
        if len(given) > 1:
            raise Invalid(f"{name} is given more than once", [{"field": name, "message": "give it once"}])
        values[name] = given[0]
    check_text(values)
    return validated(model, values)


def validated(model: type[M], value: Any, *, strict: bool = False) -> M:
    """`value` as `model`; raise Invalid naming each field at fault. `strict` takes JSON types at their word."""
    try:
        return model.model_validate_json(json.dumps(value), strict=True) if strict else model.model_validate(value)
    except ValidationError as exc:
        fields = [
            {"field": _field(error["loc"]), "message": _readable(error["msg"])}
            for error in exc.errors(include_url=False, include_input=False, include_context=False)[:MAX_FIELDS]
        ]
        raise Invalid("; ".join(f"{f['field']}: {f['message']}" for f in fields)[:2000], fields) from exc


def parse_json(raw: bytes) -> Any:
    """Strict JSON: UTF-8, no duplicate names, no NaN or Infinity, at most MAX_DEPTH deep; text that can be stored.

    Raises NotJson, or Invalid for NUL characters and lone surrogates, naming the field.
    """
    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_int
        )
    except UnicodeDecodeError as exc:
        raise NotJson(f"the body is not UTF-8: byte {exc.start} does not fit") from exc
    except RecursionError as exc:
        raise NotJson(f"the body is nested more than {MAX_DEPTH} deep") from exc
    except ValueError as exc:
        raise NotJson(f"the body is not JSON: {_readable(str(exc))}") from exc
    # Raw NULs and surrogates are no JSON, so only an escape can bring one; and what opens so few can nest no deeper.
    if b"\\" in raw or raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:
        check_text(value)
    return value


def check_text(value: Any) -> None:
    """Raise Invalid where a text in `value` holds a NUL character or a lone surrogate; NotJson where it is too deep."""
    todo: list[tuple[tuple[int | str, ...], Any]] = [((), value)]
    while todo:
        path, part = todo.pop()
        if len(path) > MAX_DEPTH:
            raise NotJson(f"the body is nested more than {MAX_DEPTH} deep")
        if isinstance(part, dict):
            for name in part:
                _check_string((*path, name), name)
            todo.extend(((*path, name), item) for name, item in part.items())
        elif isinstance(part, list):
            todo.extend(((*path, index), item) for index, item in enumerate(part))
        elif isinstance(part, str):
            _check_string(path, part)


def _check_string(path: tuple[int | str, ...], text: str) -> None:
    if "\0" in text:
        raise _bad_text(path, "must not contain NUL characters")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise _bad_text(path, "must not contain lone surrogates")


def _bad_text(path: tuple[int | str, ...], message: str) -> Invalid:
    field = _readable(_field(path))
    return Invalid(f"{field}: {message}", [{"field": field, "message": message}])


def _field(path: tuple[int | str, ...]) -> str:
    return _readable(".".join(str(part) for part in path))[:200] or "body"


def _readable(text: str) -> str:
    """Text that can be written out in any answer: what UTF-8 cannot carry is shown escaped."""
    return text.replace("\0", "\\u0000").encode("utf-8", "backslashreplace").decode()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name is given twice in one object")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _int(digits: str) -> int | float:
    """Absurdly long integers become floats: the model then refuses them and names the field."""
    return int(digits) if len(digits) <= _MAX_INT_DIGITS else float(digits)
