"""What was measured, for people: the table in the terminal, and the document that is kept (docs/bench)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools.bench.figures import Found, Reading, collected, paired

TITLE, NUMBER, RANGE = 50, 10, 20


@dataclass(frozen=True)
class Side:
    """One of the revisions: what it is called, its commit, and what each round found."""

    name: str
    commit: str
    readings: Sequence[Reading]

    @property
    def found(self) -> list[Found]:
        """Every figure over all rounds."""
        return collected(self.readings)


def number(value: float) -> str:
    """Three digits that count: `0.369`, `36.9`, `369`, `20480`."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(ours: Side, other: Side | None = None) -> str:
    """Medians with their range, and whether the goals are met; with `other`, its medians and the ratio to them."""
    its = {found.name: found for found in other.found} if other else {}
    head = f"{'':<{TITLE}}{'median':>{NUMBER}}{'range':>{RANGE}}"
    if other:
        head += f"{other.name[:NUMBER - 1]:>{NUMBER}}{'ratio':>{NUMBER}}{'its range':>{RANGE}}"
    lines = [f"{ours.name} ({ours.commit}), {len(ours.readings)} round(s)"]
    if other:
        lines += [f"against {other.name} ({other.commit}): ours by its, of each round a pair; all pairs' range"]
    section = ""
    for found in sorted(ours.found, key=_place(ours.found)):
        if found.name.section != section:
            section = found.name.section
            lines += ["", f"{section:<{TITLE}}{head[TITLE:]}"]
        lines.append(_line(found, its.get(found.name), ours, other))
    return "\n".join(lines)


def _place(found: Sequence[Found]) -> Any:
    """Sections stay together in the order in which they were first measured, also where a round left one out."""
    sections = list(dict.fromkeys(each.name.section for each in found))
    return lambda each: sections.index(each.name.section)


def _line(found: Found, its: Found | None, ours: Side, other: Side | None) -> str:
    text = f"  {found.name.title}, {found.name.unit}"
    line = f"{text:<{TITLE}}{number(found.median):>{NUMBER}}{_range(found.values):>{RANGE}}"
    if other:
        ratios = paired(ours.readings, other.readings, found.name)
        shown = number(its.median) if its else "-"
        ratio = number(collected([{found.name: each} for each in ratios])[0].median) if ratios else "-"
        line += f"{shown:>{NUMBER}}{ratio:>{NUMBER}}{_range(ratios):>{RANGE}}"
    if found.goal:
        line += f"  goal {found.goal}: {'met' if found.goal.is_met(found.median) else 'missed'}"
    return line


def _range(values: Sequence[float]) -> str:
    return f"{number(min(values))} to {number(max(values))}" if len(values) > 1 else ""


def document(ours: Side, other: Side | None, made: Mapping[str, Any]) -> dict[str, Any]:
    """All of it as JSON: every value of every round, so that others can judge for themselves. `made`: when and how."""
    return {
        **made,
        "sides": [
            {
                "name": side.name,
                "commit": side.commit,
                "rounds": len(side.readings),
                "figures": [_figure(found) for found in side.found],
            }
            for side in (ours, other)
            if side is not None
        ],
    }


def _figure(found: Found) -> dict[str, Any]:
    name = found.name
    figure: dict[str, Any] = {
        "section": name.section, "title": name.title, "unit": name.unit,
        "median": _kept(found.median), "values": [_kept(value) for value in found.values],
    }  # fmt: skip
    if found.goal:
        figure |= {"goal": str(found.goal), "met": found.goal.is_met(found.median)}
    return figure


def _kept(value: float) -> float:
    return float(f"{value:.5g}")
