"""The page bench's table; that it measures anything is for `make bench-pages` to show."""

from __future__ import annotations

from tools.bench_pages import table


def test_the_table_has_every_page_and_judges_the_slowest() -> None:
    shown = table({"signup": [10, 20, 30], "dispatch": [90, 120, 130]}, [800, 900, 2000]).splitlines()
    assert [line.split()[:2] for line in shown[1:3]] == [["signup", "20.0"], ["dispatch", "120.0"]]
    assert shown[3].startswith("median of dispatch") and shown[3].endswith("missed")
    assert shown[4].startswith("MyPage") and shown[4].endswith("met")


def test_both_targets_are_to_be_beaten_not_met_exactly() -> None:
    assert table({"signup": [100, 100]}, [1000]).count("missed") == 2
    assert table({"signup": [99.4, 99.4]}, [999]).count(": met") == 2
