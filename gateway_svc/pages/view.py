"""One request of a page: who asks, in which language, and how to answer it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from werkzeug.wrappers import Response

from gateway_svc.pages import render
from gateway_svc.pages.formats import Formats
from gateway_svc.pages.texts import Language, Texts
from gateway_svc.routing import Asked

SCRIPT_HEADER = "Oss-Script"
"""Sent by our scripts: they want an answer they can work with, not a way to the sign-in page."""


@dataclass(frozen=True, slots=True)
class View(Asked):
    """One request of a page. `csrf` goes into every form."""

    t: Texts
    formats: Formats
    csrf: str

    @property
    def language(self) -> Language:
        return self.t.language

    @property
    def from_script(self) -> bool:
        """Whether one of our scripts asks, not the browser for a whole page."""
        return SCRIPT_HEADER in self.request.headers

    def render(self, template: str, status: int = 200, **context: Any) -> Response:
        """The page `template`; personal, so nobody keeps a copy of it."""
        return render.page(self, template, status, context)

    def redirect(self, path: str, notice: str | None = None) -> Response:
        """See Other (RFC 9110, 15.4.4). `notice`: the next page says the text `notice-<notice>` once."""
        url = f"{path}{'&' if '?' in path else '?'}{urlencode({'notice': notice})}" if notice else path
        return Response(status=303, headers={"Location": url, "Cache-Control": "no-store"})


def local_path(text: str | None, default: str) -> str:
    """A path on this site from what a client sent; anything that could lead elsewhere is `default`."""
    if not text or not text.startswith("/") or text.startswith(("//", "/\\")) or "\\" in text or not text.isprintable():
        return default
    parts = urlsplit(text)
    return default if parts.scheme or parts.netloc else text
