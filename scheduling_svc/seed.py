"""Puts the technicians of a seed file into the database; running it again changes nothing.

    python -m scheduling_svc.seed [config/seed.yaml]        with SCHEDULING_DB_URI in the environment

A technician that is there already is brought to what the file says; one that the file does not name stays.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import sqlalchemy as sa
import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy.dialects import postgresql as pg

from contracts.catalogue import Kind
from scheduling_svc import models

LocalTime = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class SeedShift(BaseModel):
    """On these weekdays the technician works from `from` to `to`, local time."""

    model_config = ConfigDict(extra="forbid")

    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]]
    start: LocalTime = Field(alias="from")
    end: LocalTime = Field(alias="to")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"a shift from {self.start} to {self.end} ends before it starts")
        return self


class SeedTechnician(BaseModel):
    """One technician of the seed file."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9-]{1,64}$")
    name: str = Field(min_length=1, max_length=50)
    skills: list[Kind] = Field(min_length=1)
    areas: list[Annotated[str, Field(pattern=r"^([0-9]{1,5}|\*)$")]] = Field(min_length=1)
    shifts: list[SeedShift]

    def as_row(self) -> dict[str, Any]:
        """The row of `technicians`; shifts as `{"mon": [["09:00", "18:00"]]}`."""
        shifts: dict[str, list[list[str]]] = defaultdict(list)
        for shift in self.shifts:
            for day in shift.days:
                shifts[day].append([shift.start, shift.end])
        return {**self.model_dump(include={"id", "name", "skills", "areas"}), "shifts": dict(shifts)}


def seed(conn: sa.Connection, technicians: Iterable[Mapping[str, Any]]) -> int:
    """Add or bring up to date these technicians (shape: `config/seed.yaml`); return how many the file names.

    Raises pydantic.ValidationError naming what is wrong with the file.
    """
    rows = [SeedTechnician.model_validate(technician).as_row() for technician in technicians]
    if not rows:
        return 0
    insert = pg.insert(models.technicians).values(rows)
    taken_over = {name: insert.excluded[name] for name in ("name", "skills", "areas", "shifts")}
    conn.execute(insert.on_conflict_do_update(index_elements=["id"], set_=taken_over))
    return len(rows)


def main(path: str = "config/seed.yaml") -> int:
    """Seed the database named by SCHEDULING_DB_URI from the file at `path`."""
    document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    engine = sa.create_engine(os.environ["SCHEDULING_DB_URI"], poolclass=sa.pool.NullPool)
    with engine.begin() as conn:
        count = seed(conn, document["technicians"])
    print(f"{count} technicians are seeded")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
