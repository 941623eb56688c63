"""Where things lie: the repository's root, and the folder that holds everything a running system writes."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("order", "activation", "scheduling", "fieldwork", "mypage", "gateway")
OPERATOR, SCALER = "operator", "scaler"
BROKER_USERS = (*SERVICES, OPERATOR, SCALER)
"""Who comes to the broker; on it each is called `oss_` and this name (tools/broker_users.py)."""


def state_dir() -> Path:
    """The running system's folder: OSS_STATE_DIR, or `.local/run` in the repository."""
    return Path(os.environ.get("OSS_STATE_DIR") or ROOT / ".local" / "run").resolve()
