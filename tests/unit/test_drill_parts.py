"""The pure parts of the drills: schedules of faults, the kubelet's judgement, the table and the page."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import eventlet
import pytest
from eventlet.event import Event

from tests.harness.client import Client
from tests.harness.drill_load import Load
from tools import namespace
from tools.drill import DRILLS, Drill, chosen
from tools.drill_report import BEGIN, COLUMNS, END, Result, failed, kept, measured, report, summary, table
from tools.faketime import clock_off_by
from tools.faults import BROKER_FAULTS, ELEMENT_FAULTS, LINK_FAULTS, SHORT_S, link_schedule, schedule
from tools.haproxy import configuration
from tools.kubelet import Watch
from tools.manifests import Probe, broker_cluster
from tools.paths import ROOT
from tools.rabbit_cluster import NODES, production_settings
from tools.system import service_of
from tools.waiting import NotInTime

PROCESSES = ("order", "activation", "gateway", "gateway-2")
ELEMENTS = ("olt-1", "bng-1")
STARTUP = Probe("/livez", 2.0, 5.0, 60, 1, 0.0)
LIVENESS = Probe("/livez", 10.0, 5.0, 3, 1, 0.0)


def test_a_seed_draws_one_schedule_and_another_seed_another() -> None:
    drawn = schedule(7, 20, 300, PROCESSES, ELEMENTS)

    assert drawn == schedule(7, 20, 300, PROCESSES, ELEMENTS)
    assert drawn != schedule(8, 20, 300, PROCESSES, ELEMENTS)


def test_faults_are_spread_over_the_orders_and_leave_no_process_out() -> None:
    drawn = schedule(3, 40, 300, PROCESSES, ELEMENTS)

    assert [fault.after for fault in drawn] == sorted(fault.after for fault in drawn)
    assert drawn[0].after == 0 and drawn[-1].after < 300
    assert {fault.target for fault in drawn[: len(PROCESSES)]} == set(PROCESSES)


def test_only_what_knows_how_to_refuse_is_made_to() -> None:
    drawn = [fault for seed in range(200) for fault in schedule(seed, 20, 100, PROCESSES, ELEMENTS)]

    assert {fault.target for fault in drawn if fault.kind == "refuse"} == {"bng-1"}
    assert {fault.kind for fault in drawn if fault.target in ELEMENTS} == set(ELEMENT_FAULTS)
    assert {fault.kind for fault in drawn if fault.target == "broker"} == set(BROKER_FAULTS)
    assert {"database", "everything"} <= {fault.target for fault in drawn}
    assert all(0 <= fault.lasts_s <= 6 for fault in drawn)


def test_a_schedule_for_a_system_without_private_elements_has_none_of_them() -> None:
    drawn = schedule(1, 200, 100, PROCESSES, ())

    assert {fault.target for fault in drawn} <= {*PROCESSES, "broker", "database", "everything"}


LINKS = {
    "order - broker": "broker", "order - database": "database", "mypage - database": "database",
    "activation - tv-1": "element", "clients - gateway": "clients",
}  # fmt: skip


def test_in_a_long_form_every_fault_is_on_every_link_once_and_none_lasts_for_no_time() -> None:
    drawn = link_schedule(7, LINKS, whole=True)

    assert drawn == link_schedule(7, LINKS, whole=True) != link_schedule(8, LINKS, whole=True)
    pairs = [(fault.kind, fault.link) for fault in drawn]
    assert sorted(pairs) == sorted((kind, link) for kind in LINK_FAULTS for link in LINKS)
    assert all(0.4 * LINK_FAULTS[fault.kind] <= fault.lasts_s <= LINK_FAULTS[fault.kind] for fault in drawn)


def test_a_short_form_leaves_out_no_kind_of_fault_and_no_sort_of_link() -> None:
    for seed in range(50):
        drawn = link_schedule(seed, LINKS, whole=False)

        assert {fault.kind for fault in drawn} == set(LINK_FAULTS)
        assert {LINKS[fault.link] for fault in drawn} == set(LINKS.values())
        assert len(drawn) == len(LINK_FAULTS) and all(fault.lasts_s <= SHORT_S for fault in drawn)


def test_a_process_is_dead_after_as_many_failures_in_a_row_as_the_manifest_says() -> None:
    watch = Watch(STARTUP, LIVENESS, started=True)

    assert [watch.observe(answer) for answer in (False, False, True, False, False)] == [False] * 5
    assert watch.observe(False) is True


def test_while_a_process_starts_it_is_asked_by_the_startup_probe_which_is_more_patient() -> None:
    watch = Watch(STARTUP, LIVENESS)

    assert not any(watch.observe(False) for _ in range(59))
    assert watch.observe(True) is False
    assert watch.probe is LIVENESS
    watch.restarted()
    assert (watch.probe, watch.failures) == (STARTUP, 0)


def test_the_table_has_its_columns_in_line_and_says_which_drill_failed() -> None:
    fine = Result("random faults", faults=1234, orders=2400, seconds=612.4, seed=7)
    bad = Result("disk full", orders=15, lost=1, problems=["an order is gone"], notes=["tmpfs"])
    lines = table([fine, bad]).splitlines()

    assert lines[0].split() == " ".join(COLUMNS).split()
    assert lines[1].split() == ["random", "faults", "1,234", "2,400", "0", "0", "0", "0", "612", "7"]
    assert lines[2].endswith("FAILED") and not lines[1].endswith("FAILED")
    assert lines[0].index("seconds") + len("seconds") == lines[1].index("612") + 3
    assert "! disk full: an order is gone" in report([fine, bad])


def test_a_drill_that_breaks_off_is_a_failed_one() -> None:
    broken = failed("clocks", RuntimeError("no such thing"), 3)

    assert not broken.ok
    assert summary([broken, Result("random faults", orders=5)]) == {
        "faults": 0, "orders": 5, "failed_requests": 0, "lost": 0, "doubled": 0, "stuck": 0, "drills": 2, "failed": 1,
    }  # fmt: skip


def test_the_page_keeps_the_rows_of_drills_that_were_not_run_this_time() -> None:
    empty = f"before\n{BEGIN}\n{END}\nafter\n"
    first = kept(empty, [Result("clocks", orders=1, notes=["old"]), Result("disk full", orders=2)], "Measured then.")
    second = kept(first, [Result("clocks", orders=3, notes=["new"])], "Measured now.")

    assert second.startswith("before\n") and second.endswith("after\n")
    assert "Measured now." in second and "Measured then." not in second
    assert second.count("| clocks |") == second.count("| disk full |") == 1
    assert "- **clocks**: new." in second and "old" not in second
    assert kept(second, [Result("disk full", notes=["tmpfs"])], "x").count("- **clocks**: new.") == 1


def test_the_measured_part_is_a_table_that_markdown_understands() -> None:
    head, rule, row = measured([Result("clocks", orders=1)], "Then.").splitlines()[2:5]

    assert head.count("|") == rule.count("|") == row.count("|") == len(COLUMNS) + 1


def test_the_page_tells_of_every_drill_and_keeps_its_figures() -> None:
    page = (ROOT / "docs" / "drills.md").read_text(encoding="utf-8")

    assert page.count(BEGIN) == page.count(END) == 1
    for drill in DRILLS:
        module = drill.run.partition(":")[0].replace(".", "/") + ".py"
        assert (ROOT / module).is_file()
        assert f"**{drill.title}.**" in page, f"docs/drills.md says nothing of {drill.title}"


def test_haproxy_repeats_only_what_nobody_can_have_taken() -> None:
    text = configuration(1, 2, {"gateway": 3, "gateway-2": 4}, interval_s=0.5, timeout_s=2.0, fall=2)

    assert "http-request disable-l7-retry unless METH_GET" in text
    assert "server gateway-2 127.0.0.1:4" in text
    assert "inter 500ms fall 2" in text and "timeout check 2000ms" in text


def test_haproxy_in_front_of_brokers_takes_new_connections_to_those_that_listen_and_ends_none() -> None:
    text = configuration(1, 2, {"rabbit-1": "10.0.0.1:5672"}, interval_s=0.5, timeout_s=2.0, fall=1, tcp=True)

    assert "mode tcp" in text and "server rabbit-1 10.0.0.1:5672" in text
    assert "shutdown-sessions" not in text


def test_the_cluster_of_the_drill_has_as_many_nodes_and_the_settings_of_the_one_in_production() -> None:
    plain, advanced = production_settings()

    assert len(NODES) == broker_cluster().nodes
    assert "cluster_partition_handling = pause_minority\n" in plain
    assert advanced == "[{rabbit, [{quorum_cluster_size, 3}]}].\n"
    left_to_the_machine = {"default_vhost", "vm_memory_high_watermark.relative", "disk_free_limit.relative"}
    told = {line.split(" = ")[0] for line in plain.splitlines()} | {"quorum_queue.initial_cluster_size"}
    assert set(broker_cluster().settings) - told == left_to_the_machine


def test_a_further_process_belongs_to_its_service() -> None:
    assert [service_of(name) for name in ("gateway", "gateway-2", "order-12")] == ["gateway", "gateway", "order"]


@pytest.mark.parametrize(("seconds", "text"), [(300, "+300s"), (-300.0, "-300s")])
def test_a_wrong_clock_leaves_the_monotonic_one_alone(
    seconds: float, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.faketime.find_library", lambda: Path("/usr/lib/faketime/libfaketime.so.1"))
    added = clock_off_by(seconds)

    assert (added["FAKETIME"], added["DONT_FAKE_MONOTONIC"]) == (text, "1")


def test_where_libfaketime_is_missing_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.faketime.find_library", lambda: None)
    with pytest.raises(RuntimeError, match="libfaketime"):
        clock_off_by(300)


def test_a_drill_is_found_by_its_name() -> None:
    assert [drill.name for drill in chosen(["random"])] == ["random"]
    assert chosen([]) == list(DRILLS)
    with pytest.raises(ValueError, match="no such drill: rolling-stone"):
        chosen(["rolling-stone"])


def test_a_drill_in_a_network_of_its_own_cannot_work_on_a_system_that_runs_elsewhere() -> None:
    with pytest.raises(ValueError, match="network of its own"):
        Drill("lost", "tests.harness.drill_lost:run", own_network=True)


def test_a_machine_that_gives_no_network_namespace_is_told_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespace, "find_program", lambda name: "/bin/false")

    with pytest.raises(namespace.NamespaceRefused, match="run it as root"):
        namespace.private_network()


def test_the_network_of_the_machine_is_not_taken_for_a_private_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSS_PRIVATE_NETWORK", "net:[1]")

    assert not namespace.is_private()


class Patient(Load):
    """Its hands wait for as long as the test likes."""

    def _work_on(self, client: Client) -> None:
        Event().wait()


def test_a_block_that_fails_leaves_no_hand_at_work() -> None:
    load = Patient(SimpleNamespace(url="", env={"STAFF_PASSWORD": ""}), url="", seed=1, hands=2)
    with pytest.raises(NotInTime), load:
        eventlet.sleep()
        assert not load.over
        raise NotInTime("the database never came back")
    assert load.over
