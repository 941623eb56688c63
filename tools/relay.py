"""A relay in the middle of TCP links, which makes them late, narrow, silent or broken, as it is told while it runs.

    python -m tools.relay --control PORT

One process serves any number of links. It is told over a TCP connection to its control port of 127.0.0.1, a line of
JSON each way; `tools.relayed.Relay` is the client:

    {"open": "order-broker", "port": 21001, "target": ["127.0.0.1", 5672]}
    {"set": "order-broker", "delay_ms": 100, "jitter_ms": 50, "bytes_per_s": 0, "mode": "carry"}
    {"tell": "order-broker"}

What `set` leaves out is as it should be; so `{"set": NAME}` heals. Modes:

- `carry`: bytes pass, each way `delay_ms` ± `jitter_ms` late, in their order, at most `bytes_per_s` (0: no limit).
- `swallow`: a black hole. Connections stay and new ones are taken, but nothing passes, not even the end of one; healed,
  what was held back goes on.
- `cut`: every connection is reset, new ones are refused.

The answer is `{"connections", "bytes"}` of that link, or `{"error"}`. It loses no packets: tools/packet_loss.py does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Literal

CHUNK = 65536
WAITING = 64
"""Chunks held back each way of a connection; beyond that its sender is held back."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Trouble:
    """What a link does to what passes. Milliseconds each way; bytes a second each way of one connection."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    bytes_per_s: float = 0.0
    mode: Literal["carry", "swallow", "cut"] = "carry"

    def __post_init__(self) -> None:
        if self.mode not in ("carry", "swallow", "cut"):
            raise ValueError(f"mode must be carry, swallow or cut, not {self.mode!r}")
        if min(self.delay_ms, self.jitter_ms, self.bytes_per_s) < 0:
            raise ValueError("delay, jitter and bandwidth cannot be negative")

    def late_s(self) -> float:
        """By how much the next bytes are late."""
        return max(0.0, self.delay_ms + random.uniform(-self.jitter_ms, self.jitter_ms)) / 1000


@dataclass(eq=False)
class Pair:
    """A client's connection, and ours to the target once there is one."""

    ends: list[asyncio.StreamWriter] = field(default_factory=list)

    def reset(self) -> None:
        """End it on both sides at once, without a goodbye (RST)."""
        for end in self.ends:
            if not end.transport.is_closing():
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                end.transport.abort()


class Link:
    """Carries from `port` of 127.0.0.1 to `target`."""

    def __init__(self, port: int, target: tuple[str, int]) -> None:
        self.port, self.target = port, target
        self.trouble = Trouble()
        self.pairs: set[Pair] = set()
        self.carried = 0
        self._flows = asyncio.Event()
        self._flows.set()
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        """Begin to take connections. Raises OSError where the port is in use."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=512)

    async def suffer(self, trouble: Trouble) -> None:
        """From now on this, in place of what was before."""
        self.trouble = trouble
        if trouble.mode == "swallow":
            self._flows.clear()
        else:
            self._flows.set()
        if trouble.mode == "cut":
            if self._server is not None:
                self._server.close()
                self._server = None
            for pair in list(self.pairs):
                pair.reset()
        elif self._server is None:
            await self.listen()

    def told(self) -> dict[str, int]:
        """How many connections there are, and how many bytes have passed, both ways together."""
        return {"connections": len(self.pairs), "bytes": self.carried}

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pair = Pair([writer])
        self.pairs.add(pair)
        try:
            await self._flows.wait()
            await self._join(pair, reader, writer)
        except OSError:
            # One side is gone, or the target is not there: the other side learns of it in the same way.
            pair.reset()
        finally:
            self.pairs.discard(pair)

    async def _join(self, pair: Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Both ways of a connection, to their ends. Raises OSError where one side is gone, or not there."""
        far_reader, far_writer = await asyncio.open_connection(*self.target)
        pair.ends.append(far_writer)
        if self.trouble.mode == "cut":
            raise ConnectionResetError("it was cut while it was made")
        ways = [
            asyncio.create_task(self._pass_on(reader, far_writer)),
            asyncio.create_task(self._pass_on(far_reader, writer)),
        ]
        try:
            await asyncio.gather(*ways)
        finally:
            for way in ways:
                way.cancel()
        for end in pair.ends:
            end.close()

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """One way of a connection, to its end. Raises OSError where one side is gone."""
        waiting: asyncio.Queue[tuple[float, bytes | OSError]] = asyncio.Queue(WAITING)
        reading = asyncio.create_task(self._take(source, waiting))
        try:
            while True:
                due, data = await waiting.get()
                await asyncio.sleep(due - time.monotonic())
                if isinstance(data, bytes) and self.trouble.bytes_per_s:
                    await asyncio.sleep(len(data) / self.trouble.bytes_per_s)
                await self._flows.wait()
                if isinstance(data, OSError):
                    raise data
                if not data:
                    target.write_eof()
                    return
                target.write(data)
                await target.drain()
                self.carried += len(data)
        finally:
            reading.cancel()

    async def _take(
        self, source: asyncio.StreamReader, waiting: asyncio.Queue[tuple[float, bytes | OSError]]
    ) -> None:
        due = 0.0
        data: bytes | OSError = b"-"
        while data and not isinstance(data, OSError):
            try:
                data = await source.read(CHUNK)
            except OSError as error:
                data = error
            # Never before what came before it.
            due = max(due, time.monotonic() + self.trouble.late_s())
            await waiting.put((due, data))


class Control:
    """Does what a line says."""

    def __init__(self) -> None:
        self.links: dict[str, Link] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One controller: line for line, until it goes."""
        while line := await reader.readline():
            try:
                answer: dict[str, Any] = await self.obey(json.loads(line))
            except (ValueError, TypeError, KeyError, OSError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def obey(self, wanted: dict[str, Any]) -> dict[str, int]:
        """Carry out one order. Raises what is wrong with it."""
        if "open" in wanted:
            host, port = wanted["target"]
            link = Link(int(wanted["port"]), (str(host), int(port)))
            await link.listen()
            self.links[wanted["open"]] = link
        elif "set" in wanted:
            link = self.links[wanted.pop("set")]
            await link.suffer(Trouble(**wanted))
        else:
            link = self.links[wanted["tell"]]
        return link.told()


async def serve(port: int) -> None:
    """Take orders until the process is ended."""
    server = await asyncio.start_server(Control().serve, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


def main() -> int:
    """Run until somebody ends it."""
    parser = argparse.ArgumentParser(prog="tools.relay", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--control", type=int, required=True, metavar="PORT", help="where it is told what to do")
    asyncio.run(serve(parser.parse_args().control))
    return 0


if __name__ == "__main__":
    sys.exit(main())
