"""The guided tour (.tours/one-order.tour, CodeTour's format) leads to lines that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOUR = json.loads((ROOT / ".tours" / "one-order.tour").read_text(encoding="utf-8"))


@pytest.mark.parametrize("step", TOUR["steps"], ids=lambda step: step["title"])
def test_each_stop_of_the_tour_is_one_line_of_the_code(step: dict[str, str]) -> None:
    file = ROOT / step["file"]
    assert file.is_file(), f"the tour stops at {step['file']}, which does not exist"
    lines = file.read_text(encoding="utf-8").splitlines()
    found = [number for number, line in enumerate(lines, 1) if re.search(step["pattern"], line)]
    assert len(found) == 1, f"{step['pattern']!r} is found in {step['file']} at lines {found}, not at one"


def test_the_tour_comes_through_every_service() -> None:
    services = {step["file"].partition("/")[0] for step in TOUR["steps"]}
    assert services >= {"gateway_svc", "order_svc", "activation_svc", "scheduling_svc", "fieldwork_svc", "mypage_svc"}
