"""What a drill found, the one table all drills are printed in, and the page `docs/drills.md` that keeps it.

Not for running anything: a drill hands its `Result` over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

COLUMNS = ("drill", "faults", "orders", "failed requests", "lost", "doubled", "stuck", "seconds", "seed")
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass
class Result:
    """What one drill found. `faults`: how many were inflicted (a replacement, a kill, a lost connection ...).

    `failed_requests` are answers of 500 and above and connections that broke, as a client of the HTTP interface met
    them; `lost`, `doubled` and `stuck` are orders or messages. `problems` are broken promises, in words: a drill with
    any has failed. `notes` are further figures, as measured. `seed` is None where nothing is drawn by lot.
    """

    drill: str
    faults: int = 0
    orders: int = 0
    failed_requests: int = 0
    lost: int = 0
    doubled: int = 0
    stuck: int = 0
    seconds: float = 0.0
    seed: int | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.problems

    @property
    def cells(self) -> tuple[str, ...]:
        """Its row in the table, by `COLUMNS`."""
        seed = "" if self.seed is None else str(self.seed)
        counts = (self.faults, self.orders, self.failed_requests, self.lost, self.doubled, self.stuck)
        return (self.drill, *(f"{count:,}" for count in counts), f"{self.seconds:.0f}", seed)


def failed(name: str, error: BaseException, seed: int | None = None) -> Result:
    """The result of a drill that ended with an error of its own."""
    return Result(name, seed=seed, problems=[f"it could not be brought to its end: {type(error).__name__}: {error}"])


def table(results: Iterable[Result]) -> str:
    """The results for a terminal: columns as wide as needed, numbers to the right, FAILED where a promise broke."""
    results = list(results)
    rows = [COLUMNS, *(result.cells for result in results)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    marks = ["", *("" if result.ok else "  FAILED" for result in results)]
    return "\n".join(
        "  ".join(_padded(cell, widths[at], at) for at, cell in enumerate(row)).rstrip() + mark
        for row, mark in zip(rows, marks, strict=True)
    )


def report(results: Iterable[Result]) -> str:
    """Notes and broken promises of each drill, for a terminal."""
    lines = []
    for result in results:
        lines += [f"  {result.drill}: {note}" for note in result.notes]
        lines += [f"! {result.drill}: {problem}" for problem in result.problems[:20]]
    return "\n".join(lines)


def measured(results: Sequence[Result], setting: str) -> str:
    """The part of `docs/drills.md` that is measured. `setting` says when and on what."""
    lines = [setting, "", "| " + " | ".join(COLUMNS) + " |"]
    lines += ["| --- |" + " ---: |" * (len(COLUMNS) - 1)]
    lines += ["| " + " | ".join(result.cells) + " |" for result in results]
    noted = [result for result in results if result.notes]
    if noted:
        lines += [""]
        lines += [f"- **{result.drill}**: " + "; ".join(result.notes) + "." for result in noted]
    return "\n".join(lines)


def kept(page: str, results: Sequence[Result], setting: str) -> str:
    """`page` with these results in its measured part. Rows of drills that were not run now stay as they are."""
    before, _, rest = page.partition(BEGIN)
    old, _, after = rest.partition(END)
    fresh = measured(results, setting)
    ran = {result.drill for result in results}
    other_rows = [line for line in old.splitlines() if (name := _row_of(line)) and name not in ran]
    other_notes = [line for line in old.splitlines() if (name := _note_of(line)) and name not in ran]
    return before + BEGIN + "\n" + _with(fresh, other_rows, other_notes) + "\n" + END + after


def summary(results: Iterable[Result]) -> Mapping[str, Any]:
    """Sums over all drills, for the last line."""
    results = list(results)
    names = ("faults", "orders", "failed_requests", "lost", "doubled", "stuck")
    sums = {name: sum(getattr(result, name) for result in results) for name in names}
    return sums | {"drills": len(results), "failed": sum(not result.ok for result in results)}


def _padded(cell: str, width: int, at: int) -> str:
    return cell.ljust(width) if at == 0 else cell.rjust(width)


def _row_of(line: str) -> str | None:
    """The drill whose row this line is; None for the head and for what is no row."""
    if not line.startswith("| ") or line.startswith(("| ---", "| drill |")):
        return None
    return line.split("|")[1].strip()


def _note_of(line: str) -> str | None:
    found = re.match(r"- \*\*(.+?)\*\*:", line)
    return found[1] if found else None


def _with(fresh: str, rows: Sequence[str], notes: Sequence[str]) -> str:
    lines = fresh.splitlines()
    last_row = max(at for at, line in enumerate(lines) if line.startswith("|"))
    lines[last_row + 1:last_row + 1] = rows
    if notes:
        lines += notes if any(_note_of(line) for line in lines) else ["", *notes]
    return "\n".join(lines)
