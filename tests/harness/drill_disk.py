"""Disk full for the journal: intake says 503 before it lies, loses nothing it has promised, and recovers with room."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import requests

from tests.harness.client import Client, Json, an_order
from tests.harness.crew import OUTCOME, Crew
from tests.harness.drill_checker import judge
from tests.harness.drill_load import MENUS
from tests.harness.drill_stage import Stage
from tests.harness.small_disk import SmallDisk, small_disk
from tools.drill_report import Result
from tools.paths import ROOT
from tools.system import System
from tools.waiting import wait_until

NAME = "disk full"


class Intake:
    """Places orders and keeps what was answered: `taken` (order id → key) and the keys that were `refused`."""

    def __init__(self, system: System) -> None:
        self._client = Client(system.url, staff_password=system.env["STAFF_PASSWORD"])
        self.crew = Crew(system, hands=4)
        self.taken: dict[str, str] = {}
        self.refused: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.problems: list[str] = []

    def place(self, number: int) -> list[int]:
        """Place so many, each with a key of its own; return the statuses."""
        return [self._place(at) for at in range(number)]

    def _place(self, at: int) -> int:
        key = uuid4().hex
        body: Json = an_order(items=MENUS[at % len(MENUS)])
        answer = self._client.request("POST", "/api/orders", json=body, headers={"Idempotency-Key": key})
        self.statuses[answer.status_code] += 1
        if answer.status_code in (201, 202):
            order_id = str(answer.json()["order_id"])
            self.taken[order_id] = key
            self.crew.adopt(order_id, str(answer.json()["token"]), "complete" if at % 3 == 0 else "cancel_at_once")
        else:
            self.refused.append(key)
            self._check_refusal(answer)
        return answer.status_code

    def _check_refusal(self, answer: requests.Response) -> None:
        said = answer.headers.get("Content-Type", "")
        if answer.status_code != 503 or "application/problem+json" not in said or "Retry-After" not in answer.headers:
            self.problems.append(f"a refusal that is none: {answer.status_code} {said} {answer.text[:200]}")


def run(stage: Stage) -> Result:
    """The journal's disk runs full with orders waiting in it, its gateway is killed meanwhile, then there is room."""
    system, begun, amount = stage.system, time.monotonic(), stage.amount(4, 60)
    with gateway_on_small_disk(system) as disk:
        intake = Intake(system)
        intake.place(amount)
        system.stop("order")
        intake.place(amount)
        waiting = intake.statuses[202]
        stage.say(f"the disk ({disk.how}) runs full")
        disk.fill()
        before = len(intake.refused)
        # What the journal's own files have left takes a few more: what is answered with 2xx is on the disk.
        wait_until(lambda: intake.place(1) == [503], "the full disk is said", timeout_s=60)
        intake.place(amount)
        problems = _while_full(system, intake)
        stage.say("kill -9 of the gateway, with its disk full")
        system.kill("gateway")
        system.start("gateway")
        if disk.how == "tmpfs" and 503 not in intake.place(1):
            problems.append("after kill -9 the disk was not full any more")
        refused = len(intake.refused) - before
        system.start("order")
        disk.free()
        recovered_at = time.monotonic()
        wait_until(lambda: intake.place(1) == [201], "orders are placed again", timeout_s=60)
        recovered_s = time.monotonic() - recovered_at
        intake.crew.finish(intake.taken)
        notes = [
            disk.how, f"answers {dict(sorted(intake.statuses.items()))}", f"{waiting} orders waited in the journal",
            f"{refused} requests refused with 503", f"recovered {recovered_s:.1f} s after there was room",
        ]  # fmt: skip
    return _judged(stage, system, intake, begun, notes, problems)


@contextmanager
def gateway_on_small_disk(system: System) -> Iterator[SmallDisk]:
    """The gateway's journal lies on a small disk until the block ends; then it goes on with a copy of that journal."""
    child = system.processes["gateway"]
    argv, env = list(child.argv), dict(child.env)
    folder = system.folder / "small-disk"
    log = system.folder / "logs" / "small-disk.log"
    system.stop("gateway")
    try:
        with small_disk(folder, ROOT, log, lambda: system.processes["gateway"]) as disk:
            child.argv = disk.command(argv)
            child.env["JOURNAL_PATH"] = str(folder / "journal.sqlite3")
            try:
                system.start("gateway")
                yield disk
            finally:
                disk.free()
                child.stop()
                disk.copy_to(system.folder / "small-disk-copy")
    finally:
        child.argv, child.env = argv, env
        system.start("gateway")
        shutil.rmtree(folder, ignore_errors=True)


def _while_full(system: System, intake: Intake) -> list[str]:
    """A full disk lets us read and be alive; a cancel that cannot be noted is not promised."""
    client, problems = Client(system.url, staff_password=system.env["STAFF_PASSWORD"]), []
    order_id = next(iter(intake.taken))
    client.remember(order_id, intake.crew.token(order_id))
    expected = {"/livez": 200, "/readyz": 200, f"/api/orders/{order_id}": 200}
    for path, status in expected.items():
        if (said := client.request("GET", path, as_=order_id).status_code) != status:
            problems.append(f"with a full disk GET {path} answers {said}")
    if (said := client.cancel(order_id).status_code) != 503:
        problems.append(f"a cancel that nobody can note is answered with {said}")
    return problems


def _judged(
    stage: Stage, system: System, intake: Intake, begun: float, notes: list[str], problems: list[str]
) -> Result:
    expected = {order_id: OUTCOME[intake.crew.placed[order_id]] for order_id in intake.taken}
    copy = system.folder / "small-disk-copy" / "journal.sqlite3"
    verdict = judge(system, expected, keys=intake.taken, journals=[copy])
    query = "select idempotency_key as key from orders where idempotency_key = any(:keys)"
    lies = [row["key"] for row in system.db("order", query, keys=intake.refused)]
    verdict.wrong += [f"refused with 503, and placed all the same: {key}" for key in lies]
    return Result(
        drill=NAME, faults=2, orders=len(expected), failed_requests=intake.statuses[503], lost=len(verdict.lost),
        doubled=len(verdict.doubled), stuck=len(verdict.stuck), seconds=time.monotonic() - begun, seed=stage.seed,
        problems=verdict.problems + intake.problems + problems, notes=notes,
    )  # fmt: skip
