"""The Playground: one document that people and the model write together."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from hyperclova.studio import parameters
from hyperclova.studio.pages import languages
from hyperclova.studio.pages.rendering import render

Data: TypeAlias = Mapping[str, Any]
Reader: TypeAlias = Callable[[], Data | Awaitable[Data]]


@dataclass(frozen=True)
class Example:
    """A beginning for the empty page. The model is Korean, so it is Korean in every language."""

    name: str
    """Its caption and lesson are the messages ``example.NAME`` and ``example.NAME.lesson``."""
    prompt: str
    stop: tuple[str, ...] = ()


EXAMPLES = (
    Example(
        "story", "옛날 옛적 어느 산골 마을에 마음씨 착한 나무꾼이 살았습니다. 어느 날 나무꾼은"
    ),
    Example("petition", "저는 두 아이를 키우는 엄마입니다. 요즘 아이들이 다니는 학교 앞 도로가"),
    Example("review", "이 영화를 두 번이나 봤다. 무엇보다"),
    Example(
        "pattern",
        "영화평: 배우들 연기가 정말 좋았다.\n느낌: 좋음\n\n"
        "영화평: 두 시간이 아까웠다.\n느낌: 나쁨\n\n"
        "영화평: 음악까지 마음에 드는 영화.\n느낌:",
        stop=("\n",),
    ),
)
"""What a language model does, taught by four texts to go on with."""


def create_router(read_desk: Reader, read_status: Reader) -> APIRouter:
    """The Playground and its JSON twin.

    ``read_desk`` gives what ``GET /api/desk`` answers, ``read_status`` what ``GET /api/status``
    answers; either may be a coroutine function.
    """
    router = APIRouter(include_in_schema=False)

    async def page_data(request: Request) -> dict[str, Any]:
        status = await _read(read_status)
        return {
            "language": languages.choose(request),
            "model": status.get("model"),
            "status": status,
            "groups": parameters.groups(),
            "parameters": parameters.definitions(),
            "defaults": parameters.defaults(),
            "desk": await _read(read_desk),
        }

    @router.get("/")
    async def home(request: Request) -> Response:
        return RedirectResponse(request.url.replace(path="/playground"), status_code=307)

    @router.api_route("/playground", methods=["GET", "HEAD"])
    async def playground(request: Request) -> Response:
        data = await page_data(request)
        return render(
            request,
            "playground.html",
            {
                "data": {**data, "messages": languages.messages(data["language"])},
                "groups": data["groups"],
                "parameters": data["parameters"],
                "examples": EXAMPLES,
            },
        )

    @router.get("/playground.json")
    async def playground_json(request: Request) -> Response:
        return JSONResponse(await page_data(request), headers={"Cache-Control": "no-store"})

    return router


async def _read(reader: Reader) -> Data:
    value = reader()
    return await value if inspect.isawaitable(value) else value
