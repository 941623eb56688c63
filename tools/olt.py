"""A private access node (OLT): netconfd with our YANG module, behind an OpenSSH server of its own, on 127.0.0.1.

It keeps its configuration, host key and the driver's key in its folder, over restarts and `kill -9`. Both servers run
as whoever starts them, root or not: that user logs in, with the key made here and nothing else. The user needs a login
shell, because sshd starts the NETCONF subsystem through it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from contracts.catalogue import PRODUCTS
from tools.keys import write_private
from tools.packages import WITHOUT, Server, ensure
from tools.paths import ROOT
from tools.ports import free_port
from tools.process import Child, prefixed
from tools.waiting import NotInTime, wait_until

MODULE = ROOT / "network_elements" / "olt" / "oss-access-node.yang"
_NETCONF = "urn:ietf:params:xml:ns:netconf:base:1.0"
_ACCESS_NODE = "urn:oss:yang:access-node"
_NETCONFD, _SUBSYSTEM, _SSHD = "/usr/sbin/netconfd", "/usr/sbin/netconf-subsystem", "/usr/sbin/sshd"
_YANG = Path("/usr/share/yuma/modules")
_PRIVILEGE_SEPARATION = Path("/run/sshd")
_LONGEST_SOCKET_PATH = 100
"""Bytes; Linux takes 107 (unix(7)), and a little is left for the server's own."""


@dataclass(frozen=True, slots=True)
class OltAddress:
    """How the driver gets in; `host_key` as in known_hosts ("ssh-ed25519 AAAA...")."""

    host: str
    port: int
    username: str
    key_file: str
    host_key: str


def _present() -> bool:
    servers = (_NETCONFD, _SUBSYSTEM, _SSHD)
    return all(Path(path).exists() for path in servers) and shutil.which("ssh-keygen") is not None


SERVER = Server(
    "netconfd with OpenSSH's server",
    ("netconfd", "openssh-server", "openssh-client"),
    _present,
    WITHOUT,
)


def profiles() -> list[ElementTree.Element]:
    """The profiles that every node has, named like the products; and `tv-only`, for a line without internet."""
    lines = {name: {"down-mbps": product.down_mbps or 0, "up-mbps": product.up_mbps or 0}
             for name, product in PRODUCTS.items() if product.kind == "internet"}
    lines["tv-only"] = {"down-mbps": 0, "up-mbps": 0}
    bundles = {name: {"channels": product.channels or 0} for name, product in PRODUCTS.items() if product.kind == "tv"}
    return [
        *(_profile("line-profile", name, leaves) for name, leaves in lines.items()),
        *(_profile("multicast-profile", name, leaves) for name, leaves in bundles.items()),
    ]  # fmt: skip


def _profile(kind: str, name: str, leaves: Mapping[str, int]) -> ElementTree.Element:
    profile = ElementTree.Element(_an(kind))
    for leaf, value in {"name": name, **leaves}.items():
        ElementTree.SubElement(profile, _an(leaf)).text = str(value)
    return profile


def _an(name: str) -> str:
    return f"{{{_ACCESS_NODE}}}{name}"


