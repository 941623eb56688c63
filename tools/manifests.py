"""What the Kubernetes manifests promise, as values: probes and scaling rules of each service.

Read straight from the files under deploy/kubernetes, so that a drill needs neither kustomize nor a cluster.
`tests/unit/test_manifests.py` compares these values with what kustomize renders.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools.paths import ROOT, SERVICES

KUBERNETES = ROOT / "deploy" / "kubernetes"
BASE = KUBERNETES / "base"
AUTOSCALING = KUBERNETES / "components" / "autoscaling"
PRODUCTION = KUBERNETES / "overlays" / "production"
HPA_TOLERANCE = 0.1
"""The controller's default (--horizontal-pod-autoscaler-tolerance): a smaller difference changes nothing."""

Object = dict[str, Any]


class PlainLoader(yaml.SafeLoader):
    """YAML as it stands. Nameko teaches the common loader to fill `${NAME}` from the environment, for good."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in found if tag.startswith("tag:yaml.org")]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass(frozen=True, slots=True)
class Probe:
    """One HTTP probe; times in seconds. Kubernetes' defaults where the manifest says nothing."""

    path: str
    period_s: float
    timeout_s: float
    failure_threshold: int
    success_threshold: int
    initial_delay_s: float

    @property
    def notices_after_s(self) -> float:
        """The longest time from the moment a process stops answering until the probe has failed for good."""
        return self.period_s * self.failure_threshold + self.timeout_s


@dataclass(frozen=True, slots=True)
class Probes:
    """The probes of one service and the time it has to end: `grace_s` is from preStop to SIGKILL, `liveness_grace_s`
    from SIGTERM to SIGKILL where the liveness probe has failed for good."""

    startup: Probe
    readiness: Probe
    liveness: Probe
    grace_s: float
    liveness_grace_s: float
    pre_stop: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scaling:
    """How many processes of a service run. `by`: "fixed" (min = max), "cpu" (target in percent of the request), or
    "queue" (target in messages of `queue` for each process)."""

    by: str
    min_replicas: int
    max_replicas: int
    target: float | None = None
    queue: str | None = None
    polling_s: float = 15.0
    scale_up_by: int | None = None
    scale_up_every_s: float = 15.0
    scale_down_after_s: float = 300.0
    scale_down_by: int | None = None
    scale_down_every_s: float = 15.0

    def desired(self, measured: float, replicas: int) -> int:
        """Replicas that the rule wants: `measured` is the queue's length, or the mean CPU use in percent.

        The HorizontalPodAutoscaler's formula (which KEDA hands its numbers to), without the pauses between steps.
        """
        if self.by == "fixed" or self.target is None:
            return self.min_replicas
        ratio = measured / self.target / (replicas if self.by == "queue" else 1)
        wanted = replicas if abs(ratio - 1) <= HPA_TOLERANCE else math.ceil(replicas * ratio)
        return min(max(wanted, self.min_replicas), self.max_replicas)


@dataclass(frozen=True, slots=True)
class Replication:
    """PostgreSQL in production: servers in all, and for how many standbys (`number`, by `method`) a commit waits.

    `durability`: "required", where a commit waits also while there are none; CloudNativePG's default.
    """

    instances: int
    method: str
    number: int
    durability: str


def documents(path: Path) -> Iterator[Object]:
    """The objects of one YAML file."""
    yield from (found for found in yaml.load_all(path.read_text(encoding="utf-8"), Loader=PlainLoader) if found)


@dataclass(frozen=True, slots=True)
class BrokerCluster:
    """The broker in production: how many nodes, and what its manifest adds to their configuration."""

    nodes: int
    settings: Mapping[str, str]


def broker_cluster() -> BrokerCluster:
    """The RabbitmqCluster of the production overlay."""
    objects = documents(PRODUCTION / "rabbitmq.yaml")
    spec = next(found["spec"] for found in objects if found["kind"] == "RabbitmqCluster")
    lines = [line.split("=", 1) for line in spec["rabbitmq"]["additionalConfig"].splitlines() if line.strip()]
    return BrokerCluster(int(spec["replicas"]), {name.strip(): value.strip() for name, value in lines})


