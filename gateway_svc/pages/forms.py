"""Form fields become typed values, with each fault beside its field. What was typed is kept for showing it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from werkzeug.datastructures import MultiDict

from contracts.errors import Invalid
from gateway_svc import wire

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Form(Generic[M]):
    """What was sent. `value` is None where `errors` names fields at fault (field -> what the model says, English)."""

    typed: Mapping[str, str]
    value: M | None = None
    errors: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        """What was typed into a field; empty where nothing was."""
        return self.typed.get(name, "")


def read(fields: MultiDict[str, str], model: type[M], names: Iterable[str], **more: Any) -> Form[M]:
    """The fields `names` (dots nest: `customer.phone`) and `more` values as `model`. Empty fields count as left out.

    Browsers end the lines of a text with CR LF (HTML, 4.10.21.6); here they end with LF, as they were typed.
    """
    typed = {name: fields.get(name, "").replace("\r\n", "\n") for name in names}
    values: dict[str, Any] = dict(more)
    for name, text in typed.items():
        if text.strip():
            _put(values, name.split("."), text)
    try:
        wire.check_text(values)
        return Form(typed, wire.validated(model, values))
    except Invalid as invalid:
        return Form(typed, errors=faults(invalid))


def faults(invalid: Invalid) -> dict[str, str]:
    """The fields at fault, each with its first message; under `""` what belongs to no field."""
    found: dict[str, str] = {}
    for fault in invalid.fields or [{"field": "", "message": invalid.detail}]:
        found.setdefault(fault["field"], fault["message"])
    return found


def _put(values: dict[str, Any], path: list[str], text: str) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
    values[path[-1]] = text
