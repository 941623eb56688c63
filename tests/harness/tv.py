"""The TV middleware as a process of a test's own: the truth about it past every proxy, and how to make it misbehave."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tools.tv import Tv

KEY = "a-key-for-tests"


class TvClient:
    """A plain client of the middleware `tv`."""

    def __init__(self, tv: Tv) -> None:
        self._url = tv.url
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.headers["Authorization"] = f"Bearer {tv.key}"

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        """Any request, in 10 s."""
        return self._http.request(method, self._url + path, timeout=10, **more)

    def put(self, subscriber: str, content: dict[str, Any]) -> None:
        """Put an entitlement, as somebody else than activation would."""
        self.ask("PUT", f"/entitlements/{subscriber}", json=content).raise_for_status()

    def entitlements(self) -> dict[str, dict[str, Any]]:
        """Everything there is, by subscriber."""
        found: dict[str, dict[str, Any]] = {}
        after: str | None = ""
        while after is not None:
            page = self.ask("GET", "/entitlements", params={"after": after, "limit": 500}).json()
            found |= page["entitlements"]
            after = page["next"]
        return found

    def fault(self, kind: str, **more: Any) -> None:
        """From now on misbehave; see tv_middleware/README.md."""
        self.ask("POST", "/faults", json={"kind": kind, **more}).raise_for_status()

    def clear(self) -> None:
        """Lift every fault and take away every entitlement."""
        self.ask("DELETE", "/faults").raise_for_status()
        for subscriber in self.entitlements():
            self.ask("DELETE", f"/entitlements/{subscriber}").raise_for_status()

    def close(self) -> None:
        """End its connections."""
        self._http.close()


@contextmanager
def tv_middleware(folder: Path) -> Iterator[Tv]:
    """A middleware that also misbehaves on request, with its state under `folder`; killed with the test."""
    tv = Tv(folder / "tv", key=KEY, faults=True)
    try:
        tv.start()
        yield tv
    finally:
        tv.kill()
