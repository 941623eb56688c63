"""The image holds what its commands need, starts with its secrets, and leaves in order."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import sqlalchemy as sa
from honcho.environ import parse_procfile

from tools import image_lock, leave, migrated, sbom, secret_files
from tools.entrypoint import Misconfigured, complete, read_secrets
from tools.environment import HTTP
from tools.manifests_check import DOCKERFILE
from tools.paths import ROOT, SERVICES
from tools.ports import free_port

INSTRUCTIONS = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
FOLDERS = ("chassis", "contracts", "element_sim", *(f"{name}_svc" for name in SERVICES))


def copied() -> set[str]:
    lines = [line.split()[1:-1] for line in INSTRUCTIONS if line.startswith("COPY ") and "--from" not in line]
    return {source for line in lines for source in line}


def in_the_image() -> list[Path]:
    tools = [ROOT / name for name in copied() if name.startswith("tools/")]
    return [*tools, *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_everything_that_a_command_needs_is_copied() -> None:
    assert {"config", *FOLDERS} <= copied()
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for source in copied():
        top = source.partition("/")[0]
        assert f"!{source}" in ignore or f"!{top}" in ignore or (top.endswith("_svc") and "!*_svc" in ignore), source


def test_tools_in_the_image_import_only_what_is_there() -> None:
    there = {name.removesuffix(".py").replace("/", ".") for name in copied() if name.startswith("tools/")}
    modules = {f"tools.{path.stem}" for path in (ROOT / "tools").glob("*.py")}
    needed = {name for path in in_the_image() for name in imports(path)} & modules
    assert needed <= there


def test_the_image_has_every_library_that_its_code_imports() -> None:
    locked = image_lock.entries(image_lock.IMAGE_LOCK.read_text(encoding="utf-8")).keys()
    brought_by = packages_distributions()
    for path in in_the_image():
        for top in {name.partition(".")[0] for name in imports(path)} - {*FOLDERS, "tools"}:
            if top not in sys.stdlib_module_names:
                found = {image_lock.canonical(name) for name in brought_by.get(top, ())}
                assert found & locked, f"{path.relative_to(ROOT)} imports {top}; put it above {image_lock.END!r}"


def test_the_image_s_lock_is_part_of_the_lock_and_current() -> None:
    assert image_lock.main(["--check"]) == 0
    names = image_lock.entries(image_lock.IMAGE_LOCK.read_text(encoding="utf-8"))
    assert not {"pytest", "playwright", "mypy", "honcho"} & names.keys(), "what tests need stays out"


def test_a_lock_is_cut_along_who_asked_for_what() -> None:
    asked = {"a": "-r requirements.in", "b": "a", "c": "b, d", "d": "-r requirements.in", "e": "d"}
    lock = "".join(f"{name}==1 \\\n    --hash=sha256:0\n    # via {via}\n" for name, via in asked.items())
    assert image_lock.entries(image_lock.image_lock(lock, {"a"})).keys() == {"a", "b", "c"}
    with pytest.raises(ValueError, match=r"not in requirements.lock: z"):
        image_lock.image_lock(lock, {"z"})
    with pytest.raises(ValueError, match="Not in the image"):
        image_lock.wanted("nameko\n")


def test_the_image_starts_the_gateway_as_the_procfile_does() -> None:
    commands = dict(parse_procfile((ROOT / "Procfile").read_text(encoding="utf-8")).processes)
    (command,) = [json.loads(line.removeprefix("CMD ")) for line in INSTRUCTIONS if line.startswith("CMD ")]
    assert command == shlex.split(commands["gateway"])
    (health,) = [line for line in INSTRUCTIONS if line.startswith("HEALTHCHECK ")]
    assert health.endswith(f'CMD ["python", "-m", "tools.probe", "{HTTP["gateway"][1]}"]')
    (start,) = [json.loads(line.removeprefix("ENTRYPOINT ")) for line in INSTRUCTIONS if line.startswith("ENTRYPOINT ")]
    assert start == ["tini", "--", "python", "-m", "tools.entrypoint"]
    assert [line for line in INSTRUCTIONS if line.startswith("USER ")] == ["USER 10001:10001"]


def test_secrets_become_variables_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / "TOKEN_KEY").write_text("from a file\n")
    (tmp_path / "olt-1-key").write_text("an SSH key")
    (tmp_path / "..data").mkdir()
    assert read_secrets(tmp_path) == {"TOKEN_KEY": "from a file"}
    assert complete({"TOKEN_KEY": "set"}, read_secrets(tmp_path)) == {"TOKEN_KEY": "set"}
    assert read_secrets(tmp_path / "nowhere") == {}


def test_a_password_is_quoted_where_it_goes_into_an_address_and_is_never_read_twice() -> None:
    password = "a/b@c:%$(PLAIN)"
    given = {"URI": "amqp://oss:$(PASSWORD)@rabbitmq/oss", "PLAIN": "is $(PASSWORD)", "other": "$(left alone)"}
    assert complete(given, {"PASSWORD": password}) == {
        "PASSWORD": password,
        "URI": "amqp://oss:a%2Fb%40c%3A%25%24%28PLAIN%29@rabbitmq/oss",  # not a secret
        "PLAIN": f"is {password}",
        "other": "$(left alone)",
    }


@pytest.mark.parametrize(("content", "said"), [(b"", "secret KEY is empty"), (b"\xff", "secret KEY cannot be read")])
def test_a_broken_secret_is_named_and_not_shown(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "KEY").write_bytes(content)
    with pytest.raises(Misconfigured, match=said):
        read_secrets(tmp_path)


def start(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tools.entrypoint", *command], cwd=ROOT, text=True, timeout=30,
                          capture_output=True, env={"PATH": os.environ["PATH"], **environment})  # fmt: skip


def test_the_entrypoint_becomes_the_command(tmp_path: Path) -> None:
    (tmp_path / "PASSWORD").write_text("p w")
    done = start("sh", "-c", 'echo "$URI"; exit 7', SECRETS_DIR=str(tmp_path), URI="a://u:$(PASSWORD)@h")
    assert (done.stdout, done.returncode) == ("a://u:p%20w@h\n", 7)  # not a secret


@pytest.mark.parametrize(("command", "environment", "code", "said"), [
    (["true"], {"DB_URI": "a://$(ABSENT)"}, 78, "DB_URI asks for $(ABSENT), which is neither a variable nor a file"),
    ([], {}, 78, "no command"),
    (["no-such-program"], {}, 127, "no-such-program: No such file"),
])  # fmt: skip
def test_the_entrypoint_says_why_it_does_not_start(
    tmp_path: Path, command: list[str], environment: dict[str, str], code: int, said: str
) -> None:
    done = start(*command, SECRETS_DIR=str(tmp_path), **environment)
    assert done.returncode == code and said in done.stderr


def test_secret_files_are_made_once_and_their_folder_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert secret_files.make(folder) == list(secret_files.NAMES)
    before = {path.name: path.read_text() for path in folder.iterdir()}
    assert secret_files.make(folder) == []
    assert {path.name: path.read_text() for path in folder.iterdir()} == before
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(set(before.values())) == len(before) and all(len(value) == 64 for value in before.values())
    assert read_secrets(folder) == before
    assert secret_files.SERVICES == SERVICES


@contextmanager
def metrics(text: str) -> Iterator[int]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *arguments: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_journal_s_length_is_read_from_the_metrics() -> None:
    with metrics("# TYPE gateway_journal_pending gauge\ngateway_journal_pending 3.0\n") as port:
        assert leave.journal_pending(port) == 3
    with metrics("oss_outbox_unsent 0\n") as port:
        assert leave.journal_pending(port) is None
    assert leave.journal_pending(free_port()) is None
    assert f'"{leave.PENDING}"' in (ROOT / "gateway_svc" / "extensions.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(("pending", "takes_s"), [([3, 1, 0], 6.0), ([5] * 50, 15.0), ([2, None], 5.5)])
def test_leaving_waits_for_the_journal_and_not_for_ever(pending: list[int | None], takes_s: float) -> None:
    clock, answers = [0.0], iter(pending)

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    leave.leave(5, lambda: next(answers), 10, sleep=sleep, now=lambda: clock[0])
    assert clock[0] == takes_s


def test_a_pod_starts_on_the_tables_of_its_release_or_of_a_later_one() -> None:
    head, known = migrated.revisions("scheduling")
    assert head in known and len(known) >= 2
    older = next(iter(known - {head}))
    assert not migrated.is_new_enough(None, head, known)
    assert not migrated.is_new_enough(older, head, known)
    assert migrated.is_new_enough(head, head, known)
    assert migrated.is_new_enough("9999", head, known), "what this release does not know, a later one made"


def test_a_database_without_tables_is_not_migrated_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"sqlite:///{tmp_path}/order.db"
    monkeypatch.setenv("ORDER_DB_URI", uri)
    assert migrated.main(["order", "--timeout", "0"]) == 1
    assert "order's database is at" in capsys.readouterr().err
    with sa.create_engine(uri).begin() as connection:
        connection.execute(sa.text("create table alembic_version (version_num varchar)"))
        head, _ = migrated.revisions("order")
        connection.execute(sa.text("insert into alembic_version values (:head)"), {"head": head})
    assert migrated.main(["order", "--timeout", "0"]) == 0


def test_the_sbom_lists_what_the_image_has(tmp_path: Path) -> None:
    assert sbom.main([str(tmp_path / "deep" / "sbom.json")]) == 0
    made = json.loads((tmp_path / "deep" / "sbom.json").read_text(encoding="utf-8"))
    locked = image_lock.entries(image_lock.IMAGE_LOCK.read_text(encoding="utf-8"))
    assert {found["name"] for found in made["components"]} == locked.keys()
    assert all(re.fullmatch(r"pkg:pypi/[a-z0-9-]+@\S+", found["purl"]) for found in made["components"])
    assert all(found["externalReferences"][0]["hashes"][0]["alg"] == "SHA-256" for found in made["components"])
    assert made["metadata"]["component"]["version"] == "0.1.0"
    with pytest.raises(ValueError, match="not a pinned library"):
        sbom.component("nameko>=2")
