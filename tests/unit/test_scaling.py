"""The simulation keeps the laws of queues, and its costs are those that were measured."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import simpy

from chassis import relay
from chassis.settings import load_yaml
from gateway_svc import intake
from tools.bench.figures import RELAY, SERIAL, WHOLE, Found, Name, of_each
from tools.paths import ROOT
from tools.scaling import search
from tools.scaling.cluster import Machine, Rules, fixed, may_have_several, placed
from tools.scaling.costs import Costs, Figure, from_bench
from tools.scaling.meter import Seen
from tools.scaling.model import SHAPES, Cost, Linear, fitted, rounds
from tools.scaling.parts import Disk, Node, Queue, Serial
from tools.scaling.report import BEGIN, END, picture, within
from tools.scaling.search import LIFTS, lift_of, sustained
from tools.scaling.simulation import ALL_NODES, Simulation

NOTHING = Linear(0.0, 0.0)
LARGE = Machine(nodes=1, cores=64, commit=0.0, hop=0.0, queue_rate=1e9)


def costs_of(**processes: Linear) -> dict[str, Cost]:
    """Every round costs nothing but these: `fold_pages=Linear(fixed, each)` in its process."""
    return {
        name: Cost(shape, processes.get(name.replace(" ", "_"), NOTHING), NOTHING, NOTHING)
        for name, shape in SHAPES.items()
    }


def simulated(costs: dict[str, Cost], rate: float, orders: int = 1500, machine: Machine = LARGE, **more: int) -> Seen:
    """A run on one large node, one process of each and so many more of these."""
    return Simulation(fixed(costs, machine, Rules(), Counter(more)), costs).run(rate, orders)


def test_a_station_takes_what_one_by_its_cost_allows_and_no_more() -> None:
    costs = costs_of(note_activation=Linear(0.0, 10.0))
    assert simulated(costs, 95).keeps_up
    assert not simulated(costs, 110).keeps_up


def test_two_processes_of_a_station_take_twice_as_much() -> None:
    costs = costs_of(note_activation=Linear(0.0, 10.0))
    assert simulated(costs, 190, order=1).keeps_up
    assert not simulated(costs, 220, order=1).keeps_up


def test_a_process_is_used_as_much_as_rate_times_cost() -> None:
    costs = costs_of(fold_pages=Linear(0.0, 4.0))
    busy = simulated(costs, 50, orders=3000).busy
    assert busy["mypage's process"] == pytest.approx(50 * 2 * 4.0 / 1000, rel=0.1)
    assert busy[ALL_NODES] == pytest.approx(50 * 2 * 4.0 / 1000 / 64, rel=0.1)


def test_rounds_grow_with_the_rate_and_share_what_a_round_costs() -> None:
    costs = costs_of(note_activation=Linear(10.0, 1.0))
    alone, loaded = simulated(costs, 10), simulated(costs, 400)
    assert loaded.keeps_up, "a round of n takes 10 + n ms, so up to 900 a second"
    assert alone.sizes["note activation"] < 1.3
    assert loaded.sizes["note activation"] > 5
    assert loaded.cpu_ms["order"] < alone.cpu_ms["order"] / 3


def test_latency_without_load_is_the_sum_of_the_way() -> None:
    costs = costs_of(request=Linear(0.0, 2.0), place=Linear(3.0, 0.0), fold_pages=Linear(0.0, 5.0))
    machine = replace(LARGE, commit=1.0)
    fastest = min(simulated(costs, 1, orders=400, machine=machine).until_visible_ms)
    # Commits: the journal, and a transaction each of order, its relay, activation (3), scheduling, a relay, mypage.
    assert 2 + 3 + 5 + 9 <= fastest <= 2 + 3 + 5 + 12


def test_what_there_is_one_of_does_not_grow_with_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "ORDERS", (800, 1200))
    costs = costs_of(provision=Linear(0.0, 10.0))
    few, many = (sustained(placed(costs, replace(LARGE, nodes=nodes, cores=4), Rules()), costs) for nodes in (3, 10))
    assert few.rate == pytest.approx(100, rel=0.1)
    assert many.rate == pytest.approx(few.rate, rel=0.1)
    assert many.full == "activation's process"
    rules, _ = lift_of(many.full, Rules()) or (Rules(), "")
    lifted = sustained(placed(costs, replace(LARGE, nodes=3, cores=4), rules), costs)
    assert lifted.rate > 5 * few.rate


def test_the_leader_of_a_queue_is_a_limit_of_its_own() -> None:
    costs, machine = costs_of(), replace(LARGE, queue_rate=200.0)
    assert simulated(costs, 90, machine=machine).keeps_up, "mypage's queue has two messages an order"
    assert not simulated(costs, 110, machine=machine).keeps_up


def test_an_access_node_commits_one_change_after_the_other() -> None:
    machine = replace(LARGE, elements=1, element_commit=50.0)
    seen = simulated(costs_of(), 100, machine=machine)
    assert seen.keeps_up, "orders that wait share a commit"
    assert seen.busy["an access node"] <= 1.001
    assert min(seen.until_visible_ms) >= 50


def test_commits_that_wait_share_a_write() -> None:
    env = simpy.Environment()
    disk = Disk(env, 5.0)
    done = [env.process(disk.commit()) for _ in range(50)]
    env.run(simpy.AllOf(env, done))
    assert env.now <= 10.0


def test_a_node_has_no_more_than_its_cores() -> None:
    env = simpy.Environment()
    node = Node(env, 2)
    env.run(simpy.AllOf(env, [env.process(node.run(100.0)) for _ in range(4)]))
    assert (env.now, node.busy) == (pytest.approx(200), pytest.approx(400))


def test_a_process_uses_one_core_however_many_there_are() -> None:
    env = simpy.Environment()
    process = Serial(env, Node(env, 8))
    env.run(simpy.AllOf(env, [env.process(process.run(10.0)) for _ in range(5)]))
    assert env.now == pytest.approx(50)


def test_a_queue_gives_what_waits_in_order_and_loses_nothing() -> None:
    env = simpy.Environment()
    queue, taken = Queue(env), []

    def consumer() -> object:
        while True:
            items = yield from queue.take(3)
            taken.append(items)
            yield env.timeout(1)

    env.process(consumer())
    env.process(consumer())
    queue.put([1])
    env.run(until=0.5)
    queue.put([2, 3, 4, 5, 6])
    env.run(until=10)
    assert sorted(item for items in taken for item in items) == [1, 2, 3, 4, 5, 6]
    assert all(items == sorted(items) and len(items) <= 3 for items in taken)


def test_costs_follow_from_an_order_alone_and_full_rounds() -> None:
    shapes = [replace(SHAPES["place"], share=0.25, most=100), replace(SHAPES["place"], share=0.75, most=10)]
    per_round, per_item = fitted(8.0, 2.0 + 6.0 * (0.25 / 100 + 0.75 / 10), shapes)
    assert (per_round, per_item) == (pytest.approx(6.0), pytest.approx(2.0))
    assert fitted(1.0, 2.0, shapes) == (0.0, 2.0), "nothing is saved by waiting, then"


MEASURED = {
    "one.cpu.mypage": 5.0, "full.mypage.cpu.mypage": 1.0, "one.broker": 4.0, "full.placing.broker": 1.0,
    "one.cpu.order": 9.0, "full.placing.cpu.order": 2.0, "full.order.cpu.order": 0.5, "relay.cpu": 0.4,
}  # fmt: skip


def test_rounds_together_cost_what_was_measured() -> None:
    found = rounds(Costs({key: Figure(value, "ms", "") for key, value in MEASURED.items()}, {}))
    for service, alone, full in (("mypage", 5.0, 1.0), ("order", 9.0, 2.5)):
        mine = [cost for cost in found.values() if cost.shape.service == service]
        assert sum(cost.process.fixed for cost in mine) * 1 + sum(
            cost.process.each * cost.shape.items for cost in mine) == pytest.approx(alone)  # fmt: skip
        assert sum(cost.an_order(500)[0] for cost in mine) == pytest.approx(full, rel=0.2)


def test_the_shares_of_each_service_make_one() -> None:
    shares: Counter[str] = Counter()
    for shape in SHAPES.values():
        shares[shape.service] += shape.share
    assert shares == {service: pytest.approx(1.0) for service in shares}


def test_rounds_are_as_large_as_the_code_lets_them_be() -> None:
    assert (SHAPES["forward"].most, SHAPES["order relay"].most) == (intake.BATCH, relay.BATCH)
    settings = load_yaml(ROOT / "config" / "activation.yaml")
    assert SHAPES["ask for visits"].most == int(settings["VISIT_BATCH"])
    assert SHAPES["request visit"].most == SHAPES["ask for visits"].most, "one call asks for all of them"


def test_only_what_may_have_several_gets_several() -> None:
    costs = rounds(Costs({key: Figure(value, "ms", "") for key, value in MEASURED.items()}, {}))
    counts = placed(costs, replace(LARGE, nodes=5, cores=4, replicated=True), Rules()).counts
    assert counts["order"] > 1
    assert (counts["activation"], counts["db"], counts["broker"]) == (1, 1, 3)
    assert not may_have_several("activation", Rules())
    assert may_have_several("activation", Rules(shards=True))


def test_gateways_are_added_until_they_mostly_hear_of_each_other_s_orders() -> None:
    costs = costs_of(request=Linear(0.0, 10.0), hear=Linear(0.0, 1.0))
    machine = replace(LARGE, nodes=50, cores=4)
    as_it_is, lifted = placed(costs, machine, Rules()), placed(costs, machine, Rules(hints=True))
    assert as_it_is.limit == "hints"
    assert 30 < as_it_is.counts["gateway"] < 60
    assert lifted.rate > 3 * as_it_is.rate
    assert lift_of(f"node of {as_it_is.limit}", Rules()) == (Rules(hints=True), LIFTS["hints"][1])


def test_figures_come_from_the_bench_with_where_they_come_from(tmp_path: Path) -> None:
    def found(section: str, title: str, value: float) -> Found:
        return Found(Name(section, title, ""), (value, value))

    one = of_each(1)
    costs = from_bench([
        found(WHOLE, f"until visible, {one}", 85.0), found(WHOLE, f"{one}, order", 2.4),
        found(WHOLE, f"{one}, PostgreSQL", 3.0), found(WHOLE, f"{one}, PostgreSQL of order", 0.5),
        found(WHOLE, f"{one}, PostgreSQL of mypage", 0.5), found(RELAY, one, 1500.0),
        found(SERIAL, "quorum queue", 6000.0), found(SERIAL, "commit on this disk", 0.8),
        found("replicas: one order after another", "answered", 30.0),
    ], {"commit": "abc1234"})  # fmt: skip
    path = tmp_path / "costs.json"
    path.write_text(costs.text())
    again = Costs.read(path)
    assert (again["load.rate.1"], again["load.cpu.order"], again["relay.rate"], again["commit"]) == (85, 2.4, 1500, 0.8)
    assert again["load.db.order"] == 1.5, "what PostgreSQL does for nobody is shared out"
    assert again.figures["load.rate.1"].origin == f"{WHOLE}: until visible, {one}"
    assert again.about["commit"] == "abc1234"


def test_only_the_generated_part_of_the_page_changes() -> None:
    page = f"# Scaling\nbefore\n{BEGIN}\nold\n{END}\nafter\n"
    assert within(page, "new") == f"# Scaling\nbefore\n{BEGIN}\nnew\n{END}\nafter\n"
    with pytest.raises(ValueError, match="there is no"):
        within("# Scaling\n", "new")


def test_the_picture_has_a_point_for_each_size_and_is_well_formed() -> None:
    costs = costs_of(place=Linear(0.0, 1.0))

    def found(nodes: int, rate: float) -> search.Found:
        cluster = fixed(costs, replace(LARGE, nodes=nodes), Rules(), Counter())
        return search.Found(cluster, rate, ALL_NODES, {}, 10.0, 20.0, {})

    drawn = picture([found(1, 150.0), found(100, 200.0)], [found(1, 150.0), found(100, 9000.0)])
    circles = [each for each in ElementTree.fromstring(drawn).iter() if each.tag.endswith("circle")]
    assert len(circles) == 4
    assert ">9000<" in drawn
