"""What a container starts with: secrets from files into the environment, then the command itself.

    python -m tools.entrypoint COMMAND...

Each file in SECRETS_DIR (/run/secrets) that is named like a variable becomes that variable, where the environment
does not set it already. Then `$(NAME)` in a variable's value is replaced, quoted where the value is an address (a
password may hold any character). Compose and Kubernetes both mount secrets this way; nothing else reads such files.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

SECRETS_DIR = "/run/secrets"
EXIT_CODE = 78
"""EX_CONFIG in sysexits.h"""

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


class Misconfigured(Exception):
    """The environment cannot be completed; the text names the variable and never a value."""


def read_secrets(folder: Path) -> dict[str, str]:
    """The secrets in `folder` by their files' names; one line break at the end does not count.

    A missing folder holds none; files that are not named like a variable (an SSH key) are left to whoever names their
    path. Raises Misconfigured where a file cannot be read or is empty.
    """
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not _VARIABLE.fullmatch(path.name) or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(f"secret {path.name} cannot be read: {type(error).__name__}") from error
        found[path.name] = text.removesuffix("\n").removesuffix("\r")
        if not found[path.name]:
            raise Misconfigured(f"secret {path.name} is empty")
    return found


def complete(environment: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """The environment with `secrets` in it (what it sets itself wins) and with `$(NAME)` replaced, once.

    Raises Misconfigured for a `$(NAME)` that is nowhere; variables that are no settings of ours are left alone.
    """
    known = {**secrets, **environment}

    def replaced(name: str, value: str) -> str:
        def of(match: re.Match[str]) -> str:
            wanted = match[1]
            if wanted not in known:
                raise Misconfigured(f"{name} asks for $({wanted}), which is neither a variable nor a file of a secret")
            return quote(known[wanted], safe="") if "://" in value else known[wanted]

        return _REFERENCE.sub(of, value)

    own = {name: replaced(name, value) for name, value in environment.items() if _VARIABLE.fullmatch(name)}
    return known | own  # a secret that looks like a reference is only a secret


def main(argv: list[str]) -> int:
    """Become `argv`. Returns only where that is not possible: EX_CONFIG, with the reason on stderr."""
    if not argv:
        print("entrypoint: no command", file=sys.stderr)
        return EXIT_CODE
    try:
        environment = complete(os.environ, read_secrets(Path(os.environ.get("SECRETS_DIR", SECRETS_DIR))))
    except Misconfigured as error:
        print(f"entrypoint: {error}", file=sys.stderr)
        return EXIT_CODE
    try:
        os.execvpe(argv[0], argv, environment)
    except OSError as error:
        print(f"entrypoint: {argv[0]}: {error.strerror}", file=sys.stderr)
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
