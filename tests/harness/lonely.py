"""A gateway all alone, for tests of what it can do then."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import requests

from tests.harness.client import Client
from tools.paths import ROOT
from tools.ports import free_port
from tools.process import Child
from tools.waiting import wait_until


class LonelyGateway:
    """A gateway process with nothing behind it: no broker, no database, no other service.

    `settings` are of its environment.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.journal_path = folder / "journal.sqlite3"
        port = free_port()
        nobody = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = Child(
            "lonely-gateway",
            [sys.executable, "-m", "nameko", "run", "--config", "config/gateway.yaml", "gateway_svc.service"],
            env=dict(os.environ) | {
                "OSS_HTTP_PORT": str(port),
                "AMQP_URI": f"amqp://guest:guest@127.0.0.1:{nobody}//",
                "GATEWAY_DB_URI": f"postgresql+psycopg2://postgres@127.0.0.1:{nobody}/nothing",
                "TOKEN_KEY": "only-for-this-test-" * 2,
                "JOURNAL_PATH": str(self.journal_path),
                "PYTHONWARNINGS": "ignore",
                **settings,
            },
            log=folder / "gateway.log",
            cwd=ROOT,
        )
        self.client = Client(self.url, staff_password="")

    def start(self) -> None:
        self.process.start()
        wait_until(lambda: requests.get(f"{self.url}/readyz", timeout=5).ok, lambda: f"ready\n{self.process.tail()}")

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The lines of its log that tell of this event."""
        text = self.process.log.read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]
