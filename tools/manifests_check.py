"""Is what we ship well formed? `python -m tools.manifests_check`, part of `make check`. Nothing here needs a cluster.

- the Dockerfile: hadolint
- docker-compose.yml: the compose specification, as the library compose-spec knows it
- both overlays, rendered by kustomize: kubernetes-validate for Kubernetes' own kinds; for custom resources the strict
  schemas in deploy/kubernetes/schemas, which name only the fields that are used here
- Prometheus rules: `promtool check rules`, and `promtool test rules` for when they fire
- workflows: actionlint
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from compose_spec import PyCompose

from tools.kustomize import RenderFailed, render
from tools.manifests import KUBERNETES, Object, PlainLoader, documents
from tools.packages import PackagesMissing, Server, ensure
from tools.paths import ROOT

KUBERNETES_VERSION = "1.33"
OVERLAYS = ("overlays/demo", "overlays/production")
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
WORKFLOWS = ROOT / ".github" / "workflows"
MONITORING = KUBERNETES / "components" / "monitoring"
PROMTOOL = Server("promtool", ("prometheus",), lambda: shutil.which("promtool") is not None,
                  "Elsewhere it is part of Prometheus (macOS: brew install prometheus).")  # fmt: skip

_INTERPOLATION = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?::?(?P<how>[-?])(?P<text>[^}]*))?\})")


def interpolate(text: str, environment: Mapping[str, str]) -> str:
    """`$$`, `${NAME}`, `${NAME:-default}` and `${NAME:?message}` as compose reads them."""

    def value(found: re.Match[str]) -> str:
        if found["dollar"]:
            return "$"
        default = found["text"] if found["how"] == "-" else ""
        return environment.get(found["name"]) or default or ""

    return _INTERPOLATION.sub(value, text)


def compose(environment: Mapping[str, str] | None = None) -> Object:
    """docker-compose.yml as compose reads it: merges done, variables replaced."""

    def read(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: read(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [read(inner) for inner in value]
        return interpolate(value, environment or {}) if isinstance(value, str) else value

    loaded: Object = read(yaml.load(COMPOSE.read_text(encoding="utf-8"), Loader=PlainLoader))
    return loaded


def compose_faults(document: Object) -> Iterator[str]:
    """What the compose specification has against `document`."""
    try:
        PyCompose.from_json(json.dumps(document)).validate()
    except ValueError as error:
        yield f"docker-compose.yml: {error}"
    volumes = document.get("volumes", {})
    for name, service in document["services"].items():
        for volume in service.get("volumes", ()):
            source = str(volume).partition(":")[0]
            if source not in volumes and not source.startswith((".", "/")):
                yield f"docker-compose.yml: {name} mounts the volume {source!r}, which is not declared"


def custom_kinds() -> dict[tuple[str, str], Any]:
    """A validator for each kind of custom resource, by apiVersion and kind."""
    loaded = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((KUBERNETES / "schemas").glob("*.json"))]
    return {(found["properties"]["apiVersion"]["const"], found["properties"]["kind"]["const"]):
            jsonschema.Draft202012Validator(found) for found in loaded}  # fmt: skip


def object_fault(found: Object, custom: Mapping[tuple[str, str], Any]) -> str | None:
    """What is wrong with one Kubernetes object, with the path of the field; None where nothing is."""
    name = f"{found.get('kind')}/{found.get('metadata', {}).get('name')}"
    validator = custom.get((str(found.get("apiVersion")), str(found.get("kind"))))
    try:
        if validator is not None:
            validator.validate(found)
        else:
            kubernetes_validate.validate(found, KUBERNETES_VERSION, strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
        return f"{name}: {'.'.join(map(str, error.path))}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError:
        return f"{name}: no schema for {found.get('apiVersion')}; write one in deploy/kubernetes/schemas"
    return None


def overlay_faults(overlay: str) -> Iterator[str]:
    """What is wrong with the objects of an overlay."""
    custom = custom_kinds()
    seen: set[tuple[Any, ...]] = set()
    for found in render(overlay):
        if fault := object_fault(found, custom):
            yield f"{overlay}: {fault}"
        key = (found["apiVersion"], found["kind"], found["metadata"].get("namespace"), found["metadata"]["name"])
        if key in seen:
            yield f"{overlay}: {found['kind']}/{found['metadata']['name']} is there twice"
        seen.add(key)


def rule_groups() -> Object:
    """The alarms as Prometheus itself reads them."""
    (found,) = documents(MONITORING / "rules.yaml")
    return {"groups": found["spec"]["groups"]}


def rule_faults() -> Iterator[str]:
    """What promtool says against the alarms and their tests. Raises PackagesMissing."""
    ensure(PROMTOOL)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "rules.yml").write_text(yaml.safe_dump(rule_groups()), encoding="utf-8")
        shutil.copy(MONITORING / "rules.test.yaml", folder)
        yield from _run(["promtool", "check", "rules", "rules.yml"], folder)
        yield from _run(["promtool", "test", "rules", "rules.test.yaml"], folder)


def dockerfile_faults(path: Path = DOCKERFILE) -> Iterator[str]:
    """What hadolint says."""
    yield from _run([_ours("hadolint"), "--no-color", str(path)], ROOT)


def workflow_faults(folder: Path = WORKFLOWS) -> Iterator[str]:
    """What actionlint says. Shell and Python inside a workflow are checked where shellcheck is on the path."""
    files = sorted(str(path) for path in folder.glob("*.y*ml"))
    yield from _run([_ours("actionlint"), "-no-color", *files], ROOT)


def _ours(name: str) -> str:
    """A program of a library in requirements.lock, beside this interpreter."""
    return str(Path(sys.executable).parent / name)


def _run(command: list[str], folder: Path) -> Iterator[str]:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    if done.returncode:
        yield f"{Path(command[0]).name}: {(done.stdout + done.stderr).strip()}"


CHECKS: dict[str, Callable[[], Iterator[str]]] = {
    "deploy/Dockerfile": dockerfile_faults,
    "docker-compose.yml": lambda: compose_faults(compose()),
    **{f"deploy/kubernetes/{overlay}": lambda overlay=overlay: overlay_faults(overlay) for overlay in OVERLAYS},  # type: ignore[misc]
    "Prometheus rules": rule_faults,
    ".github/workflows": workflow_faults,
}


def main() -> int:
    """Run every check, say how each ended; 1 where one found something or could not run."""
    failed = False
    for name, check in CHECKS.items():
        started = time.monotonic()
        try:
            faults = list(check())
        except (PackagesMissing, RenderFailed, OSError) as error:
            faults = [f"could not be checked: {error}"]
        failed = failed or bool(faults)
        print(f"{name}: {'failed' if faults else 'ok'} ({time.monotonic() - started:.1f} s)")
        print("".join(f"  {fault}\n" for fault in faults), end="")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
