"""Manifests, compose and code say the same: commands, ports, probes, replicas, queues, pools."""

from __future__ import annotations

import importlib
import json
import shlex
from typing import Any

import pytest
import yaml
from honcho.environ import parse_procfile

from chassis.settings import load_yaml, merged
from chassis.topology import service_topologies
from chassis.web_server import DRAIN_S
from tests.harness.manifests import environment, main_container, the, workload
from tools import manifests
from tools.environment import HTTP
from tools.kustomize import render
from tools.manifests import KUBERNETES, probes, scaling
from tools.manifests_check import OVERLAYS, compose
from tools.paths import ROOT, SERVICES

COMMANDS = dict(parse_procfile((ROOT / "Procfile").read_text(encoding="utf-8")).processes)
PRODUCTION = "overlays/production"


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("name", SERVICES)
def test_a_pod_runs_the_procfile_s_command(overlay: str, name: str) -> None:
    container = main_container(workload(overlay, name)["spec"]["template"])
    assert "command" not in container, "the image's entrypoint brings the secrets"
    assert container["args"] == shlex.split(COMMANDS[name])


def test_the_demo_s_elements_run_the_procfile_s_command() -> None:
    container = main_container(the("overlays/demo", "Deployment", "elements")["spec"]["template"])
    assert container["args"] == shlex.split(COMMANDS["elements"])
    assert container["ports"][0]["containerPort"] == HTTP["elements"][1]


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_those_of_the_settings(overlay: str, name: str) -> None:
    (port,) = main_container(workload(overlay, name)["spec"]["template"])["ports"]
    assert (port["name"], port["containerPort"]) == ("http", HTTP[name][1])
    (served,) = the(overlay, "Service", name)["spec"]["ports"]
    assert (served["port"], served["targetPort"]) == (HTTP[name][1], "http")


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("name", SERVICES)
def test_what_drills_read_is_what_a_cluster_gets(overlay: str, name: str) -> None:
    rendered = workload(overlay, name)["spec"]["template"]["spec"]
    assert probes(name) == manifests.read_probes(rendered)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert main_container({"spec": rendered})[probe]["httpGet"]["port"] == "http"


@pytest.mark.parametrize("name", SERVICES)
def test_probes_ask_paths_that_are_there(name: str) -> None:
    found = probes(name)
    assert (found.startup.path, found.readiness.path, found.liveness.path) == ("/livez", "/readyz", "/livez")
    assert found.startup.period_s * found.startup.failure_threshold >= 60, "a broker that comes back takes a minute"
    # Readiness takes a process out of use; only longer silence restarts it.
    assert found.readiness.notices_after_s < found.liveness.notices_after_s


@pytest.mark.parametrize("name", SERVICES)
def test_a_process_may_end_in_its_own_time(name: str) -> None:
    found = probes(name)
    before = sum(float(found.pre_stop[found.pre_stop.index(option) + 1])
                 for option in ("--settle", "--journal-wait") if option in found.pre_stop)  # fmt: skip
    assert found.pre_stop[:3] == ("python", "-m", "tools.leave")
    assert before + 2 * DRAIN_S <= found.grace_s, "preStop, HTTP and the batch at hand"
    waits = compose()["services"][name]["stop_grace_period"]
    assert float(waits.removesuffix("s")) >= 2 * DRAIN_S


def test_the_journal_s_gateway_is_the_one_that_leaves() -> None:
    stop = probes("gateway").pre_stop
    assert stop[stop.index("--journal-port") + 1] == str(HTTP["gateway"][1])
    spec = workload(PRODUCTION, "gateway")["spec"]
    (claim,), container = spec["volumeClaimTemplates"], main_container(spec["template"])
    folders = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    journal = environment(PRODUCTION, container)["JOURNAL_PATH"]
    assert journal.startswith(f"{folders[claim['metadata']['name']]}/"), "an order that was promised lies on the volume"


