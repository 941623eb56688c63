"""Fills templates (Jinja2, everything escaped) and puts the headers on that every page has."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import jinja2
from werkzeug.wrappers import Response

from contracts.catalogue import PRODUCTS
from gateway_svc.pages import assets, formats
from gateway_svc.pages.texts import LANGUAGES

if TYPE_CHECKING:
    from gateway_svc.pages.view import View

FOLDER = Path(__file__).resolve().parents[1] / "templates"

# No inline script or style, nothing from another host, no frame around us (W3C Content Security Policy Level 3).
CONTENT_SECURITY_POLICY = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data: blob:", "connect-src 'self'",
    "manifest-src 'self'", "worker-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'",
))
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


@functools.cache
def environment() -> jinja2.Environment:
    """The templates; a name that is not defined is an error, not an empty text."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, auto_reload=False,
    )
    found.globals.update(asset=assets.url, languages=LANGUAGES, products=PRODUCTS)
    found.filters.update(
        masked_phone=formats.masked_phone, order_number=formats.order_number, without_contacts=formats.without_contacts
    )
    return found


def page(view: View, template: str, status: int, context: dict[str, Any]) -> Response:
    """The answer. Templates get `view`, `t` (texts), `f` (formats), `notice`, and `context`."""
    notice = f"notice-{view.request.args.get('notice', '')}"
    text = environment().get_template(template).render(
        context, view=view, t=view.t, f=view.formats, notice=view.t(notice) if notice in view.t else None,
        switch=functools.partial(_switch, view),
    )
    response = Response(text, status=status, mimetype="text/html", headers=HEADERS)
    response.headers["Content-Language"] = view.language
    response.vary.update(("Accept-Language", "Cookie"))
    return response


def _switch(view: View, language: str) -> str:
    """The way to this very page in another language. A form that was just sent is shown empty there."""
    kept = [(name, value) for name, value in view.request.args.items(multi=True) if name not in ("lang", "notice")]
    return f"{view.request.path}?{urlencode([*kept, ('lang', language)])}"
