"""The picture of the figures: a bar for each median with its range, and the goal as a line. SVG, made by hand.

A handful of bars does not need a plotting library and its fonts.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tools.bench import figures
from tools.bench.figures import ALL, ARRIVALS, BATCH, BROKER, DATABASE, INTAKE_1, INTAKE_32, LIMITS, VISIBLE, Found
from tools.bench.report import Side, number

SHOWN: tuple[tuple[str, str], ...] = (
    (BATCH, ALL), (BATCH, "Python"), (BATCH, f"- {BROKER}"), (BATCH, f"- {DATABASE}"), (INTAKE_1, ALL),
    (BATCH, VISIBLE), (INTAKE_1, figures.RATE), (INTAKE_32, figures.RATE), (INTAKE_32, figures.P99),
    (ARRIVALS, f"{VISIBLE}, {figures.P50}"), (ARRIVALS, f"{VISIBLE}, {figures.P99}"), (figures.READS, figures.RATE),
    (LIMITS, f"{DATABASE}, ours by its limit"), (LIMITS, f"{BROKER}, ours by its limit"),
)  # fmt: skip
WIDTH, LABEL, BAR, GAP = 960, 360, 14, 16
COLOURS = ("#1f6feb", "#8b949e")
_STYLE = "font-family: sans-serif; font-size: 12px; background: #fff"


def svg(sides: Sequence[Side]) -> str:
    """The picture; each figure has a scale of its own, up to the largest thing in it."""
    found = [[each for each in side.found if (each.name.section, each.name.title) in SHOWN] for side in sides]
    parts, top = [_legend(sides)], 40
    for key in SHOWN:
        row = [next((each for each in side if (each.name.section, each.name.title) == key), None) for side in found]
        if row[0] is not None:
            parts.append(_row(row[0], row, top))
            top += BAR * len(sides) + GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" style="{_STYLE}">'
    return "\n".join([head, *parts, "</svg>", ""])


def _legend(sides: Sequence[Side]) -> str:
    at, parts = 10, []
    for side, colour in zip(sides, COLOURS, strict=False):
        text = f"{side.name} ({side.commit}), {len(side.readings)} rounds"
        parts.append(f'<rect x="{at}" y="10" width="12" height="12" fill="{colour}"/>'
                     f'<text x="{at + 18}" y="21">{escape(text)}</text>')  # fmt: skip
        at += WIDTH // 3
    parts.append(f'<text x="{at}" y="21">bar: median; thin line: range; red: goal</text>')
    return "\n".join(parts)


def _row(first: Found, row: Sequence[Found | None], top: int) -> str:
    goal = first.goal
    largest = max([*(max(each.values) for each in row if each), goal.value if goal else 0.0, 1e-9])
    scale = (WIDTH - LABEL - 90) / largest
    label = f"{first.name.section}: {first.name.title.removeprefix('- ')}, {first.name.unit}"
    parts = [f'<text x="{LABEL - 8}" y="{top + BAR - 3}" text-anchor="end">{escape(label)}</text>']
    for at, each in enumerate(row):
        if each is None:
            continue
        y = top + at * BAR
        middle = y + BAR / 2 - 1
        low, high = LABEL + min(each.values) * scale, LABEL + max(each.values) * scale
        parts += [
            f'<rect x="{LABEL}" y="{y}" width="{each.median * scale:.1f}" height="{BAR - 2}" fill="{COLOURS[at]}"/>',
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="#000"/>',
            f'<text x="{high + 6:.1f}" y="{y + BAR - 4}">{number(each.median)}</text>',
        ]
    if goal:
        x, bottom = LABEL + goal.value * scale, top + BAR * len(row)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 3}" y2="{bottom}" stroke="#d1242f"/>')
    return "\n".join(parts)
