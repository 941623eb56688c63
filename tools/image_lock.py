"""deploy/requirements.lock: the part of requirements.lock that the container image needs, with the same hashes.

    python -m tools.image_lock [--check]

requirements.in says what that is: everything above its line "# Not in the image". `make lock` writes both files.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from tools.paths import ROOT

INPUT = ROOT / "requirements.in"
LOCK = ROOT / "requirements.lock"
IMAGE_LOCK = ROOT / "deploy" / "requirements.lock"
END = "# Not in the image"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VIA = re.compile(r"# via (.+)")


def canonical(requirement: str) -> str:
    """The name of a requirement as PyPI compares it (PEP 503): `Fluent.Runtime==0.4` is `fluent-runtime`."""
    match = _NAME.match(requirement)
    assert match is not None, f"not a requirement: {requirement!r}"
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def wanted(text: str) -> set[str]:
    """The libraries of requirements.in that the image needs. Raises ValueError where the line END is missing."""
    above, found, _ = text.partition(END)
    if not found:
        raise ValueError(f"requirements.in has no line {END!r}")
    return {canonical(line) for line in above.splitlines() if _NAME.match(line)}


def entries(lock: str) -> dict[str, str]:
    """The entries of a lock file by canonical name: version, hashes, and the comment that says who asked for it."""
    found = re.split(r"\n(?=[A-Za-z0-9])", lock.strip())
    return {canonical(entry): entry for entry in found if _NAME.match(entry)}


def image_lock(lock: str, direct: set[str]) -> str:
    """The entries that `direct` need, by the lock's own `# via` comments. Raises ValueError for a name not in it."""
    known = entries(lock)
    if unknown := direct - known.keys():
        raise ValueError(f"not in requirements.lock: {', '.join(sorted(unknown))}; run `make lock`")
    parents = {name: {canonical(word) for via in _VIA.findall(entry) for word in via.split(", ") if _NAME.match(word)}
               for name, entry in known.items()}  # fmt: skip
    chosen = set(direct)
    while more := {name for name in known if name not in chosen and parents[name] & chosen}:
        chosen |= more
    return "\n".join(known[name] for name in known if name in chosen) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file; with --check only say whether it is current."""
    check = "--check" in (sys.argv[1:] if arguments is None else arguments)
    made = image_lock(LOCK.read_text(encoding="utf-8"), wanted(INPUT.read_text(encoding="utf-8")))
    if not check:
        IMAGE_LOCK.write_text(made, encoding="utf-8")
    elif not IMAGE_LOCK.exists() or IMAGE_LOCK.read_text(encoding="utf-8") != made:
        print("deploy/requirements.lock is not what requirements.lock says: run `make lock`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
