"""What the pages say, in Korean and English: Fluent catalogues (https://projectfluent.org), one folder a language.

Which language a request gets: the one it asks for (`?lang=en`), else the one chosen before (a cookie), else the
browser's.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Literal, cast, get_args

from fluent.runtime import FluentBundle, FluentResource
from werkzeug.wrappers import Request

from chassis.logging import get_logger

Language = Literal["ko", "en"]

LANGUAGES: tuple[Language, ...] = get_args(Language)
LANGUAGE_COOKIE = "oss_lang"
FOLDER = Path(__file__).resolve().parents[1] / "texts"

_log = get_logger(__name__)


class Texts:
    """The texts of one language: `texts("signup-title")`, `texts("visit-free", count=3)`."""

    def __init__(self, language: Language, sources: list[str]) -> None:
        self.language = language
        # Isolation marks would end up in attributes and in what people copy.
        self._bundle = FluentBundle([language], use_isolating=False)
        for source in sources:
            self._bundle.add_resource(FluentResource(source))

    def __contains__(self, key: str) -> bool:
        return self._bundle.has_message(key)

    def __call__(self, key: str, **values: Any) -> str:
        """The text `key` with `values` filled in. A missing one is logged and shown as its key."""
        if key not in self:
            _log.error("text_missing", key=key, language=self.language)
            return key
        message = self._bundle.get_message(key).value
        assert message is not None, f"{key} has attributes only"
        text, errors = self._bundle.format_pattern(message, values)
        if errors:
            _log.error("text_broken", key=key, language=self.language, errors=[str(error) for error in errors])
        return str(text)


@functools.cache
def texts(language: Language) -> Texts:
    """The catalogue of a language, read once."""
    files = sorted((FOLDER / language).glob("*.ftl"))
    return Texts(language, [file.read_text(encoding="utf-8") for file in files])


def language_of(request: Request) -> Language:
    """The language of this request; Korean where nothing says otherwise."""
    for wanted in (request.args.get("lang"), request.cookies.get(LANGUAGE_COOKIE)):
        if wanted in LANGUAGES:
            return cast(Language, wanted)
    best = request.accept_languages.best_match(LANGUAGES, default="ko")
    return cast(Language, best)
