"""A private network namespace: a drill in it cuts and joins links that are nobody else's, and they end with it.

Root may have one anywhere; a plain user where the kernel lets users make namespaces of their own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tools.packages import Server

_OUTSIDE_A_PATH = "/usr/sbin:/sbin"
_VARIABLE = "OSS_PRIVATE_NETWORK"
# The loopback interface is down in a new namespace. The command is told which one it was given.
_SET_UP = f'"$0" link set lo up && {_VARIABLE}=$(readlink /proc/self/ns/net) exec "$@"'


def find_program(name: str) -> str | None:
    """Where it is, or None. Debian keeps programs for administrators out of a plain user's path."""
    return shutil.which(name) or shutil.which(name, path=_OUTSIDE_A_PATH)


SERVER = Server(
    "iproute2 (ip) and util-linux (unshare, nsenter)",
    ("iproute2", "util-linux"),
    lambda: all(find_program(name) for name in ("ip", "unshare", "nsenter")),
    "Network namespaces are Linux's: this drill runs nowhere else.",
)

NFTABLES = Server(
    "nftables", ("nftables",), lambda: find_program("nft") is not None,
    "With it packets are lost, or refused, inside that network. Fedora: sudo dnf install nftables.",
)  # fmt: skip


class NamespaceRefused(Exception):
    """This machine gives us no network namespace; the text says what to do."""


def private_network() -> list[str]:
    """What to put before a command so that it runs in a network namespace of its own, its loopback interface up.

    The command keeps its user, and may do with that network what it likes. Nothing outside can be reached from there.
    Raises NamespaceRefused.
    """
    ip, unshare = find_program("ip"), find_program("unshare")
    if ip is None or unshare is None:
        raise NamespaceRefused(f"not on this machine: {SERVER.name}. {SERVER.hint}")
    # A plain user's capabilities count in a user namespace of its own only. Its id stays: PostgreSQL refuses root.
    own_user = [] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
    prefix = [unshare, *own_user, "--net", "/bin/sh", "-c", _SET_UP, ip]
    tried = subprocess.run([*prefix, "true"], capture_output=True, text=True, timeout=30)
    if tried.returncode:
        raise NamespaceRefused(
            f"this machine gives us no network namespace ({tried.stderr.strip()}): run it as root, in a container with "
            "CAP_SYS_ADMIN, or as a user who may make user namespaces (sysctl kernel.unprivileged_userns_clone=1, "
            "kernel.apparmor_restrict_unprivileged_userns=0)."
        )
    return prefix


def is_private() -> bool:
    """Whether this process is in a namespace of `private_network`: only there may a drill touch a link or a rule."""
    here = Path("/proc/self/ns/net")
    return here.is_symlink() and os.environ.get(_VARIABLE) == os.readlink(here)
