"""Record a release: what it really sends, and what it promises, into `tests/contract/corpus/<version>`.

`python -m tools.record_corpus` at the end of a release, by its version in CHANGELOG.md. It starts a system of its own
(elements simulated), lets it send every event and answer every RPC method, and keeps a few messages of each kind, the
AsyncAPI document and the revisions of the tables. Later releases are tested against it.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
import threading
from collections import defaultdict
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import amqp
import sqlalchemy as sa
from kombu.utils.url import url_to_parts

from contracts import versions
from contracts.catalogue import PRODUCTS
from contracts.events import EVENTS
from tools import asyncapi_rpc, release_scenario, render_asyncapi
from tools.paths import ROOT, SERVICES
from tools.system import System

CORPUS = ROOT / "tests" / "contract" / "corpus"
SETTINGS = {
    "ELEMENTS_DRIVER": "sim", "RELAY_IDLE_S": "1", "PROVISION_RETRY_FIRST_S": "0.1", "PROVISION_RETRY_MAX_S": "0.5",
    "PROVISION_REFUSED_ATTEMPTS": "2", "ORDER_RATE_PER_S": "1000", "ORDER_RATE_BURST": "1000",
    "RPC_ACTIVATION_BREAKER_FAILURES": "50",
}
EVENTS_MAX, ANSWERS_MAX = 3, 2
"""Messages kept of an event type; answers kept of a method for each outcome (a result, or an error by its name)."""

Json = dict[str, Any]


class NotRecorded(Exception):
    """The system did not send something that it can send; the text names it."""


def release() -> str:
    """The newest version in CHANGELOG.md that is not `Unreleased`."""
    found = re.search(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise NotRecorded("CHANGELOG.md names no version")
    return found[1]


class Tap:
    """Takes a copy of every event and of every RPC message, at once: requests do not outlive their deadline."""

    def __init__(self, amqp_uri: str) -> None:
        parts = url_to_parts(amqp_uri)
        self._connection = amqp.Connection(
            host=f"{parts.hostname}:{parts.port}", virtual_host=parts.path,
            userid=parts.username, password=parts.password,
        )
        self._connection.connect()
        channel = self._connection.channel()
        self.seen: dict[str, list[Json]] = {"events": [], "rpc": []}
        for kind, exchange in (("events", "oss.events"), ("rpc", asyncapi_rpc.EXCHANGE["name"])):
            channel.queue_declare(f"tap.{kind}", exclusive=True)
            channel.queue_bind(f"tap.{kind}", exchange, "#")
            channel.basic_consume(f"tap.{kind}", no_ack=True, callback=partial(self._note, self.seen[kind]))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._drain, name="tap")
        self._thread.start()

    def _note(self, seen: list[Json], message: Any) -> None:
        properties = dict(message.properties)
        seen.append({
            "routing_key": message.delivery_info["routing_key"],
            "headers": properties.pop("application_headers", {}),
            "properties": properties,
            "body": json.loads(message.body),
        })

    def _drain(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                self._connection.drain_events(timeout=1)

    def close(self) -> None:
        """End it; `seen` is complete then."""
        self._stopping.set()
        self._thread.join()
        self._connection.close()


def events(messages: list[Json]) -> dict[str, list[Json]]:
    """A few of each type, one of each id. Raises NotRecorded."""
    found: dict[str, dict[str, Json]] = defaultdict(dict)
    for message in messages:
        if len(of_type := found[message["routing_key"]]) < EVENTS_MAX:
            of_type.setdefault(message["body"]["event_id"], message)
    if missing := EVENTS.keys() - found.keys():
        raise NotRecorded(f"no event {', '.join(sorted(missing))}")
    return {name: list(found[name].values()) for name in EVENTS}


def calls(messages: list[Json]) -> dict[str, list[Json]]:
    """A few calls of each method and outcome, as `{"request", "answer"}`. Raises NotRecorded."""
    methods = {name for name, _ in asyncapi_rpc.methods()}
    requests: dict[str, Json] = {}
    answers: list[Json] = []
    for message in messages:
        # They come from two senders, so a quick answer may have been here before its request.
        if message["routing_key"] in methods:
            requests[message["properties"]["correlation_id"]] = message
        else:
            answers.append(message)
    found: dict[str, dict[str, list[Json]]] = defaultdict(lambda: defaultdict(list))
    for answer in answers:
        request, error = requests.get(answer["properties"]["correlation_id"]), answer["body"]["error"]
        if request is None:
            continue  # asked before we listened
        kept = found[request["routing_key"]][error["exc_type"] if error else "result"]
        if len(kept) < ANSWERS_MAX:
            kept.append({"request": request, "answer": answer})
    if missing := {name for name in methods if not found[name]["result"]}:
        raise NotRecorded(f"no result of {', '.join(sorted(missing))}")
    return {name: [call for of_outcome in found[name].values() for call in of_outcome] for name in sorted(methods)}


def tables(environment: dict[str, str]) -> dict[str, str]:
    """By service, the newest revision of its tables."""
    found = {}
    for service in SERVICES:
        engine = sa.create_engine(environment[f"{service.upper()}_DB_URI"], poolclass=sa.NullPool)
        with engine.connect() as connection:
            found[service] = str(connection.execute(sa.text("select version_num from alembic_version")).scalar_one())
    return found


def write(folder: Path, system: System, seen: dict[str, list[Json]]) -> None:
    """Write the release into `folder`, in place of what was there."""
    recorded_events, recorded_calls = events(seen["events"]), calls(seen["rpc"])
    shutil.rmtree(folder, ignore_errors=True)
    for kind, recorded in (("events", recorded_events), ("rpc", recorded_calls)):
        (folder / kind).mkdir(parents=True)
        for name, value in recorded.items():
            _write(folder / kind / f"{name}.json", value)
    _write(folder / "release.json", {
        "version": folder.name,
        "reads": {name: versions.newest(name) for name in EVENTS},
        "tables": tables(system.env),
        "products": list(PRODUCTS),
    })
    (folder / "asyncapi.yaml").write_text(render_asyncapi.render(), encoding="utf-8")


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Record the release that this is."""
    folder = CORPUS / release()
    with tempfile.TemporaryDirectory(prefix="corpus-") as state:
        system = System(Path(state), overrides=SETTINGS, say=lambda text: print(f"» {text}", flush=True))
        try:
            system.up()
            tap = Tap(system.amqp_uri)
            print("» putting every event and every RPC method through", flush=True)
            try:
                release_scenario.play(system)
            finally:
                tap.close()
            write(folder, system, tap.seen)
        finally:
            system.down()
    print(f"» recorded release {folder.name}: {sum(1 for _ in folder.rglob('*.json'))} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
