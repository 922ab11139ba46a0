"""Templates and static files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from hyperclova.studio.pages import languages

_STUDIO = Path(__file__).parent.parent
_THEMES = ("light", "dark")


def _data_block(value: Any) -> Markup:
    """``value`` as JSON that may stand inside ``<script type="application/json">``."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _compact(value: float | int | None) -> str:
    """A number as a form field shows it: no trailing zeros."""
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


_environment = Environment(
    loader=FileSystemLoader(_STUDIO / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters["data_block"] = _data_block
_environment.filters["compact"] = _compact


def render(request: Request, template: str, context: Mapping[str, Any]) -> HTMLResponse:
    """Render a page in the visitor's language and theme; pages are never cached."""
    language = languages.choose(request)
    theme = request.cookies.get("theme")
    html = _environment.get_template(template).render(
        t=languages.Translator(language),
        language=language,
        theme=theme if theme in _THEMES else None,
        **context,
    )
    response = HTMLResponse(html, headers={"Cache-Control": "no-store"})
    languages.remember(request, response, language)
    return response


class _Revalidated(StaticFiles):
    """Static files that browsers keep but ask about, so an upgrade shows at once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def static_files() -> StaticFiles:
    """The application to mount at ``/static``."""
    return _Revalidated(directory=_STUDIO / "static")
