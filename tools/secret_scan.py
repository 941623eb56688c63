"""Looks for secrets in what is, or is about to be, in the repository: `python -m tools.secret_scan` (`make check`).

Every tracked or new file is read: private keys, tokens by the shapes that their makers gave them, passwords in
addresses, and long random values given to names that say secret. What it finds is named by file, line and kind, and
never shown. A value that is no secret (an example, a test's own) says so on its line: `not a secret`.
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.paths import ROOT

ALLOWED = "not a secret"
MAX_BYTES = 2_000_000
# Hashes, and nothing that a person writes
LOCKS = ("requirements.lock", "package-lock.json")

_KINDS = {
    "private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
    "AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{36}|\bgithub_pat_[A-Za-z0-9_]{40}",
    "GitLab token": r"\bglpat-[A-Za-z0-9_-]{20}",
    "Slack token": r"\bxox[abprs]-[A-Za-z0-9-]{10}",
    "Stripe key": r"\b[sr]k_live_[A-Za-z0-9]{16}",
    "Google key": r"\bAIza[A-Za-z0-9_-]{35}",
    "PyPI or npm token": r"\bpypi-AgEI[A-Za-z0-9_-]{20}|\bnpm_[A-Za-z0-9]{36}",
    "JSON web token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20}",
    "password in an address": r"://[\w.-]*:(?!(?:guest|password|secret|pw|s3cret|x+|\*+)@)[^\s:/@$<>{}()\[\]'\"`\\]+@[\w.-]",
    "random value": (
        r"(?i:passw(?:or)?d|secret|token|api_?key|private_?key)[\w-]{0,40}[\"']?\s{0,3}[:=]\s{0,3}"
        r"[\"']?(?P<value>[A-Za-z0-9+/_=-]{20,})"
    ),
}
_PATTERN = re.compile("|".join(f"(?P<k{at}>{pattern})" for at, pattern in enumerate(_KINDS.values())))
_NAMES = list(_KINDS)
MIN_BITS = 3.0
"""Bits a character: words stay below, 16 random bytes in hexadecimal stay above."""


def bits(value: str) -> float:
    """Shannon's entropy of the text, in bits a character."""
    counts = Counter(value).values()
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)


def findings(text: str) -> Iterator[tuple[int, str]]:
    """(line, kind) of every secret in a text."""
    for match in _PATTERN.finditer(text):
        value = match["value"]
        if value is not None and (bits(value) < MIN_BITS or not re.search(r"\d", value)):
            continue
        start, end = text.rfind("\n", 0, match.start()) + 1, text.find("\n", match.end())
        if ALLOWED in text[start : end if end >= 0 else len(text)]:
            continue
        at = next(at for at in range(len(_NAMES)) if match[f"k{at}"] is not None)
        yield text.count("\n", 0, match.start()) + 1, _NAMES[at]


def files() -> list[Path]:
    """What is tracked, and what is new and not ignored; every file where there is no repository (an archive)."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
    )
    if listed.returncode:
        apart = {".venv", ".local", "node_modules"}
        return [path for path in ROOT.rglob("*") if path.is_file() and not apart & set(path.parts)]
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def scan(paths: Sequence[Path]) -> list[str]:
    """`file:line: kind` of every secret in these files; what is no text, or huge, is left out."""
    found = []
    for path in paths:
        if not path.is_file() or path.name in LOCKS or path.stat().st_size > MAX_BYTES:
            continue
        content = path.read_bytes()
        if b"\0" not in content:
            name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
            found += [f"{name}:{line}: {kind}" for line, kind in findings(content.decode("utf-8", "replace"))]
    return found


def main() -> int:
    """Say what was found; 1 where anything was."""
    found = scan(files())
    for line in found:
        print(line)
    if found:
        print(f"{len(found)} secret(s). Take them out, and change them where they are used: what was pushed is known. "
              f"What is none says so on its line: {ALLOWED}", file=sys.stderr)  # fmt: skip
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
