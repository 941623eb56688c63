"""A browser without scripts, for tests of what pages answer: keeps cookies, and fills in what a form needs."""

from __future__ import annotations

import re
from http.cookiejar import Cookie
from typing import Any

import requests
from requests.cookies import RequestsCookieJar


class _OwnMachine(RequestsCookieJar):
    """Cookies as browsers keep them for this very machine: Secure ones are sent without TLS."""

    def set_cookie(self, cookie: Cookie, *args: Any, **kwargs: Any) -> Any:
        cookie.secure = False
        return super().set_cookie(cookie, *args, **kwargs)


class Visitor:
    """One person at one browser. Cookies marked Secure are kept, as browsers do for this very machine."""

    def __init__(self, url: str, language: str = "en") -> None:
        self.url = url
        self.http = requests.Session()
        self.http.cookies = _OwnMachine()
        self.http.headers["Accept-Language"] = language

    def get(self, path: str, **options: Any) -> requests.Response:
        """Open a page."""
        return self.http.get(self.url + path, timeout=30, **options)

    def post(self, path: str, fields: dict[str, Any], *, seen: str | None = None, **options: Any) -> requests.Response:
        """Send a form with the signature found on the page `seen` (or on the page at `path`)."""
        page = self.get(path).text if seen is None else seen
        return self.http.post(self.url + path, data={"csrf": csrf(page), **fields}, timeout=30, **options)

    def sign_in(self, username: str, password: str, **options: Any) -> requests.Response:
        """Sign in as staff."""
        return self.post("/signin", {"username": username, "password": password}, **options)


def csrf(page: str) -> str:
    """The signature that this page's forms carry."""
    found = re.search(r'<meta name="csrf" content="([\w-]+)">', page)
    assert found is not None, f"not one of our pages: {page[:200]}"
    return found[1]
