"""Hosts of one private network: each a network namespace, joined to the others by a bridge, cut off from some at will.

Only for a process that is in a private network itself (`tools.namespace`); everything here ends with it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tools import namespace
from tools.namespace import find_program
from tools.process import Child
from tools.waiting import wait_until

_BRIDGE, _NETWORK = "hosts", "10.77.0"
_TABLE = "cut"
# What comes from there and what goes there. `exempt`: resets may pass, or nobody there hears that there is no way.
_RULES = """\
table ip {table} {{
    chain input {{
        type filter hook input priority 0;
        {exempt}ip saddr {{ {addresses} }} {verdict};
    }}
    chain output {{
        type filter hook output priority 0;
        {exempt}ip daddr {{ {addresses} }} {verdict};
    }}
}}
"""


class Host:
    """A host with one address. `within` goes before a command that is to run on it."""

    def __init__(self, name: str, number: int, folder: Path) -> None:
        self.name = name
        self.address = f"{_NETWORK}.{10 + number}"
        # A namespace lives as long as a process is in it.
        command = [find_program("unshare") or "unshare", "--net", "sleep", "infinity"]
        log = folder / "logs" / "hosts.log"
        self._holder = Child(f"host-{name}", command, env=dict(os.environ), log=log, cwd=folder)

    @property
    def within(self) -> tuple[str, ...]:
        return (find_program("nsenter") or "nsenter", f"--net=/proc/{self._holder.pid}/ns/net")

    def up(self) -> None:
        """Join it to the bridge."""
        self._holder.start()
        ours, its = Path("/proc/self/ns/net"), Path(f"/proc/{self._holder.pid}/ns/net")
        wait_until(lambda: os.readlink(ours) != os.readlink(its), f"{self.name} has a network of its own")
        port = f"to-{self.name}"
        _run(["ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(self._holder.pid)])
        _run(["ip", "link", "set", port, "master", _BRIDGE, "up"])
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")

    def down(self) -> None:
        self._holder.kill()

    def run(self, program: str, *arguments: str, text: str = "") -> None:
        """One command on it, with `text` as its input."""
        _run([*self.within, find_program(program) or program, *arguments], text)

    def cut_off(self, others: Iterable[Host], *, silently: bool) -> None:
        """Let nothing through between it and these, in either direction; all others reach it, and these, as before.

        `silently`: packets vanish, as with a broken link; else both sides hear at once that there is no way any more.
        """
        addresses = ", ".join(other.address for other in others)
        verdict = "drop" if silently else "meta l4proto tcp reject with tcp reset"
        exempt = "" if silently else "tcp flags rst accept; "
        rules = _RULES.format(table=_TABLE, addresses=addresses, exempt=exempt, verdict=verdict)
        self.run("nft", "-f", "-", text=rules)

    def join_again(self) -> None:
        """Let everything through again."""
        self.run("nft", "delete", "table", "ip", _TABLE)


@contextmanager
def hosts(folder: Path, names: Iterable[str]) -> Iterator[Mapping[str, Host]]:
    """So many hosts that reach each other, and we them, until the block ends.

    Raises RuntimeError where this process is not in a private network: it would change the machine's own.
    """
    if not namespace.is_private():
        raise RuntimeError("hosts are made in a private network only (tools.namespace.private_network)")
    _run(["ip", "link", "add", _BRIDGE, "type", "bridge"])
    made = {name: Host(name, number, folder) for number, name in enumerate(names, start=1)}
    try:
        _run(["ip", "address", "add", f"{_NETWORK}.1/24", "dev", _BRIDGE])
        _run(["ip", "link", "set", _BRIDGE, "up"])
        for host in made.values():
            host.up()
        yield made
    finally:
        for host in made.values():
            host.down()
        _run(["ip", "link", "delete", _BRIDGE])


def _run(command: list[str], text: str = "") -> None:
    """Raises RuntimeError with what it complained of."""
    program = find_program(command[0]) or command[0]
    done = subprocess.run([program, *command[1:]], input=text, capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise RuntimeError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
