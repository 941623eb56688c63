"""Real loss of packets on TCP and UDP ports of 127.0.0.1: rules of nftables in a private network namespace.

netem, the usual way, is a module that kernels of containers often do not have. Late packets are the relay's.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tools.namespace import find_program, is_private

_TABLE = "inet drill"
_CHAIN = f"{_TABLE} lossy"


class PacketLoss:
    """By port, how many of a hundred packets to it and from it are lost. Raises RuntimeError outside a namespace."""

    def __init__(self) -> None:
        if not is_private():
            raise RuntimeError("packets are lost in a private network namespace only (tools/namespace.py)")
        found = find_program("nft")
        assert found is not None
        self._nft = Path(found)
        self._lossy: dict[int, int] = {}
        self._apply(f"add table {_TABLE}\nadd chain {_CHAIN} {{ type filter hook input priority 0; }}\n")

    def lose(self, port: int, percent: int) -> None:
        """Lose so many of a hundred from now on; 0 ends it."""
        self._lossy.pop(port, None)
        if percent:
            self._lossy[port] = percent
        self._apply(rules(self._lossy))

    def _apply(self, commands: str) -> None:
        done = subprocess.run([str(self._nft), "-f", "-"], input=commands, capture_output=True, text=True, timeout=30)
        if done.returncode:
            raise RuntimeError(f"nft: {done.stderr.strip()}")


def rules(lossy: dict[int, int]) -> str:
    """The chain's whole content, for `nft -f`: what was in it before goes in the same step."""
    lines = [f"flush chain {_CHAIN}"]
    for port, percent in lossy.items():
        drop = "drop" if percent >= 100 else f"numgen random mod 100 < {percent} drop"
        packets = f"add rule {_CHAIN} meta l4proto {{ tcp, udp }} th"
        lines += [f"{packets} {side} {port} {drop}" for side in ("sport", "dport")]
    return "\n".join(lines) + "\n"
