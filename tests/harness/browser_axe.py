"""axe-core over a page, in light and in dark: nothing serious, and nothing that breaks WCAG 2.2 AA."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
SERIOUS = ("serious", "critical")
_OPTIONS = {"runOnly": {"type": "tag", "values": [*WCAG, "best-practice"]}, "resultTypes": ["violations"]}


def check_axe(page: Page) -> None:
    """Raises AssertionError with each violation, its elements and what would mend it."""
    found = []
    for scheme in ("light", "dark"):
        # Without motion: a colour that fades from one scheme to the other is not the page's.
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        violations = Axe().run(page, options=_OPTIONS).response["violations"]
        found += [_readable(violation, scheme) for violation in violations if _matters(violation)]
    page.emulate_media(color_scheme="light", reduced_motion="no-preference")
    assert not found, "\n".join([f"axe finds on {page.url}:", *found])


def _matters(violation: dict[str, Any]) -> bool:
    return violation["impact"] in SERIOUS or not set(WCAG).isdisjoint(violation["tags"])


def _readable(violation: dict[str, Any], scheme: str) -> str:
    lines = [f"{violation['id']} ({violation['impact']}, {scheme}): {violation['help']}"]
    for node in violation["nodes"]:
        lines += [f"  {' '.join(map(str, node['target']))}", f"    {node['html'][:160]}"]
        lines += [f"    {line}" for line in str(node.get("failureSummary", "")).splitlines()]
    return "\n".join(lines)
