"""Alarms, dashboard and runbook agree; who may talk to whom; every pod is locked down."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.harness.manifests import containers, pods
from tools.environment import HTTP
from tools.kustomize import render
from tools.manifests import Object
from tools.manifests_check import MONITORING, OVERLAYS, compose, rule_groups
from tools.paths import ROOT, SERVICES

RUNBOOK = ROOT / "docs" / "runbook.md"
ALARMS = [rule for group in rule_groups()["groups"] for rule in group["rules"]]
# Metrics that others export: Prometheus, kube-state-metrics, the kubelet, RabbitMQ, CloudNativePG.
NOT_OURS = re.compile(r"up$|kube_|kubelet_|container_|rabbitmq_|cnpg_")
WORDS = {"by", "and", "or", "le", "sum", "max", "min", "rate", "increase", "delta", "absent", "count", "vector",
         "histogram_quantile"}  # fmt: skip


def anchors() -> set[str]:
    """The anchors of the runbook's headings, as Git forges make them."""
    titles = re.findall(r"^#+ (.+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def metrics_in(expression: str) -> set[str]:
    """The names in a PromQL expression that are neither labels nor functions."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(?:by|on|without) \([^)]*\)", "", expression)
    return {name for name in re.findall(r"[a-z_][a-z0-9_]*", bare) if name not in WORDS}


def our_metrics() -> dict[str, str]:
    """The names that our processes export, each with its kind."""
    found: dict[str, str] = {}
    for folder in ("chassis", "gateway_svc"):
        for path in (ROOT / folder).rglob("*.py"):
            for kind, name in re.findall(r"(Counter|Gauge|Histogram)\(\s*\"(\w+)\"", path.read_text(encoding="utf-8")):
                endings = {"Counter": ("_total",), "Gauge": ("",), "Histogram": ("_bucket", "_sum", "_count")}[kind]
                found |= {name + ending: kind for ending in endings}
    return found


@pytest.mark.parametrize("alarm", ALARMS, ids=lambda alarm: str(alarm["alert"]))
def test_each_alarm_links_to_its_entry_in_the_runbook(alarm: Object) -> None:
    page, _, anchor = alarm["annotations"]["runbook_url"].partition("#")
    assert page.endswith("/docs/runbook.md")
    assert anchor in anchors(), f"docs/runbook.md has no entry #{anchor}"


@pytest.mark.parametrize("alarm", ALARMS, ids=lambda alarm: str(alarm["alert"]))
def test_each_alarm_watches_what_is_there(alarm: Object) -> None:
    watched = metrics_in(alarm["expr"])
    assert watched, "no metric"
    ours = {name for name in watched if not NOT_OURS.match(name)}
    assert ours <= our_metrics().keys()


def test_no_alarm_has_the_name_of_another() -> None:
    names = [alarm["alert"] for alarm in ALARMS]
    assert len(set(names)) == len(names)


def test_the_dashboard_shows_what_is_there() -> None:
    panels: list[Any] = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))["panels"]
    expressions = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert len(expressions) >= 12
    shown = {name for expression in expressions for name in metrics_in(expression) if not NOT_OURS.match(name)}
    assert shown <= our_metrics().keys()


def test_the_runbook_s_own_links_lead_somewhere() -> None:
    linked = set(re.findall(r"\]\(#([\w-]+)\)", RUNBOOK.read_text(encoding="utf-8")))
    assert linked <= anchors()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_pod_is_root_or_may_become_it(overlay: str) -> None:
    for name, template in pods(overlay):
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        for container in containers(template):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            assert security.get("readOnlyRootFilesystem") or container["image"].startswith("rabbitmq:"), name
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            assert "memory" in container["resources"]["limits"], name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_images_have_a_tag_that_stays_and_no_registry_of_ours(overlay: str) -> None:
    for name, template in pods(overlay):
        for container in containers(template):
            image, _, tag = container["image"].partition(":")
            assert "/" not in image and tag not in ("", "latest"), f"{name}: {container['image']}"


def test_compose_locks_our_containers_down() -> None:
    services = compose()["services"]
    for name in (*SERVICES, "prepare", "elements"):
        assert services[name]["read_only"] is True, name
        assert services[name]["tmpfs"], name
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == ("no" if name == "prepare" else "unless-stopped"), name


def test_compose_starts_by_health_and_shows_one_port() -> None:
    services = compose()["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if other == "prepare" else "service_healthy"
            assert how["condition"] == expected, f"{name} waits for {other}"
    assert {name for name, service in services.items() if service.get("ports")} == {"gateway"}
    assert services["gateway"]["ports"][0].startswith("127.0.0.1:")
    assert compose()["networks"]["inside"]["internal"] is True
    assert all("outside" not in service["networks"] for name, service in services.items() if name != "gateway")


def chosen(selector: Object, labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items()
    among = selector.get("matchExpressions", ())
    return all(labels.get(key) == value for key, value in wanted) and all(
        one["operator"] == "In" and labels.get(one["key"]) in one["values"] for one in among)  # fmt: skip


def allowed(overlay: str, direction: str, pod: dict[str, str], other: dict[str, str], port: int) -> bool:
    """Whether a policy lets `pod` talk to `other` (Egress), or be talked to by it (Ingress), at a port by number."""
    for policy in (found["spec"] for found in render(overlay) if found["kind"] == "NetworkPolicy"):
        if direction not in policy["policyTypes"] or not chosen(policy["podSelector"], pod):
            continue
        for way in policy.get(direction.lower(), ()):
            ports = {one["port"] for one in way.get("ports", ())}
            peers = way.get("to" if direction == "Egress" else "from", ())
            here = [peer["podSelector"] for peer in peers if "podSelector" in peer and "namespaceSelector" not in peer]
            if port in ports and any(chosen(selector, other) for selector in here):
                return True
    return False


def labels_of(overlay: str) -> dict[str, dict[str, str]]:
    """The labels of each workload's pods; those of the operators' pods in production as they document them."""
    found = {name: dict(template["metadata"]["labels"]) for name, template in pods(overlay)}
    if overlay == "overlays/production":
        found["rabbitmq"] = {"app.kubernetes.io/name": "rabbitmq", "app.kubernetes.io/component": "rabbitmq"}
        found["postgres"] = {"cnpg.io/cluster": "postgres"}
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_ways_that_are_needed_are_open_at_both_ends(overlay: str) -> None:
    labels = labels_of(overlay)
    amqp, management = (5671, 15671) if overlay == "overlays/production" else (5672, 15672)
    nodes = (("rabbitmq", amqp), ("postgres", 5432))
    needed = [(name, node, port) for name in (*SERVICES, "prepare") for node, port in nodes]
    needed.append(("prepare", "rabbitmq", management))
    if overlay == "overlays/demo":
        needed.append(("activation", "elements", HTTP["elements"][1]))
    for name, other, port in needed:
        assert allowed(overlay, "Egress", labels[name], labels[other], port), f"{name} to {other}"
        assert allowed(overlay, "Ingress", labels[other], labels[name], port), f"{other} from {name}"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_other_way_is_closed(overlay: str) -> None:
    deny = [found["spec"] for found in render(overlay) if found["metadata"]["name"] == "default-deny"]
    assert deny == [{"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}]
    labels = labels_of(overlay)
    closed = (15671, 15672, *((5672,) if overlay == "overlays/production" else ()))
    for name in SERVICES:
        for port in closed:
            assert not allowed(overlay, "Ingress", labels["rabbitmq"], labels[name], port), f"{name} to {port}"
        for other in SERVICES:
            assert not allowed(overlay, "Egress", labels[name], labels[other], HTTP[other][1]), f"{name} to {other}"
