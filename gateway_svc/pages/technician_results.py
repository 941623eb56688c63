"""What a technician typed into the checklist, read as a thumb types it, and what to ask about it. Holds no page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from werkzeug.datastructures import MultiDict

from contracts.events import JobResults
from contracts.measurements import Question, Range, normal_ranges, questions, read_power, read_serial, read_speed
from contracts.orders import OrderItem
from gateway_svc import schemas
from gateway_svc.pages import forms
from gateway_svc.pages.forms import Form

READERS = {"ont_serial": read_serial, "rx_power_dbm": read_power, "down_mbps": read_speed, "up_mbps": read_speed}
FIELDS = tuple(f"results.{name}" for name in READERS)

_ITEMS: TypeAdapter[tuple[OrderItem, ...]] = TypeAdapter(tuple[OrderItem, ...])


@dataclass(frozen=True, slots=True)
class Checklist:
    """The checklist as it was sent. `asked`: what to ask about; `confirmed`: it was asked, and these very values hold.

    `proof` says which values were asked about, so that others cannot pass under the same "yes".
    """

    form: Form[schemas.CompleteJob]
    asked: tuple[Question, ...] = ()
    proof: str = ""
    confirmed: bool = False

    @property
    def names(self) -> set[str]:
        """What is asked about, as `field.code`."""
        return {f"{question.field}.{question.code}" for question in self.asked}


def read_checklist(fields: MultiDict[str, str], items: Iterable[Mapping[str, Any]]) -> Checklist:
    """The fields of the checklist for a job with these order items."""
    read = MultiDict(fields)
    for name, reader in READERS.items():
        read[f"results.{name}"] = reader(fields.get(f"results.{name}", ""))
    form = forms.read(read, schemas.CompleteJob, (*FIELDS, "note"))
    if form.value is None:
        # Shown again as it was typed: what was read out of it is not what one recognises.
        typed = {name: fields.get(name, "") for name in form.typed}
        return Checklist(Form(typed, None, form.errors))
    results = form.value.results
    asked = tuple(questions(results, order_items(items), fields.get("results.ont_serial")))
    proof = _proof(asked, results)
    return Checklist(form, asked, proof, bool(fields.get("confirmed")) and fields.get("asked") == proof)


def ranges(items: Iterable[Mapping[str, Any]]) -> dict[str, Range]:
    """What is normal for what this job installs."""
    return normal_ranges(order_items(items))


def order_items(items: Iterable[Mapping[str, Any]]) -> tuple[OrderItem, ...]:
    """A job's items, as the services answer them."""
    return _ITEMS.validate_python(tuple(items))


def _proof(asked: Iterable[Question], results: JobResults) -> str:
    return ",".join(f"{question.field}={getattr(results, question.field)}" for question in asked)
