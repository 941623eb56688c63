"""What carries the system: children that never outlive it, secrets that stay private, waiting with a deadline."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tools import packages
from tools.keys import load_secrets, read_env
from tools.packages import Server
from tools.paths import ROOT
from tools.ports import free_port, is_free
from tools.process import Child, has_ended
from tools.waiting import NotInTime, wait_until

SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()",
]


def a_child(folder: Path, argv: list[str]) -> Child:
    return Child("sleeper", argv, env=dict(os.environ), log=folder / "log", cwd=folder)


def test_child_stops_when_asked_and_starts_again(tmp_path: Path) -> None:
    child = a_child(tmp_path, SLEEPER)
    child.start()
    first = child.pid
    assert child.stop()
    child.start()
    assert child.alive and child.pid != first
    child.kill()
    assert child.exit_code == -signal.SIGKILL


def test_child_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    child = a_child(tmp_path, STUBBORN)
    child.start()
    wait_until(lambda: "ready" in child.tail(), "the child ignores SIGTERM")
    assert child.stop(timeout_s=0.2) is False
    assert not child.alive


def test_frozen_child_stops_too(tmp_path: Path) -> None:
    child = a_child(tmp_path, SLEEPER)
    child.start()
    child.freeze()
    assert child.stop()


def test_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    # Linux only, where the kernel does it.
    script = (
        "import os, pathlib, sys; from tools.process import Child\n"
        "here = pathlib.Path(sys.argv[1])\n"
        "child = Child('c', [sys.executable, '-c', 'import signal; signal.pause()'],"
        " env=dict(os.environ), log=here / 'log', cwd=here)\n"
        "child.start(); print(child.pid, flush=True); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    pid = int(done.stdout)

    def gone() -> bool:
        return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

    wait_until(gone, "the child is gone", answered=(psutil.NoSuchProcess,))


def test_nothing_of_ours_runs_in_the_forked_child(tmp_path: Path) -> None:
    # A hook for forks that starts a thread (OpenTelemetry's does) would let every greenlet run there once more.
    script = (
        "import os, pathlib, sys; from tools.process import Child\n"
        "here = pathlib.Path(sys.argv[1])\n"
        "os.register_at_fork(after_in_child=lambda: (here / 'ran').touch())\n"
        "child = Child('c', ['true'], env=dict(os.environ), log=here / 'log', cwd=here)\n"
        "child.start(); print(child._process.wait())\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "0\n", done.stderr
    assert not (tmp_path / "ran").exists()


def test_what_ended_by_itself_is_told_from_what_was_stopped(tmp_path: Path) -> None:
    child = a_child(tmp_path, SLEEPER)
    assert not has_ended(child), "it was never started"
    child.start()
    os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: has_ended(child), "it has ended")
    child.start()
    assert not has_ended(child)
    child.stop()
    assert not has_ended(child), "it was asked to"


def a_server(name: str, *packages: str, present: bool = False) -> Server:
    return Server(name, packages, lambda: present, "Or do without.")


def test_missing_packages_are_installed_in_one_go_and_start_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, ran, installed = tmp_path / "policy-rc.d", [], []

    def run(command: list[str], **_: object) -> None:
        assert policy.stat().st_mode & stat.S_IXUSR and "exit 101" in policy.read_text()
        ran.append(command)
        installed.extend(command[5:])

    monkeypatch.setattr(packages, "_START_POLICY", policy)
    monkeypatch.setattr(packages, "_LOCK", tmp_path / "lock")
    monkeypatch.setattr(packages.os, "geteuid", lambda: 0)
    monkeypatch.setattr(packages.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(packages.subprocess, "run", run)
    one = Server("one", ("first", "second"), lambda: "second" in installed, "")
    other = Server("other", ("third",), lambda: "third" in installed, "")
    packages.ensure(one, a_server("there", "fourth", present=True), other)
    assert [command[2] for command in ran] == ["update", "install"]
    assert installed == ["first", "second", "third"]
    assert not policy.exists()


def test_whoever_may_not_install_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.os, "geteuid", lambda: 1000)
    with pytest.raises(packages.PackagesMissing) as told:
        packages.ensure(a_server("a node", "netconfd", "openssh-server"), a_server("RADIUS", "freeradius"))
    assert str(told.value) == (
        "not on this machine: a node, RADIUS. "
        "Install it (Debian, Ubuntu: sudo apt-get install netconfd openssh-server freeradius). Or do without."
    )


def test_secrets_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    made = load_secrets(tmp_path)
    assert load_secrets(tmp_path) == made
    assert len(made["TOKEN_KEY"]) >= 32
    assert stat.S_IMODE((tmp_path / "secrets.env").stat().st_mode) == 0o600


def test_secret_in_the_environment_wins_and_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAFF_PASSWORD", "from outside")
    assert load_secrets(tmp_path)["STAFF_PASSWORD"] == "from outside"
    assert "from outside" not in read_env(tmp_path / "secrets.env").values()


def test_what_another_process_has_installed_meanwhile_is_not_installed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([False, True])
    monkeypatch.setattr(packages, "_LOCK", tmp_path / "lock")
    monkeypatch.setattr(packages.os, "geteuid", lambda: 0)
    monkeypatch.setattr(packages.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(packages, "_install", lambda names: pytest.fail(f"{names} installed a second time"))

    packages.ensure(Server("one", ("first",), lambda: next(looks), "Or do without."))

    assert next(looks, None) is None


def test_ports_come_from_the_range_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTS", "20100-20199")
    assert all(20100 <= free_port() <= 20199 for _ in range(20))
    for wrong in ("20100", "20199-20100", "0-80000", "high-low"):
        monkeypatch.setenv("PORTS", wrong)
        with pytest.raises(ValueError, match=f"PORTS is '{wrong}'"):
            free_port()


def test_free_port_is_free_and_given_once() -> None:
    ports = {free_port() for _ in range(20)}
    assert len(ports) == 20
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        assert not is_free(listener.getsockname()[1])


def test_waiting_ends_with_what_was_waited_for_and_the_last_error() -> None:
    def refuse() -> bool:
        raise ConnectionRefusedError("nobody there")

    with pytest.raises(NotInTime, match=r"the door opens .*nobody there"):
        wait_until(refuse, "the door opens", timeout_s=0, interval_s=0)
    with pytest.raises(KeyError):
        wait_until(lambda: {}["x"], "a mistake is not waited out", timeout_s=60)
