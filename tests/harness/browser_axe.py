"""axe-core over a page, in light and in dark: nothing serious, and nothing that breaks WCAG 2.2 AA."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
SERIOUS = ("serious", "critical")
_RULES = {
    "light": {"type": "tag", "values": [*WCAG, "best-practice"]},
    # Nothing but colours is another.
    "dark": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]},
}


def check_axe(page: Page) -> None:
    """Raises AssertionError with each violation, its elements and what would mend it."""
    found = []
    for scheme, rules in _RULES.items():
        # Without motion: a colour that fades from one scheme to the other is not the page's.
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        options = {"runOnly": rules, "resultTypes": ["violations"]}
        violations = Axe().run(page, options=options).response["violations"]
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
