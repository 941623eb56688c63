"""The simulator's socket: JSON lines over TCP, requests of one connection answered in their order."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

from element_sim.faults import ANY, Fault, Faults
from element_sim.inventory import Element
from element_sim.state import State

Request = dict[str, Any]
Answer = dict[str, Any]
LINE_LIMIT = 1 << 20


class Gone(Exception):
    """The element drops the connection without an answer."""


class Simulator:
    """All elements behind one socket. Serve it with `asyncio.start_server(simulator.serve, ...)`."""

    def __init__(self, elements: dict[str, Element], state: State, end: Callable[[int], object] = os._exit) -> None:
        self._elements = elements
        self._state = state
        self._faults = Faults()
        self._end = end

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it ends."""
        try:
            while line := await reader.readline():
                answer = await self._answer(line, reader)
                writer.write(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
                if not reader.at_eof():
                    await writer.drain()
        except (Gone, ConnectionError, ValueError):
            # A dead element, a client that went away, or a line longer than LINE_LIMIT: the connection ends.
            writer.transport.abort()
        finally:
            writer.close()

    async def _answer(self, line: bytes, reader: asyncio.StreamReader) -> Answer:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise TypeError("a request is a JSON object")
            answer = self._control(request) or await self._element(request, reader)
        except (ValueError, TypeError, KeyError) as exc:
            return {"ok": False, "error": "malformed", "words": f"{type(exc).__name__}: {exc}"}
        return {"id": request.get("id"), **answer}

    def _control(self, request: Request) -> Answer | None:
        """Carry out a verb that is for the simulator itself; None where it is for an element."""
        verb, element = request["verb"], str(request.get("element") or ANY)
        if verb == "list":
            return {"ok": True, "elements": self._state.everything(None if element == ANY else element)}
        if verb == "elements":
            return {"ok": True, "elements": {name: item.kind for name, item in self._elements.items()}}
        if verb not in {"refuse", "hang", "delay", "die", "heal"}:
            return None
        if element != ANY and element not in self._elements:
            return {"ok": False, "error": "malformed", "words": f"no element {element!r}"}
        if verb == "heal":
            self._faults.heal(element)
        elif verb == "die" and element == ANY:
            self._end(1)
        else:
            self._faults.add(request)
        return {"ok": True}

    async def _element(self, request: Request, reader: asyncio.StreamReader) -> Answer:
        fault = self._fault(request)
        if fault is None:
            return self._do(request)
        if fault.kind == "die":
            raise Gone
        if fault.kind == "refuse":
            return {"ok": False, "error": "refused", "words": fault.words}
        answer = self._do(request) if fault.kind == "delay" or fault.effect else {}
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
            return answer
        while await reader.read(LINE_LIMIT):
            # Hanging: whatever else comes on this connection is not heard either, until the client gives up.
            continue
        raise Gone

    def _fault(self, request: Request) -> Fault | None:
        """The first fault that this request meets; an edit meets those of the writes and deletes it is made of."""
        name = str(request["element"])
        met = [self._faults.meet(verb, name, key) for verb, key in _verbs(request)]
        return next((fault for fault in met if fault is not None), None)

    def _do(self, request: Request) -> Answer:
        verb, name = str(request["verb"]), str(request["element"])
        element = self._elements.get(name)
        for _, key in _verbs(request):
            words = f"no element {name!r}" if element is None else element.why_not(key) if key else None
            if words is not None:
                return {"ok": False, "error": "refused", "words": words}
        if verb == "read":
            return {"ok": True, "entry": self._state.read(name, str(request["key"]))}
        if verb == "entries":
            return {"ok": True, "entries": self._state.everything(name).get(name, {})}
        if verb == "write":
            self._state.edit(name, [(str(request["key"]), _entry(request["entry"]))])
        elif verb == "delete":
            self._state.delete(name, str(request["key"]))
        elif verb == "edit":
            self._state.edit(name, [
                (str(change["key"]), None if change["entry"] is None else _entry(change["entry"]))
                for change in request["changes"]
            ])
        else:
            raise ValueError(f"unknown verb {verb!r}")
        return {"ok": True}


def _verbs(request: Request) -> list[tuple[str, str]]:
    """What a request does to which keys; a list of everything has the key ""."""
    if request["verb"] != "edit":
        return [(str(request["verb"]), str("" if request["verb"] == "entries" else request["key"]))]
    return [
        ("delete" if change["entry"] is None else "write", str(change["key"])) for change in request["changes"]
    ]


def _entry(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise TypeError("an entry is a JSON object")
    return given


async def run(simulator: Simulator, host: str, port: int, ready: Callable[[int], None], stop: asyncio.Event) -> None:
    """Serve until `stop`; `ready` is called with the port once the socket listens."""
    server = await asyncio.start_server(simulator.serve, host, port, limit=LINE_LIMIT)
    async with server:
        ready(server.sockets[0].getsockname()[1])
        await stop.wait()
