"""Node.js for `clients/node`: found, or installed from the system's packages; and its libraries, from the lock."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tools import packages
from tools.paths import ROOT

CLIENT = ROOT / "clients" / "node"
SERVER = packages.Server(
    "Node.js",
    ("nodejs", "npm"),
    present=lambda: all(shutil.which(program) for program in ("node", "npm")),
    hint="Only clients/node needs it.",
)


class NotInstalled(Exception):
    """`npm ci` failed; the text is its output."""


def install(folder: Path = CLIENT) -> None:
    """Install what the lock file names, where that is not done yet.

    Raises packages.PackagesMissing without Node.js, NotInstalled where npm fails.
    """
    packages.ensure(SERVER)
    lock, done = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    if done.exists() and done.stat().st_mtime >= lock.stat().st_mtime:
        return
    command = ["npm", "ci", "--no-audit", "--no-fund"]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180)
    if found.returncode:
        raise NotInstalled(f"`{' '.join(command)}` in {folder} failed: is the npm registry reachable?\n{found.stderr}")
