"""`make run`, `make up`, `make down`, `make shell`: the system for a person at a terminal.

`run` stays in the foreground until Ctrl-C; `up` is the same process in the background, found again by `down`.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.environment import PortTaken, environment_of
from tools.keys import load_secrets, read_env
from tools.packages import PackagesMissing
from tools.paths import OPERATOR, ROOT, state_dir
from tools.samples import put_samples_through
from tools.system import System
from tools.unfinished import RestoreUnfinished, check_finished
from tools.waiting import NotInTime, wait_until

_RESTART_PAUSE_S = 2.0


class Stopped(Exception):
    """Ctrl-C or SIGTERM came."""


class AlreadyRunning(Exception):
    """Another process holds this state folder; the text names it."""


def say(text: str) -> None:
    """One line of progress."""
    print(f"» {text}", flush=True)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the state folder's lock, which the kernel frees whatever happens. Raises AlreadyRunning."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "supervisor.pid").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise AlreadyRunning(f"the system in {folder} runs already (process {file.read().strip()})") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def holder(folder: Path) -> int | None:
    """The id of the process that runs the system in `folder`, or None."""
    path = folder / "supervisor.pid"
    if not path.exists():
        return None
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return int(file.read().strip() or 0)
    return None


def _stop_on_signal(_number: int, _frame: object) -> None:
    raise Stopped


def _watch(system: System) -> None:
    """Stay until a signal comes; start again what ended by itself, and say so."""
    while True:
        for part in system.ended():
            for child in part.children:
                if not child.alive:
                    say(f"{child.name} ended with {child.exit_code} and is started again, see {child.log}")
            try:
                part.start()
            except NotInTime as error:
                say(f"{part.name} does not start and is tried again: {error}")
        time.sleep(_RESTART_PAUSE_S)


def run(folder: Path, *, samples: bool) -> int:
    """Bring the system up, put the sample orders through, stay until Ctrl-C or SIGTERM, stop it cleanly."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop_on_signal)
    with only_one(folder):
        check_finished(folder)
        system = System(folder, fixed_ports=True, say=say)
        failed = False
        try:
            system.up()
            if samples:
                put_samples_through(system.url, system.env["STAFF_PASSWORD"], say)
            _welcome(system)
            _watch(system)
        except Stopped:
            print(flush=True)
        except Exception:
            failed = True
            raise
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            system.down()
            if not failed:
                say("stopped")
    return 0


def _welcome(system: System) -> None:
    print(
        f"\nThe system is up.\n"
        f"  HTTP interface   {system.url}\n"
        f"  pages            {system.url}/signup (subscribers), {system.url}/signin (staff)\n"
        f"  documentation    {system.url}/docs   (OpenAPI: {system.url}/openapi.json)\n"
        f"  staff users      operator, dispatcher, dispatcher2, kim, lee, park, choi, jung (config/seed.yaml)\n"
        f"  their password   STAFF_PASSWORD in {system.folder / 'secrets.env'}\n"
        f"{_elements(system)}"
        f"  logs             {system.folder / 'logs'}\n"
        f"  operators        make shell\n",
        flush=True,
    )
    (system.folder / "ready").write_text(system.url)


def _elements(system: System) -> str:
    if system.network is None:
        return f"  elements         simulated, port {system.element_port}\n"
    names = ", ".join(system.network.elements)
    return f"  elements         {names} (where: {system.folder / 'system.env'})\n" if names else ""


def up(folder: Path, *, samples: bool) -> int:
    """Start the system in the background; returns when it is up, or with its output when it failed."""
    if (pid := holder(folder)) is not None:
        print(f"the system in {folder} runs already (process {pid})")
        return 0
    ready, log = folder / "ready", folder / "logs" / "run.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tools.run", "run"] + ([] if samples else ["--no-samples"])
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    say("starting in the background")
    wait_until(lambda: ready.exists() or process.poll() is not None, f"the system is up, see {log}", timeout_s=600)
    print(log.read_text(errors="replace"))
    return process.poll() or 0


def down(folder: Path) -> int:
    """Stop the system that runs in the background (or in another terminal)."""
    pid = holder(folder)
    if pid is None:
        print(f"nothing runs in {folder}")
        return 0
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: holder(folder) is None, f"process {pid} stops the system", timeout_s=120, interval_s=0.2)
    (folder / "ready").unlink(missing_ok=True)
    say("stopped")
    return 0


def shell(folder: Path) -> int:
    """Nameko's shell against the running system, with `n.rpc.<service>` at hand, as the operators' broker user."""
    env = environment_of(OPERATOR, running_environment(folder))
    inherited = {name: value for name, value in os.environ.items() if name != "AMQP_MANAGEMENT_URI"}
    return subprocess.call([sys.executable, "-m", "tools.shell"], cwd=ROOT, env=inherited | env)


def running_environment(folder: Path) -> dict[str, str]:
    """What the processes of the system in `folder` run with. Raises NotInTime where none runs."""
    if holder(folder) is None:
        raise NotInTime(f"nothing runs in {folder}: start it with `make run` or `make up`")
    return read_env(folder / "system.env")


def main() -> int:
    """Do what the argument says; errors a person can act on are said without a traceback."""
    parser = argparse.ArgumentParser(prog="tools.run", description=__doc__)
    parser.add_argument("what", choices=["run", "up", "down", "shell", "secrets"])
    parser.add_argument("--no-samples", action="store_true", help="leave the sample orders out")
    args = parser.parse_args()
    folder = state_dir()
    try:
        if args.what in ("run", "up"):
            return {"run": run, "up": up}[args.what](folder, samples=not args.no_samples)
        if args.what == "secrets":
            load_secrets(folder)
            return 0
        return {"down": down, "shell": shell}[args.what](folder)
    except (AlreadyRunning, PortTaken, PackagesMissing, NotInTime, RestoreUnfinished) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