class Olt:
    """One node. `process` is netconfd, `sshd` the way to it; `kill`, `freeze` and `thaw` are for tests."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder.resolve()
        self.port = free_port()
        self._user = pwd.getpwuid(os.geteuid()).pw_name
        self._startup = self.folder / "startup.xml"
        self._short: Path | None = None
        logs = self.folder.parent / "logs"
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.folder), "USER": self._user, "LANG": "C.UTF-8"}
        self.process = Child(name, [], env=env, log=logs / f"{name}.log", cwd=self.folder)
        self.sshd = Child(f"{name}-sshd", [], env=env, log=logs / f"{name}-sshd.log", cwd=self.folder)

    @property
    def address(self) -> OltAddress:
        """For the driver; the keys are there once the node has been started."""
        host_key = " ".join((self.folder / "host_key.pub").read_text().split()[:2])
        return OltAddress("127.0.0.1", self.port, self._user, str(self.folder / "user_key"), host_key)

    @property
    def children(self) -> tuple[Child, ...]:
        """Its processes."""
        return (self.process, self.sshd)

    def environment(self) -> dict[str, str]:
        """How activation reaches it, as config/elements.yaml asks; the keys are there once it has been started."""
        address = self.address
        values = {
            "HOST": address.host, "PORT": str(address.port), "USER": address.username,
            "KEY_FILE": address.key_file, "HOST_KEY": address.host_key,
        }  # fmt: skip
        return prefixed(self.name, values)

    def start(self) -> None:
        """Start it; returns when it takes sessions and has its profiles (60 s at most)."""
        ensure(SERVER)
        self._write_files()
        if not self.process.alive:
            self._socket.unlink(missing_ok=True)
        self.process.start()
        self.sshd.start()
        try:
            wait_until(self._answers, f"{self.name} takes NETCONF sessions")
        except NotInTime as error:
            raise NotInTime(f"{error}\n{self.process.tail()}\n{self.sshd.tail()}") from error

    def stop(self) -> None:
        """Stop both servers; the configuration stays."""
        self.sshd.stop()
        self.process.stop()
        if self._short is not None:
            shutil.rmtree(self._short, ignore_errors=True)
            self._short = None

    def kill(self) -> None:
        """Power off: `kill -9` of both servers."""
        self.process.kill()
        self.sshd.kill()

    def freeze(self) -> None:
        """It hangs: connections are taken and stay, nothing answers."""
        self.process.freeze()

    def thaw(self) -> None:
        """It goes on, with what was asked meanwhile."""
        self.process.thaw()

    @property
    def _socket(self) -> Path:
        """netconfd's socket: in the folder, or in a short one where the path would be too long."""
        path = self.folder / "ncx.sock"
        if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
            return path
        if self._short is None:
            self._short = Path(tempfile.mkdtemp(prefix="oss-olt-"))
        return self._short / "ncx.sock"

    def _write_files(self) -> None:
        # Private: whoever reaches netconfd's socket is let in.
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        if os.geteuid() == 0 and not _PRIVILEGE_SEPARATION.exists():
            _PRIVILEGE_SEPARATION.mkdir(mode=0o755)
        for key in ("host_key", "user_key"):
            if not (self.folder / key).exists():
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", key],
                               cwd=self.folder, check=True)  # fmt: skip
        write_private(self.folder / "sshd_config", _lines(self._sshd_settings()))
        if not self.process.alive:
            self._configure()
        self.sshd.argv = [_SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        self.process.argv = [
            _NETCONFD, "--target=candidate", f"--startup={self._startup}", f"--superuser={self._user}",
            f"--ncxserver-sockname={self._socket}", f"--port={self.port}", "--access-control=off",
            f"--modpath={_YANG}", f"--module={MODULE}", "--log-level=warn",
        ]  # fmt: skip

    def _sshd_settings(self) -> Mapping[str, str]:
        return {
            "Port": str(self.port),
            "ListenAddress": "127.0.0.1",
            "HostKey": f'"{self.folder}/host_key"',
            "AuthorizedKeysFile": f'"{self.folder}/user_key.pub"',
            # The folder may lie below one that others can write to, such as a system's temporary folder.
            "StrictModes": "no",
            "AuthenticationMethods": "publickey",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "AllowUsers": self._user,
            "UsePAM": "no",
            "UseDNS": "no",
            "PidFile": "none",
            "PrintMotd": "no",
            "DisableForwarding": "yes",
            "MaxStartups": "100",
            # A client that vanished without a word gives up its locks within 15 s.
            "ClientAliveInterval": "5",
            "ClientAliveCountMax": "3",
            "LogLevel": "ERROR",
            "Subsystem": f'netconf "{_SUBSYSTEM} --ncxserver-sockname={self.port}@{self._socket}"',
        }

    def _configure(self) -> None:
        """Put the profiles into the configuration that netconfd is about to load, before anybody is on the node.

        netconfd overwrites its startup file in place, while it confirms a commit, and would end at a torn one. Beside
        it lies a backup, written at other moments: the configuration before that commit, or with it. As the
        confirmation was not answered when the file was torn, both are right.
        """
        config = _parsed(self._startup)
        if config is None and self._startup.exists():
            config = _parsed(self.folder / "backup-cfg.xml")
        if config is None:
            config = ElementTree.Element(f"{{{_NETCONF}}}config")
        node = config.find(_an("access-node"))
        if node is None:
            node = ElementTree.SubElement(config, _an("access-node"))
        for profile in profiles():
            for present in node.findall(profile.tag):
                if present.findtext(_an("name")) == profile.findtext(_an("name")):
                    node.remove(present)
            node.append(profile)
        write_private(self._startup, ElementTree.tostring(config, encoding="unicode"))

    def _answers(self) -> bool:
        for child in (self.process, self.sshd):
            if not child.alive:
                raise NotInTime(f"{child.name} ended with {child.exit_code}")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self._socket))
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(b"SSH-2.0-probe\r\n")
            return connection.recv(1024).startswith(b"SSH-")


def _lines(settings: Mapping[str, str]) -> str:
    return "".join(f"{name} {value}\n" for name, value in settings.items())


def _parsed(path: Path) -> ElementTree.Element | None:
    """The document's root, or None where there is no whole document."""
    try:
        return ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return None
