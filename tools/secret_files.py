"""Secrets as files, for compose and the demo cluster: `python3 -m tools.secret_files deploy/secrets`.

Makes what is missing and leaves what is there. Only the owner can open the folder; the files themselves are readable,
because compose mounts them as they are into containers that run as another user. Standard library only: this runs
before anything is installed.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

SERVICES = ("order", "activation", "scheduling", "fieldwork", "mypage", "gateway")
NAMES = (
    "TOKEN_KEY", "STAFF_PASSWORD", "BROKER_PASSWORD", "DATABASE_PASSWORD",
    *(f"{service.upper()}_DATABASE_PASSWORD" for service in SERVICES),
    *(f"{service.upper()}_BROKER_PASSWORD" for service in SERVICES),
)  # fmt: skip


def make(folder: Path) -> list[str]:
    """Make the missing secrets in `folder` and return their names. Each is 32 random bytes in hexadecimal."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    missing = [name for name in NAMES if not (folder / name).exists()]
    for name in missing:
        draft = folder / f".{name}"
        draft.write_text(secrets.token_hex(32), encoding="ascii")
        draft.chmod(0o444)
        draft.replace(folder / name)
    return missing


def main(arguments: Sequence[str]) -> int:
    """Make them and say which, never what is in them."""
    if len(arguments) != 1:
        print(f"usage: python3 -m tools.secret_files FOLDER\n\n{__doc__}", file=sys.stderr)
        return 2
    made = make(Path(arguments[0]))
    print(f"made {', '.join(made)}" if made else "all secrets are there")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
