"""Tables of the release before go on working while, and after, this release's migrations run, on every database."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from chassis import dialect
from tests.harness.databases import Databases
from tests.harness.migrations import FIRST, contracts
from tools.migrate import config
from tools.paths import SERVICES

Row = dict[str, Any]
Rows = dict[str, list[Row]]
START = datetime(2026, 11, 25, tzinfo=UTC)
# What a table's own checks want.
SPECIAL: dict[str, dict[str, Any]] = {"staff_users": {"role": "dispatcher", "technician_id": None}}
_numbers = count(1)


@pytest.fixture(params=[*SERVICES, "mypage on sqlite"])
def database(databases: Databases, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """(service, URI) of a database without tables, on each that the service runs on."""
    service, _, on = request.param.partition(" on ")
    uri = databases.file() if on else databases.empty()
    yield service, uri
    databases.drop(uri)


def steps(service: str, uri: str) -> list[str]:
    """Every revision from the first on."""
    found = [script.revision for script in ScriptDirectory.from_config(config(service, uri)).walk_revisions()]
    return found[::-1]


def tables(engine: sa.Engine) -> list[sa.Table]:
    metadata = sa.MetaData()
    metadata.reflect(engine)
    return [table for table in metadata.sorted_tables if table.name != "alembic_version"]


def value(column: sa.Column[Any], given: Rows) -> Any:
    """A value of the column's type, another one each time; of a foreign key the parent's."""
    for key in column.foreign_keys:
        return given[key.column.table.name][-1][key.column.name]
    number = next(_numbers)
    match column.type:
        case sa.Uuid() | sa.CHAR():
            made = uuid.UUID(int=number)
            return made if isinstance(column.type, sa.Uuid) else made.hex
        case sa.DateTime():
            moment = START + timedelta(hours=number, minutes=1 if column.name.endswith("_end") else 0)
            return moment if column.type.timezone else moment.replace(tzinfo=None)
        case sa.Boolean():
            return False
        case sa.Integer() | sa.Numeric():
            return number
        case sa.ARRAY():
            return []
        case sa.JSON():
            return {"number": number}
        case sa.LargeBinary():
            return b"bytes"
        case _:
            return f"text {number}"


def fill(engine: sa.Engine, known: list[sa.Table]) -> Rows:
    """A row in each table, by the columns `known` has: what the release that made them writes."""
    given: Rows = {}
    with engine.begin() as conn:
        for table in known:
            columns = [column for column in table.columns if column.identity is None]
            row = {column.name: value(column, given) for column in columns} | SPECIAL.get(table.name, {})
            conn.execute(table.insert(), row)
            given.setdefault(table.name, []).append(row)
    return given


def read(engine: sa.Engine, known: list[sa.Table]) -> Rows:
    """All rows, by those columns only: what the release that made them reads."""
    with engine.connect() as conn:
        return {
            table.name: [
                {name: found for name, found in row.items() if table.columns[name].identity is None}
                for row in conn.execute(sa.select(table)).mappings()
            ]
            for table in known
        }


def test_after_each_step_the_tables_still_take_and_give_what_the_step_before_knows(database: tuple[str, str]) -> None:
    service, uri = database
    engine = dialect.single_engine(uri)
    command.upgrade(config(service, uri), FIRST)
    for before, after in pairwise(steps(service, uri)):
        known = tables(engine)
        old = fill(engine, known)
        columns = {(table.name, column.name): column for table in known for column in table.columns}
        seen = read(engine, known)
        command.upgrade(config(service, uri), after)
        script = ScriptDirectory.from_config(config(service, uri)).get_revision(after)
        with open(script.path, encoding="utf-8") as file:
            if contracts(file.read()) is not None:
                continue  # what the step before knew may go by now
        changed = {(table.name, column.name): column for table in tables(engine) for column in table.columns}
        for key, column in columns.items():
            assert key in changed, f"{after} took away {key}"
            assert str(changed[key].type) == str(column.type), f"{after} changed the type of {key}"
            assert changed[key].nullable or not column.nullable, f"{after} wants a value in {key}"
        assert read(engine, known) == seen, f"{after} changed old rows of {before}"
        written = fill(engine, known)
        assert {name: len(rows) for name, rows in written.items()} == {name: len(rows) for name, rows in old.items()}
        for (name, column_name), column in changed.items():
            new = (name, column_name) not in columns and any(table.name == name for table in known)
            assert not new or column.nullable or column.server_default is not None, f"{name}.{column_name}"


def test_every_service_migrates_from_nothing_to_the_newest_and_again(database: tuple[str, str]) -> None:
    service, uri = database
    for _ in range(2):
        command.upgrade(config(service, uri), "head")
    with dialect.single_engine(uri).connect() as conn:
        assert conn.execute(sa.text("select version_num from alembic_version")).scalar_one() == steps(service, uri)[-1]
