"""The page bench's table; that it measures anything is for `make bench-pages` to show."""

from __future__ import annotations

from tools.bench_pages import table


def opened(*usable_ms: float) -> list[dict[str, float]]:
    return [{"painted": usable / 2, "usable": usable} for usable in usable_ms]


def test_the_table_has_every_page_and_judges_the_slowest() -> None:
    shown = table({"signup": [10, 20, 30], "dispatch": [90, 120, 130]}, opened(800, 900, 2000)).splitlines()
    rows = {line[:30].strip(): line[30:].split() for line in shown}
    assert rows["signup"][0] == "20.0" and rows["dispatch"][0] == "120.0"
    assert rows["painted"] == ["450"] and rows["usable"] == ["900"]
    slowest, mypage = shown[-2:]
    assert slowest.startswith("median of dispatch") and slowest.endswith("missed")
    assert mypage.startswith("MyPage") and mypage.endswith("met")


def test_both_targets_are_to_be_beaten_not_met_exactly() -> None:
    assert table({"signup": [100, 100]}, opened(1000)).count("missed") == 2
    assert table({"signup": [99.4, 99.4]}, opened(999)).count(": met") == 2
