"""Tables change so that the release before can go on working on them: expand first, contract a release later."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.migrations import contracts, migrations, objections
from tests.harness.releases import previous

ALL = list(migrations())


@pytest.mark.parametrize(("service", "path"), ALL, ids=[f"{service}-{path.stem}" for service, path in ALL])
def test_a_migration_only_adds_unless_it_ends_what_an_earlier_release_began(service: str, path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    began = contracts(source)
    if began is None:
        assert objections(source) == [], "split it: add now, take away in a later release (CONTRIBUTING.md)"
        return
    # The release before must have stopped using what goes away: so it had the expand step already.
    assert began < path.stem.partition("_")[0]
    assert began <= previous().facts["tables"][service], f"{began} is not in release {previous().version} yet"


@pytest.mark.parametrize("bad", [
    'op.drop_column("orders", "note")',
    'op.drop_table("orders")',
    'op.rename_table("orders", "order")',
    'op.drop_index("orders_by_key", "orders")',
    'op.alter_column("orders", "note", nullable=False)',
    'op.alter_column("orders", "note", new_column_name="remark")',
    'op.alter_column("orders", "note", type_=sa.Integer)',
    'op.add_column("orders", sa.Column("note", sa.Text, nullable=False))',
    'op.create_unique_constraint("one", "orders", ["note"])',
    'op.create_index("one", "orders", ["note"], unique=True)',
    'op.execute("alter table orders drop column note")',
    'op.execute(sa.text("ALTER TABLE orders ALTER COLUMN note SET NOT NULL"))',
    'op.execute("alter table orders alter column note type integer using 0")',
    'op.execute("alter table orders rename column note to remark")',
    'with op.batch_alter_table("orders") as batch:\n        batch.drop_column("note")',
])
def test_what_the_release_before_could_not_live_with_is_found(bad: str) -> None:
    assert len(objections(f"def upgrade():\n    {bad}\n")) == 1


@pytest.mark.parametrize("good", [
    'op.add_column("orders", sa.Column("note", sa.Text))',
    'op.add_column("orders", sa.Column("note", sa.Text, nullable=False, server_default=""))',
    'op.alter_column("orders", "note", server_default="")',
    'op.alter_column("orders", "note", nullable=True)',
    'op.create_index("orders_by_note", "orders", ["note"])',
    'op.create_table("notes", sa.Column("id", sa.Text))\n    op.create_index("one", "notes", ["id"], unique=True)',
    'op.execute("update orders set note = \'\' where note is null")',
])
def test_what_only_adds_is_let_through(good: str) -> None:
    assert objections(f"def upgrade():\n    {good}\n") == []


def test_a_contract_step_names_what_it_ends() -> None:
    assert contracts('CONTRACTS = "0002"\n') == "0002"
    assert contracts("revision = '0003'\n") is None
