"""Driver of an element that `element_sim` plays, for tests that inject faults and for practice."""

from __future__ import annotations

from collections.abc import Sequence

from activation_svc.driver import Change, Content, ElementError
from activation_svc.element_link import Links, Request


class SimElement:
    """One simulated element. Elements may share `links`, which keep a pool of connections for each."""

    def __init__(self, element: str, links: Links) -> None:
        self.element = element
        self._links = links

    def read(self, keys: Sequence[str], deadline: float) -> dict[str, Content | None]:
        """See Driver."""
        requests: list[Request] = [{"verb": "read", "element": self.element, "key": key} for key in keys]
        found: dict[str, Content | None] = {}
        for key, answer in zip(keys, self._links.exchange(self.element, requests, deadline), strict=True):
            if isinstance(answer, ElementError):
                raise answer
            found[key] = answer["entry"]
        return found

    def write(self, works: Sequence[Sequence[Change]], deadline: float) -> list[ElementError | None]:
        """See Driver."""
        requests: list[Request] = [
            {"verb": "edit", "element": self.element,
             "changes": [{"key": change.key, "entry": change.content} for change in work]}
            for work in works
        ]
        answers = self._links.exchange(self.element, requests, deadline)
        return [answer if isinstance(answer, ElementError) else None for answer in answers]

    def entries(self, deadline: float) -> dict[str, Content]:
        """See Driver."""
        answer = self._links.exchange(self.element, [{"verb": "entries", "element": self.element}], deadline)[0]
        if isinstance(answer, ElementError):
            raise answer
        entries: dict[str, Content] = answer["entries"]
        return entries

    def close(self) -> None:
        """See Driver."""
        self._links.close()
