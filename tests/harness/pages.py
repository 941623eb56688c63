"""A browser without scripts, for tests of what pages answer: keeps cookies, and fills in what a form needs."""

from __future__ import annotations

import re
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests


class Visitor:
    """One person at one browser. Cookies marked Secure are kept, as browsers do for this very machine."""

    def __init__(self, url: str, language: str = "en") -> None:
        self.url = url
        self.http = requests.Session()
        self.http.cookies.set_policy(DefaultCookiePolicy(secure_protocols=("http", "https")))
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