def workload(service: str) -> Object:
    """The Deployment or StatefulSet of `service` as its own file has it. Raises KeyError for an unknown service."""
    if service not in SERVICES:
        raise KeyError(f"no such service: {service!r}; there are {', '.join(SERVICES)}")
    objects = documents(BASE / "services" / f"{service}.yaml")
    return next(found for found in objects if found["kind"] in {"Deployment", "StatefulSet"})


def probes(service: str) -> Probes:
    """The probes of `service`, one of `tools.paths.SERVICES`."""
    own = workload(service)
    pod = own["spec"]["template"]["spec"]
    if own["kind"] == "Deployment":  # these are completed by one patch
        pod = next(documents(BASE / "patches" / "service.yaml"))["spec"]["template"]["spec"]
    return read_probes(pod)


def read_probes(pod: Object) -> Probes:
    """The probes of a complete pod specification with a container `service`."""
    container = next(found for found in pod["containers"] if found["name"] == "service")
    return Probes(
        startup=_probe(container["startupProbe"]),
        readiness=_probe(container["readinessProbe"]),
        liveness=_probe(container["livenessProbe"]),
        grace_s=float(pod["terminationGracePeriodSeconds"]),
        liveness_grace_s=float(
            container["livenessProbe"].get("terminationGracePeriodSeconds", pod["terminationGracePeriodSeconds"])
        ),
        pre_stop=tuple(container["lifecycle"]["preStop"]["exec"]["command"]),
    )


def _probe(found: Object) -> Probe:
    return Probe(
        path=found["httpGet"]["path"],
        period_s=float(found.get("periodSeconds", 10)),
        timeout_s=float(found.get("timeoutSeconds", 1)),
        failure_threshold=int(found.get("failureThreshold", 3)),
        success_threshold=int(found.get("successThreshold", 1)),
        initial_delay_s=float(found.get("initialDelaySeconds", 0)),
    )


def scaling(service: str) -> Scaling:
    """The scaling rule of `service` in production; "fixed" where nothing scales it."""
    fixed = int(workload(service)["spec"].get("replicas", 1))
    for path in sorted(AUTOSCALING.glob("*.yaml")):
        for found in documents(path):
            target = found.get("spec", {}).get("scaleTargetRef", {}).get("name")
            if target == service and found["kind"] in _READERS:
                return _READERS[found["kind"]](found["spec"])
    return Scaling("fixed", fixed, fixed)


def replication() -> Replication:
    """The database cluster of the production overlay."""
    found = documents(KUBERNETES / "overlays" / "production" / "postgres.yaml")
    return read_replication(next(one for one in found if one["kind"] == "Cluster"))


def read_replication(cluster: Object) -> Replication:
    """What a CloudNativePG Cluster says of it."""
    rule = cluster["spec"]["postgresql"]["synchronous"]
    return Replication(
        int(cluster["spec"]["instances"]), rule["method"], int(rule["number"]), rule.get("dataDurability", "required")
    )


def _cpu(spec: Object) -> Scaling:
    target = next(metric["resource"] for metric in spec["metrics"] if metric["type"] == "Resource")
    return Scaling(
        "cpu", int(spec["minReplicas"]), int(spec["maxReplicas"]), float(target["target"]["averageUtilization"]),
        **_behavior(spec.get("behavior", {})),
    )  # fmt: skip


def _queue(spec: Object) -> Scaling:
    trigger = next(found["metadata"] for found in spec["triggers"] if found["type"] == "rabbitmq")
    behavior = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("behavior", {})
    return Scaling(
        "queue", int(spec["minReplicaCount"]), int(spec["maxReplicaCount"]), float(trigger["value"]),
        queue=trigger["queueName"], polling_s=float(spec.get("pollingInterval", 30)), **_behavior(behavior),
    )  # fmt: skip


def _behavior(behavior: Object) -> Object:
    """One policy a direction; without one, Kubernetes' defaults."""
    read: Object = {"scale_down_after_s": float(behavior.get("scaleDown", {}).get("stabilizationWindowSeconds", 300))}
    for direction, name in (("scaleUp", "scale_up"), ("scaleDown", "scale_down")):
        for policy in behavior.get(direction, {}).get("policies", ())[:1]:
            read |= {f"{name}_by": int(policy["value"]), f"{name}_every_s": float(policy["periodSeconds"])}
    return read


_READERS = {"HorizontalPodAutoscaler": _cpu, "ScaledObject": _queue}
