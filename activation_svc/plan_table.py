"""The declared plan (`plan.yaml`), checked and typed, and how its templates are filled in. Data in, data out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

from contracts.catalogue import Kind

PLAN_FILE = Path(__file__).with_name("plan.yaml")
RESOURCE_KINDS = ("service-port", "vlan", "ip")
_NAME = re.compile(r"\{([a-z_-]+)\}")


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Takes(_Declared):
    """The kinds of resources that a line takes for itself, or shares with the order's other lines."""

    own: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()


class Task(_Declared):
    """One entry on one element, as templates."""

    at: str
    key: str
    content: dict[str, Any]


class LineKind(_Declared):
    """What a line of one kind takes and needs."""

    takes: Takes
    tasks: tuple[Task, ...]


class PlanTable(_Declared):
    """The whole plan, by kind of line."""

    lines: dict[Kind, LineKind]

    @model_validator(mode="after")
    def _makes_sense(self) -> PlanTable:
        for name, line in self.lines.items():
            if unknown := {*line.takes.own, *line.takes.shared} - {*RESOURCE_KINDS}:
                raise ValueError(f"{name} takes {', '.join(sorted(unknown))}, of which there is no pool")
            stages = [self._stages().index(task.at) for task in line.tasks]
            if stages != sorted(stages):
                raise ValueError(f"{name}: all kinds of lines must go to the elements in the same order")
        return self

    def _stages(self) -> list[str]:
        return list(dict.fromkeys(task.at for line in self.lines.values() for task in line.tasks))

    def stage(self, task: Task) -> int:
        """When, in relation to the other tasks of an order, this one is carried out."""
        return self._stages().index(task.at)


def load(path: Path = PLAN_FILE) -> PlanTable:
    """Read and check the plan. Raises pydantic.ValidationError saying what makes no sense."""
    return PlanTable.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """The template with its names replaced; a text that is one name alone becomes the value, with its type.

    Raises KeyError for a name that there is no value for.
    """
    if isinstance(template, dict):
        return {key: fill(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [fill(value, values) for value in template]
    if not isinstance(template, str):
        return template
    alone = _NAME.fullmatch(template)
    return values[alone[1]] if alone else _NAME.sub(lambda name: str(values[name[1]]), template)


def united(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """One entry of two for the same key: lists of texts become one sorted list without repetition, else the first
    that says something holds. Neither order nor repetition of the second and later ones matters for the lists.
    """
    result = dict(second) | {key: value for key, value in first.items() if value is not None}
    for key, value in first.items():
        if isinstance(value, list) and isinstance(second.get(key), list):
            result[key] = sorted({*value, *second[key]})
    return result