def test_activation_is_one_process_and_never_two() -> None:
    spec = workload(PRODUCTION, "activation")["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    assert scaling("activation") == manifests.Scaling("fixed", 1, 1)


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "activation"])
def test_production_has_two_of_each_and_leaves_their_number_to_the_scaler(name: str) -> None:
    assert "replicas" not in workload(PRODUCTION, name)["spec"]
    assert 2 <= scaling(name).min_replicas < scaling(name).max_replicas
    assert scaling(name).by == ("cpu" if name == "gateway" else "queue")
    the(PRODUCTION, "PodDisruptionBudget", name)


@pytest.mark.parametrize("name", SERVICES)
def test_the_demo_runs_one_of_each(name: str) -> None:
    assert workload("overlays/demo", name)["spec"]["replicas"] == 1


def test_scalers_watch_queues_that_the_services_declare() -> None:
    config = merged(load_yaml(ROOT / "config" / "base.yaml"))
    for name in SERVICES:
        if scaling(name).by == "queue":
            module = importlib.import_module(f"{name}_svc.service")
            declared = {topology.work for topology in service_topologies(module.__name__, config)}
            assert scaling(name).queue in declared
    namespace = yaml.safe_load((KUBERNETES / "overlays/production/kustomization.yaml").read_text())["namespace"]
    for found in render(PRODUCTION):
        if found["kind"] == "ScaledObject":  # KEDA asks from its own namespace
            host = found["spec"]["triggers"][0]["metadata"]["host"]
            assert host == f"amqps://rabbitmq.{namespace}.svc:5671/oss"


@pytest.mark.parametrize(("waiting", "replicas", "wanted"), [(0, 2, 2), (401, 2, 2), (500, 2, 3), (9999, 3, 4)])
def test_a_backlog_asks_for_processes(waiting: int, replicas: int, wanted: int) -> None:
    rule = scaling("order")
    assert (rule.target, rule.min_replicas, rule.max_replicas) == (200, 2, 4)
    assert rule.desired(waiting, replicas) == wanted


def test_load_on_gateways_asks_for_gateways() -> None:
    assert [scaling("gateway").desired(percent, 2) for percent in (10, 70, 75, 140, 900)] == [2, 2, 2, 4, 4]


def test_an_unknown_service_has_no_manifest() -> None:
    with pytest.raises(KeyError, match="no such service: 'billing'"):
        probes("billing")


def test_all_pools_together_fit_into_the_database() -> None:
    # Besides the pool: the relay's own connection and the health check's
    pool = int(merged(load_yaml(ROOT / "config" / "base.yaml"))["DB_POOL_SIZE"]) + 2
    surge = {name: 0 if name in ("activation", "gateway") else 1 for name in SERVICES}
    most = sum((scaling(name).max_replicas + surge[name]) * pool for name in SERVICES)
    cluster = the(PRODUCTION, "Cluster", "postgres")
    assert most < int(cluster["spec"]["postgresql"]["parameters"]["max_connections"]) - 20


def test_a_commit_waits_for_a_standby_in_production_as_in_the_drill() -> None:
    found = manifests.replication()
    assert found == manifests.read_replication(the(PRODUCTION, "Cluster", "postgres"))
    assert (found.method, found.durability) == ("any", "required")
    assert 1 <= found.number < found.instances - 1, "one standby may be lost before commits wait"


def test_each_service_has_a_database_of_its_own() -> None:
    roles = {one["name"]: one["passwordSecret"]["name"] for one in
             the(PRODUCTION, "Cluster", "postgres")["spec"]["managed"]["roles"]}  # fmt: skip
    assert roles == {f"oss_{name}": f"database-{name}" for name in SERVICES}
    databases = [one["spec"] for one in render(PRODUCTION) if one["kind"] == "Database"]
    owners = {one["name"]: one["owner"] for one in databases}
    assert owners == {role: role for role in roles}


def test_dashboard_is_json_that_grafana_finds() -> None:
    board = the(PRODUCTION, "ConfigMap", "oss-dashboard")
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    panels: list[Any] = json.loads(board["data"]["oss.json"])["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
