"""Korean and English: which one a visitor reads, and the words of the pages in it.

The words lie in ``locales/ko.json`` and ``locales/en.json``, one flat table each from key to
sentence; ``{name}`` in a sentence is a place for a value. Both tables have the same keys.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

from starlette.requests import Request
from starlette.responses import Response

Language = Literal["ko", "en"]
LANGUAGES: tuple[Language, ...] = ("ko", "en")
DEFAULT: Language = "ko"
COOKIE = "language"
COOKIE_AGE = 365 * 24 * 3600
"""Seconds for which a choice is remembered."""

_DIRECTORY = Path(__file__).parent.parent / "locales"


@cache
def messages(language: Language) -> Mapping[str, str]:
    """All sentences of a language by key."""
    table = json.loads((_DIRECTORY / f"{language}.json").read_text(encoding="utf-8"))
    return cast("Mapping[str, str]", table)


class Translator:
    """Looks up sentences in one language; an unknown key is a ``KeyError``, never a blank."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self.messages = messages(language)

    def __call__(self, key: str, **values: Any) -> str:
        sentence = self.messages[key]
        return sentence.format(**values) if values else sentence


def choose(request: Request) -> Language:
    """The language of this answer: ``?language=``, else the cookie, else Korean."""
    for wanted in (request.query_params.get("language"), request.cookies.get(COOKIE)):
        if wanted in LANGUAGES:
            return wanted
    return DEFAULT


def remember(request: Request, response: Response, language: Language) -> None:
    """Keep the choice of ``?language=`` in a cookie."""
    if request.query_params.get("language") == language:
        response.set_cookie(COOKIE, language, max_age=COOKIE_AGE, samesite="lax")
