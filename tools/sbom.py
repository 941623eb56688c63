"""The libraries of the container image as a CycloneDX 1.6 document: `python3 -m tools.sbom FILE`.

Made from deploy/requirements.lock, which pins them with the hashes of their files; Debian's packages of the base image
are in the SBOM that the pipeline makes of the finished image. Standard library only.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "deploy" / "requirements.lock"
PROJECT = ROOT / "pyproject.toml"

_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)")


def component(entry: str) -> dict[str, Any]:
    """One entry of a lock file. Its files have several hashes: each is a distribution that pip would take."""
    pinned = _PINNED.match(entry)
    if pinned is None:
        raise ValueError(f"not a pinned library: {entry.splitlines()[0]!r}")
    name, version = re.sub(r"[-_.]+", "-", pinned[1]).lower(), pinned[2]
    purl = f"pkg:pypi/{name}@{version}"
    files = [
        {"type": "distribution", "url": purl, "hashes": [{"alg": "SHA-256", "content": digest}]}
        for digest in re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)
    ]
    found = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    return {**found, "externalReferences": files}


def document(lock: str, version: str) -> dict[str, Any]:
    """The whole document. It has no time and no random serial number: the same lock gives the same document."""
    entries = [entry for entry in re.split(r"\n(?=[A-Za-z0-9])", lock.strip()) if entry]
    application = {"type": "application", "bom-ref": "oss-nameko", "name": "oss-nameko", "version": version}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": application},
        "components": [component(entry) for entry in entries],
    }


def main(arguments: Sequence[str]) -> int:
    """Write the document to the file named."""
    if len(arguments) != 1:
        print("usage: python3 -m tools.sbom FILE", file=sys.stderr)
        return 2
    version = re.search(r'^version = "(.+)"', PROJECT.read_text(encoding="utf-8"), re.MULTILINE)
    made = document(LOCK.read_text(encoding="utf-8"), version[1] if version else "0")
    path = Path(arguments[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    print(f"{path}: {len(made['components'])} libraries")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
