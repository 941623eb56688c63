"""Reads migrations: what in them the release before could not live with."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tools.paths import ROOT, SERVICES

FIRST = "0001"
_TAKES_AWAY = {"drop_table", "drop_column", "rename_table", "drop_index", "drop_constraint"}
_BINDS = {"create_unique_constraint", "create_check_constraint", "create_exclude_constraint", "create_foreign_key"}
_SQL = re.compile(
    r"\b(drop\s+(table|column|index|constraint)|rename\s+(to|column)|set\s+not\s+null|(alter|column)\s+\S+\s+type\b"
    r"|set\s+data\s+type|truncate|add\s+constraint|create\s+unique)", re.IGNORECASE,
)  # fmt: skip


def migrations() -> Iterator[tuple[str, Path]]:
    """Every migration after the first, with its service."""
    for service in SERVICES:
        for path in sorted((ROOT / f"{service}_svc" / "migrations" / "versions").glob("*.py")):
            if not path.name.startswith(FIRST):
                yield service, path


def contracts(source: str) -> str | None:
    """The earlier revision of which this one is the contract step: its constant CONTRACTS; None where it is none."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "CONTRACTS" for t in node.targets):
            return str(ast.literal_eval(node.value))
    return None


def objections(source: str) -> list[str]:
    """What `upgrade` does that the code of the release before could not live with: empty for an expand step."""
    upgrade = next(node for node in ast.parse(source).body
                   if isinstance(node, ast.FunctionDef) and node.name == "upgrade")  # fmt: skip
    calls = [node for node in ast.walk(upgrade) if isinstance(node, ast.Call)]
    new = {_text(call.args[0]) for call in calls if _name(call) == "create_table"}
    return [found for call in calls if (found := _objection(call, new))]


def _objection(call: ast.Call, new: set[str]) -> str | None:
    name, given = _name(call), {keyword.arg: keyword.value for keyword in call.keywords}
    where = f"{name} in line {call.lineno}"
    table = _text(call.args[1]) if name in _BINDS | {"create_index"} and len(call.args) > 1 else ""
    if name in _TAKES_AWAY:
        return f"{where} takes away what the release before still uses"
    if name == "alter_column" and _is(given.get("nullable"), False):
        return f"{where} refuses the rows that the release before writes"
    if name == "alter_column" and given.keys() & {"type_", "new_column_name"}:
        return f"{where} changes a column under the release before"
    if name in _BINDS and table not in new:
        return f"{where} may refuse rows that the release before writes"
    if name == "create_index" and _is(given.get("unique"), True) and table not in new:
        return f"{where} may refuse rows that the release before writes"
    if name == "add_column" and any(_obliges(column) for column in call.args):
        return f"{where} wants a value that the release before does not give"
    if name == "execute" and (bad := _SQL.search(" ".join(_texts(call)))):
        return f"{where}: {bad[0]!r}"
    return None


def _obliges(node: ast.expr) -> bool:
    if not (isinstance(node, ast.Call) and _name(node) == "Column"):
        return False
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    return _is(given.get("nullable"), False) and "server_default" not in given


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _text(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ""


def _texts(call: ast.Call) -> Iterator[str]:
    for node in ast.walk(call):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
