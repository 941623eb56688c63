"""The bench's arithmetic and what it prints; that it measures anything is for `make bench` to show."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest

from tools.bench.figures import (
    ALL,
    BATCH,
    GOALS,
    GROWN,
    GROWTH,
    INTAKE_1,
    INTAKE_32,
    P99,
    RATE,
    VISIBLE,
    Goal,
    Name,
    Reading,
    collected,
    cost_of,
    paired,
    percentile,
)
from tools.bench.growth import ratios
from tools.bench.plot import LABEL, svg
from tools.bench.report import Side, document, number, table
from tools.bench.stored import Stored
from tools.bench.streams import status_in
from tools.bench.wrk import parse

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
THROUGHPUT = Name(BATCH, VISIBLE, "orders/s")
SLOWEST = Name(INTAKE_32, P99, "ms")
ONE_CALLER = Name(INTAKE_1, RATE, "orders/s")


def side(name: str, *readings: Reading) -> Side:
    return Side(name, "abc1234", readings)


def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [percentile(values, each) for each in (1, 20, 50, 99, 100)] == [1, 1, 3, 5, 5]
    assert percentile(range(1, 301), 99) == 297
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_cost_adds_up_our_processes_broker_and_database_and_shows_the_simulator_apart() -> None:
    spent = {"gateway": 1.0, "order": 0.5, "RabbitMQ": 0.25, "PostgreSQL": 0.125, "element simulator": 8.0}
    found = {name.title: value for name, value in cost_of(BATCH, spent, 500).items()}
    assert (found[ALL], found["Python"]) == (3.75, 3.0)
    assert list(found)[2:] == ["- element simulator", "- gateway", "- order", "- RabbitMQ", "- PostgreSQL"]


def test_figures_keep_the_order_of_rounds_and_have_a_median() -> None:
    [rate, slowest] = collected([{THROUGHPUT: 100.0}, {THROUGHPUT: 300.0, SLOWEST: 9.0}, {THROUGHPUT: 200.0}])
    assert (rate.values, rate.median) == ((100, 300, 200), 200)
    assert slowest.values == (9,)


def test_ratios_are_those_of_pairs_of_one_round() -> None:
    ours: list[Reading] = [{THROUGHPUT: 200.0}, {THROUGHPUT: 90.0}, {SLOWEST: 1.0}, {THROUGHPUT: 5.0}]
    other: list[Reading] = [{THROUGHPUT: 100.0}, {THROUGHPUT: 30.0}, {THROUGHPUT: 10.0}, {THROUGHPUT: 0.0}]
    assert paired(ours, other, THROUGHPUT) == [2, 3]


def test_a_goal_is_met_from_the_right_side() -> None:
    assert [Goal(7).is_met(value) for value in (6.9, 7, 7.1)] == [True, True, False]
    assert [Goal(270, at_least=True).is_met(value) for value in (269, 270, 271)] == [False, True, True]


def test_every_goal_is_of_a_figure_that_is_printed_with_it() -> None:
    reading = {Name(section, title, "x"): goal.value for (section, title), goal in GOALS.items()}
    shown = table(side("this checkout", reading))
    assert shown.count(": met") == len(GOALS)


def test_the_table_has_medians_ranges_and_verdicts() -> None:
    shown = table(side("this checkout", {THROUGHPUT: 250.0, SLOWEST: 100.0}, {THROUGHPUT: 260.0, SLOWEST: 120.0}))
    [rate] = [line for line in shown.splitlines() if VISIBLE in line]
    assert rate.split()[3:] == ["255", "250", "to", "260", "goal", "≥", "270:", "missed"]
    assert "goal ≤ 190: met" in shown


def test_the_table_compares_pair_by_pair() -> None:
    ours = side("this checkout", {ONE_CALLER: 300.0}, {ONE_CALLER: 100.0})
    shown = table(ours, side("v1", {ONE_CALLER: 100.0}, {ONE_CALLER: 50.0}))
    [line] = [line for line in shown.splitlines() if "answered" in line]
    assert line.split() == ["answered,", "orders/s", "200", "100", "to", "300", "75", "2.5", "2", "to", "3"]


def test_numbers_have_three_digits_that_count() -> None:
    shown = [number(value) for value in (0.36912, 36.912, 369.12, 20480.4, 0.0)]
    assert shown == ["0.369", "36.9", "369", "20480", "0"]


def test_the_document_keeps_every_value() -> None:
    kept = document(side("this checkout", {THROUGHPUT: 250.0}, {THROUGHPUT: 290.0}), None, {"measured": "2026-11-26"})
    [one] = json.loads(json.dumps(kept))["sides"]
    assert kept["measured"] == "2026-11-26"
    assert one["figures"] == [
        {"section": BATCH, "title": VISIBLE, "unit": "orders/s", "median": 270, "values": [250, 290], "goal": "≥ 270",
         "met": True}
    ]  # fmt: skip


def test_the_picture_has_a_bar_for_each_side_and_is_well_formed() -> None:
    cost = Name(BATCH, ALL, "CPU ms an order")
    picture = svg([side("this <checkout>", {THROUGHPUT: 250.0, cost: 6.0}), side("v1", {THROUGHPUT: 125.0})])
    shapes = ElementTree.fromstring(picture).iter()
    widths = [float(str(shape.get("width"))) for shape in shapes if shape.get("x") == str(LABEL)]
    assert len(widths) == 3
    assert widths[1] == pytest.approx(2 * widths[2], abs=0.1)


def test_wrk_s_result_is_its_last_line_of_json() -> None:
    output = (
        "Running 3s test @ http://127.0.0.1:8000\n  1 threads and 32 connections\nTransfer/sec: 1.00KB\n"
        '{"answered":900,"created":890,"accepted":6,"broken":1,"seconds":3.01,"p50_ms":90.5,"p99_ms":185.25}\n'
    )
    answers = parse(output)
    assert (answers.answered, answers.p99_ms, answers.bad) == (900, 185.25, 5)
    with pytest.raises(ValueError, match="unable to connect"):
        parse("unable to connect to 127.0.0.1:8000 Connection refused\n")


def test_a_stream_shows_the_status_of_its_last_whole_event() -> None:
    placed = b'id: 1\nevent: order\ndata: {"order_id":"x","status":"placed"}\n\n'
    activated = placed.replace(b"placed", b"activated")
    assert status_in(b"retry: 3000\n\n: keep-alive\n\n") is None
    assert status_in(placed + b": keep-alive\n\n") == "placed"
    assert status_in(placed + activated) == "activated"
    assert status_in(placed + activated[:-1]) == "placed"


def test_growth_is_the_dearest_size_by_the_cheapest_and_has_a_goal() -> None:
    found = {
        Name(GROWTH, "call queue, 1,000 stored", "CPU ms"): 4.0,
        Name(GROWTH, "call queue, 1,000 stored, p50", "ms"): 9.0,
        Name(GROWTH, "call queue, 1,000,000 stored", "CPU ms"): 4.2,
    }
    assert ratios(found, 1_000, 1_000_000) == {Name(GROWTH, "call queue, 1,000,000 by 1,000", GROWN): 1.05}
    [figure] = collected([ratios(found, 1_000, 1_000_000)])
    assert figure.goal is not None and figure.goal.is_met(figure.median) and not figure.goal.is_met(1.11)


def test_the_same_stored_order_has_the_same_id_in_every_database() -> None:
    said: dict[str, list[str]] = {}
    stored = Stored(lambda service, statement: said.setdefault(service, []).append(statement), NOON)
    stored.write(999_001, 1_000_000)
    making = [next(text for text in texts if "create table stored_orders" in text) for texts in said.values()]
    assert len(making) == 6 and len(set(making)) == 1
    with pytest.raises(ValueError, match="must be within"):
        stored.write(0, 10)
