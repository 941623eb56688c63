"""Where a test session's processes write: an empty folder of its own, which stays for a look after a failure."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tools.paths import ROOT


def session_folder() -> Path:
    """A fresh, empty folder named after this process, under OSS_TEST_STATE_DIR or `.local/test`."""
    base = Path(os.environ.get("OSS_TEST_STATE_DIR") or ROOT / ".local" / "test")
    folder = base / str(os.getpid())
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    return folder
