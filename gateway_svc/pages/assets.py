"""Style sheets, scripts and pictures of the pages, read once and served under a name that changes with their content.

There is no build step: the style sheets are served as one file in the order of their names, the scripts are ES modules.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from werkzeug.wrappers import Request, Response

from contracts.errors import NotFound

FOLDER = Path(__file__).resolve().parents[1] / "static"
STYLES = "app.css"
FOR_EVER = "public, max-age=31536000, immutable"
MIN_GZIP = 512

mimetypes.add_type("text/javascript", ".js")
mimetypes.add_type("application/manifest+json", ".webmanifest")


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is served."""

    content: bytes
    compressed: bytes | None
    media_type: str


@functools.cache
def assets() -> dict[str, Asset]:
    """Every file by its name below `static`; all style sheets together are `app.css`."""
    files = {
        path.relative_to(FOLDER).as_posix(): path.read_bytes()
        for path in sorted(FOLDER.rglob("*")) if path.is_file()
    }  # fmt: skip
    sheets = [content for name, content in files.items() if name.endswith(".css")]
    plain = {name: content for name, content in files.items() if not name.endswith(".css")}
    return {name: _asset(name, content) for name, content in (plain | {STYLES: b"\n".join(sheets)}).items()}


@functools.cache
def version() -> str:
    """Changes with any file."""
    digest = hashlib.sha256()
    for name, asset in sorted(assets().items()):
        digest.update(name.encode() + b"\0" + asset.content)
    return digest.hexdigest()[:12]


def url(name: str) -> str:
    """Where `name` is served; raise KeyError where there is no such file."""
    return f"/static/{version()}/{name}" if assets()[name] else ""


def serve(request: Request, wanted_version: str, name: str) -> Response:
    """The file. Another version's name gets what is here now, not to be kept: two gateways may differ for a while."""
    asset = assets().get(name)
    if asset is None:
        raise NotFound("there is no such file")
    response = Response(asset.content, content_type=asset.media_type)
    if asset.compressed is not None:
        response.vary.add("Accept-Encoding")
        if request.accept_encodings["gzip"] > 0:
            response.data = asset.compressed
            response.headers["Content-Encoding"] = "gzip"
    response.headers["Cache-Control"] = FOR_EVER if wanted_version == version() else "no-cache"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _asset(name: str, content: bytes) -> Asset:
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    is_text = media_type.startswith("text/") or media_type.endswith(("json", "xml"))
    small = len(content) < MIN_GZIP or not is_text
    return Asset(
        content,
        None if small else gzip.compress(content, mtime=0),
        f"{media_type}; charset=utf-8" if is_text else media_type,
    )
