"""The rendered manifests as tests look at them: workloads, pods, containers, what is set and the secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tools.kustomize import render
from tools.paths import ROOT

Object = dict[str, Any]
WORKLOADS = ("Deployment", "StatefulSet", "Job")
OURS = "oss-nameko"
# Read by what is in the image, without a line in config/*.yaml.
BESIDES = {"STAFF_PASSWORD", "ELEMENT_SIM_STATE", "SECRETS_DIR", "INSTANCE_ID", "AMQP_MANAGEMENT_URI"}
# Read by official images, and by libpq.
THEIRS = {
    "PGSSLMODE", "PGSSLROOTCERT",
    "POSTGRES_PASSWORD_FILE", "PGDATA",
    "RABBITMQ_DEFAULT_USER", "RABBITMQ_DEFAULT_PASS", "RABBITMQ_DEFAULT_VHOST",
}  # fmt: skip


def the(overlay: str, kind: str, name: str) -> Object:
    found = [one for one in render(overlay) if one["kind"] == kind and one["metadata"]["name"] == name]
    assert len(found) == 1, f"{overlay}: {kind}/{name}: {len(found)}"
    return found[0]


def workload(overlay: str, name: str) -> Object:
    return the(overlay, "StatefulSet" if name == "gateway" else "Deployment", name)


def pods(overlay: str) -> Iterator[tuple[str, Object]]:
    for found in render(overlay):
        if found["kind"] in WORKLOADS:
            yield found["metadata"]["name"], found["spec"]["template"]


def containers(pod: Object) -> list[Object]:
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]


def main_container(pod: Object) -> Object:
    return next(one for one in pod["spec"]["containers"])


def settings_of(overlay: str) -> dict[str, str]:
    (found,) = [one for one in render(overlay) if one["metadata"]["name"].startswith("oss-settings-")]
    return dict(found["data"])


def environment(overlay: str, container: Object) -> dict[str, str]:
    shared = settings_of(overlay) if container.get("envFrom") else {}
    return shared | {one["name"]: one.get("value", "") for one in container.get("env", ())}


def secret_paths(pod: Object) -> set[str]:
    """The files under /run/secrets of a pod; a Secret mounted whole gives no names here."""
    volume = next((one for one in pod["spec"].get("volumes", ()) if one["name"] == "secrets"), {})
    sources = volume.get("projected", {}).get("sources", ())
    return {item["path"] for source in sources for item in source["secret"].get("items", ())}


def known_settings() -> set[str]:
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "config").glob("*.yaml"))
    return set(re.findall(r"\$\{(\w+)", text)) | BESIDES


def references(values: dict[str, str]) -> set[str]:
    return set(re.findall(r"\$\((\w+)\)", " ".join(values.values())))
