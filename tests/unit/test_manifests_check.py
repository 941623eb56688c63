"""The offline checks find what they are there for: each is shown one fault of its kind."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.harness.manifests import the, workload
from tools import kustomize, manifests_check
from tools.kustomize import RenderFailed
from tools.manifests import KUBERNETES, Object
from tools.manifests_check import compose, compose_faults, custom_kinds, interpolate, object_fault
from tools.packages import PackagesMissing

PRODUCTION = "overlays/production"


def changed(found: Object, path: str, value: Any) -> Object:
    """A copy of an object with the value at a dotted path replaced; None takes it away."""
    result = copy.deepcopy(found)
    at: Any = result
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in way:
        at = at[part]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return result


@pytest.mark.parametrize(("path", "value"), [
    ("spec.template.spec.containers.0.livenessProbe.periodSecond", 5),
    ("spec.template.spec.containers.0.livenessProbe.periodSeconds", "5"),
    ("spec.template.spec.containers.0.securityContext.runAsRoot", True),
    ("spec.selector", None),
])  # fmt: skip
def test_kubernetes_own_kinds_are_strict(path: str, value: Any) -> None:
    deployment = workload(PRODUCTION, "order")
    assert object_fault(deployment, custom_kinds()) is None
    said = object_fault(changed(deployment, path, value), custom_kinds())
    assert said is not None and said.startswith("Deployment/order: ")


@pytest.mark.parametrize(("kind", "name", "path", "value"), [
    ("ScaledObject", "order", "spec.maxReplicas", 9),
    ("ScaledObject", "order", "spec.triggers.0.metadata.value", 200),
    ("ScaledObject", "order", "spec.triggers.0.metadata.host", "amqp://oss:secret@rabbitmq:5672/oss"),
    ("TriggerAuthentication", "broker", "spec.secretTargetRef", []),
    ("RabbitmqCluster", "rabbitmq", "spec.replicas", 0),
    ("RabbitmqCluster", "rabbitmq", "spec.persistence.storage", "20 GB"),
    ("Cluster", "postgres", "spec.instances", "3"),
    ("Cluster", "postgres", "spec.postgresql.parameters.max_connections", 600),
    ("Database", "oss-order", "spec.name", "postgres"),
    ("ServiceMonitor", "oss", "spec.endpoints.0.interval", "15"),
    ("PodMonitor", "postgres", "spec.podMetricsEndpoints.0.port", 9187),
    ("PrometheusRule", "oss", "spec.groups.0.rules.0.annotations.runbook_url", None),
])  # fmt: skip
def test_custom_resources_are_strict(kind: str, name: str, path: str, value: Any) -> None:
    found = the(PRODUCTION, kind, name)
    assert object_fault(found, custom_kinds()) is None
    said = object_fault(changed(found, path, value), custom_kinds())
    assert said is not None and said.startswith(f"{kind}/{name}: ")


def test_a_kind_without_a_schema_is_a_fault() -> None:
    unknown = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "one"}}
    assert "no schema for example.com/v1" in str(object_fault(unknown, custom_kinds()))


def test_the_schemas_are_schemas() -> None:
    for path in (KUBERNETES / "schemas").glob("*.json"):
        jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text(encoding="utf-8")))


def test_what_kustomize_refuses_is_said_in_its_words(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]\n", encoding="utf-8")
    with pytest.raises(RenderFailed, match=r"missing\.yaml"):
        kustomize.build(tmp_path)


def test_elsewhere_kustomize_comes_from_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kustomize.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(kustomize.shutil, "which", lambda name: None)
    with pytest.raises(PackagesMissing, match="brew install kustomize"):
        kustomize.ensure_kustomize()


@pytest.mark.parametrize(("path", "value", "said"), [
    ("services.order.comand", ["x"], "comand"),
    ("services.order.restart", "sometimes", "sometimes"),
    ("services.order.depends_on.prepare.condition", "service_ok", "service_ok"),
    ("services.order.healthcheck.interval", "5 sec", "duration"),
    ("services.gateway.secrets", ["NOWHERE"], "NOWHERE"),
    ("services.gateway.networks", ["nowhere"], "nowhere"),
    ("services.gateway.volumes", ["nowhere:/var/lib/oss"], "nowhere"),
])  # fmt: skip
def test_compose_is_held_to_its_specification(path: str, value: Any, said: str) -> None:
    assert list(compose_faults(compose())) == []
    (fault,) = compose_faults(changed(compose(), path, value))
    assert said in fault


def test_compose_variables_are_read_as_compose_reads_them() -> None:
    read = "${A} ${B:-b} ${C:-c} ${D:?set D} $$(E)"
    assert interpolate(read, {"A": "1", "B": "2", "D": "4"}) == "1 2 c 4 $(E)"


def test_an_alarm_that_is_no_promql_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = copy.deepcopy(manifests_check.rule_groups())
    assert list(manifests_check.rule_faults()) == []
    groups["groups"][0]["rules"][0]["expr"] = "up{job=} == 0"
    monkeypatch.setattr(manifests_check, "rule_groups", lambda: groups)
    assert any("could not parse expression" in fault for fault in manifests_check.rule_faults())


def test_an_alarm_that_does_not_fire_when_it_should_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = copy.deepcopy(manifests_check.rule_groups())
    (lags,) = [rule for group in groups["groups"] for rule in group["rules"] if rule["alert"] == "OutboxLags"]
    lags["for"] = "1h"
    monkeypatch.setattr(manifests_check, "rule_groups", lambda: groups)
    assert any("OutboxLags" in fault for fault in manifests_check.rule_faults())


def test_a_careless_dockerfile_is_found(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text("FROM python:latest\nRUN cd /srv && sudo pip install nameko\n", encoding="utf-8")
    (fault,) = manifests_check.dockerfile_faults(path)
    assert {"DL3007", "DL3003", "DL3004"} <= set(fault.replace(":", " ").split())


def test_a_workflow_that_cannot_work_is_found(tmp_path: Path) -> None:
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "broken.yml").write_text(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    needs: b\n    steps: [{run: 'echo ${{ matrx.x }}'}]\n",
        encoding="utf-8",
    )
    (fault,) = manifests_check.workflow_faults(folder)
    assert "matrx" in fault and '"b"' in fault


def test_a_check_that_cannot_run_has_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> list[str]:
        raise PackagesMissing("not on this machine: promtool")

    monkeypatch.setattr(manifests_check, "CHECKS", {"rules": missing, "compose": lambda: []})
    assert manifests_check.main() == 1
    said = capsys.readouterr().out
    assert "rules: failed" in said and "could not be checked: not on this machine: promtool" in said
    assert "compose: ok" in said
