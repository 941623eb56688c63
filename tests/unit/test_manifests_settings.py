"""What is set in a cluster and in compose: only what exists, all that is needed, and secrets where they are used."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.harness.manifests import (
    OURS,
    THEIRS,
    containers,
    environment,
    known_settings,
    main_container,
    pods,
    references,
    secret_paths,
    settings_of,
    the,
    workload,
)  # fmt: skip
from tools.kustomize import render
from tools.manifests import KUBERNETES
from tools.manifests_check import OVERLAYS, compose
from tools.paths import BROKER_USERS, ROOT, SERVICES
from tools.secret_files import NAMES as SECRET_FILES

PRODUCTION = "overlays/production"


def broker_passwords(users: tuple[str, ...]) -> set[str]:
    """What the prepare job reads without naming it: the passwords of the users that it makes."""
    return {f"{user.upper()}_BROKER_PASSWORD" for user in users}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_is_set_that_does_not_exist(overlay: str) -> None:
    unknown = {(name, variable) for name, pod in pods(overlay) for container in containers(pod)
               for variable in environment(overlay, container)
               if variable not in known_settings() | THEIRS}  # fmt: skip
    assert unknown == set()


def test_compose_sets_nothing_that_does_not_exist() -> None:
    services = compose()["services"]
    unknown = {(name, variable) for name, service in services.items() for variable in service.get("environment", {})
               if variable not in known_settings() | THEIRS}  # fmt: skip
    assert unknown == set()


def local_defaults(name: str) -> set[str]:
    """Settings of a service whose default is this very machine; in a cluster each of them must be set."""
    text = "".join((ROOT / "config" / f"{part}.yaml").read_text(encoding="utf-8") for part in ("base", name))
    return {variable for variable, default in re.findall(r"\$\{(\w+):([^}]*)\}", text)
            if "127.0.0.1" in default and not variable.startswith("ELEMENT_SIM")}  # fmt: skip


@pytest.mark.parametrize("name", SERVICES)
def test_no_default_that_means_this_machine_is_left(name: str) -> None:
    for overlay in OVERLAYS:
        given = environment(overlay, main_container(workload(overlay, name)["spec"]["template"]))
        assert local_defaults(name) <= given.keys(), overlay
        values = " ".join(given.values())
        assert "127.0.0.1" not in values and "localhost" not in values, overlay
    given = compose()["services"][name]["environment"]
    assert local_defaults(name) <= given.keys(), "docker-compose.yml"


def test_production_says_where_every_element_is() -> None:
    container = main_container(workload(PRODUCTION, "activation")["spec"]["template"])
    given = environment(PRODUCTION, container).keys()
    elements = (ROOT / "config" / "elements.yaml").read_text(encoding="utf-8")
    asked = {variable for variable, default in re.findall(r"\$\{(\w+):([^}]*)\}", elements)
             if variable != "NAME" and (not default or "127.0.0.1" in default)}  # fmt: skip
    comment = (KUBERNETES / "overlays/production/activation.yaml").read_text(encoding="utf-8")
    in_secret = {name for name in asked if re.search(rf"#.*\b{name}\b", comment)}
    assert asked <= given | in_secret
    assert "BNG_1_DATABASE_PASSWORD" in comment


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_secret_that_a_setting_asks_for_is_mounted(overlay: str) -> None:
    from_a_whole_secret = {"activation": {"BNG_1_DATABASE_PASSWORD"}}
    for name, pod in pods(overlay):
        for container in containers(pod):
            if container["image"].partition(":")[0] != OURS:
                continue
            wanted = references(environment(overlay, container)) - from_a_whole_secret.get(name, set())
            assert wanted <= secret_paths(pod), f"{overlay}: {name}: {container['name']}"
            mount = {"name": "secrets", "mountPath": "/run/secrets", "readOnly": True}
            assert not wanted or mount in container["volumeMounts"], f"{overlay}: {name}: {container['name']}"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_service_is_given_no_secret_that_it_does_not_use(overlay: str) -> None:
    own = {"gateway": {"TOKEN_KEY"}, "prepare": {"STAFF_PASSWORD", *broker_passwords(BROKER_USERS)}}
    for name, pod in pods(overlay):
        if pod["spec"]["containers"][0]["image"].partition(":")[0] != OURS:
            continue
        used = set().union(*(references(environment(overlay, one)) for one in containers(pod)), own.get(name, set()))
        assert secret_paths(pod) <= used, f"{overlay}: {name}"


def test_compose_gives_each_service_the_secrets_it_asks_for_and_no_other() -> None:
    document = compose()
    assert set(document["secrets"]) == set(SECRET_FILES)
    besides = {"gateway": {"TOKEN_KEY"}, "prepare": {"STAFF_PASSWORD", *broker_passwords(SERVICES)}}
    for name in (*SERVICES, "prepare", "elements"):
        service = document["services"][name]
        wanted = references(service["environment"]) | besides.get(name, set())
        assert set(service.get("secrets", ())) == wanted, name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_manifests_hold_no_secret(overlay: str) -> None:
    assert [one["metadata"]["name"] for one in render(overlay) if one["kind"] == "Secret"] == []
    for name, pod in pods(overlay):
        for container in containers(pod):
            for variable, value in environment(overlay, container).items():
                assert not re.search(r"://\w+:[^$@]+@", value), f"{name}: {variable} has a password in it"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_read_the_settings_of_this_repository(overlay: str) -> None:
    (config,) = [one for one in render(overlay) if one["metadata"]["name"].startswith("oss-config-")]
    files = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "config").glob("*.yaml")}
    del files["kustomization.yaml"]
    assert config["data"] == files


def broker_secrets(pod: dict[str, Any]) -> dict[str, str]:
    """By file under /run/secrets, the Secret that holds a pod's user and password on the broker."""
    volume = next((one for one in pod["spec"].get("volumes", ()) if one["name"] == "secrets"), {})
    return {item["path"]: source["secret"]["name"] for source in volume.get("projected", {}).get("sources", ())
            for item in source["secret"].get("items", ()) if item["path"].startswith("BROKER_")}  # fmt: skip


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_service_comes_to_the_broker_as_itself_and_only_the_prepare_job_as_its_first_user(overlay: str) -> None:
    found = {name: broker_secrets(pod) for name, pod in pods(overlay)}
    for name in (*SERVICES, "prepare"):
        secret = "rabbitmq-default-user" if name == "prepare" else f"broker-{name}"
        assert found[name] == {"BROKER_USER": secret, "BROKER_PASSWORD": secret}, name
        assert "$(BROKER_USER):$(BROKER_PASSWORD)@" in settings_of(overlay)["AMQP_URI"]
    for name in SERVICES:
        address = compose()["services"][name]["environment"]["AMQP_URI"]
        assert address.startswith(f"amqp://oss_{name}:$({name.upper()}_BROKER_PASSWORD)@"), name


def test_production_checks_certificates_of_broker_and_database() -> None:
    settings = settings_of(PRODUCTION)
    assert settings["AMQP_URI"].startswith("amqps://") and settings["PGSSLMODE"] == "verify-full"
    for name, pod in pods(PRODUCTION):
        volume = next(one for one in pod["spec"]["volumes"] if one["name"] == "authorities")
        files = {item["path"]: item["key"] for source in volume["projected"]["sources"]
                 for item in source["secret"]["items"]}  # fmt: skip
        assert files == {"broker.crt": "ca.crt", "postgres.crt": "ca.crt"}, f"{name}: never a key"
        for container in containers(pod):
            given = environment(PRODUCTION, container)
            (mount,) = [one for one in container["volumeMounts"] if one["name"] == "authorities"]
            for variable in ("AMQP_CA_FILE", "PGSSLROOTCERT"):
                folder, _, file = given[variable].rpartition("/")
                assert folder == mount["mountPath"] and file in files, f"{name}: {container['name']}: {variable}"
    prepare = main_container(the(PRODUCTION, "Job", "prepare")["spec"]["template"])
    assert environment(PRODUCTION, prepare)["AMQP_MANAGEMENT_URI"].startswith("https://")
