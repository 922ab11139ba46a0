"""The web application: routes, what wraps them, and the life of the engine behind them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from hyperclova import __version__
from hyperclova.studio import errors, pages
from hyperclova.studio.api import desk, openai, runs, status, tokenize
from hyperclova.studio.middleware import BodyLimit, Envelope
from hyperclova.studio.service import Studio
from hyperclova.studio.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """Studio as an ASGI application. Its engine lives from start-up to shut-down.

    The running :class:`~hyperclova.studio.service.Studio` is ``app.state.studio``.
    """
    studio = Studio(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            await studio.start()
            yield
        finally:
            await studio.stop()

    # The interactive manuals that FastAPI offers load scripts from elsewhere; ours is in docs/.
    app = FastAPI(
        title="HyperCLOVA Studio",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.studio = studio
    errors.install(app)
    for module in (openai, tokenize, status, runs, desk):
        app.include_router(module.router)

    async def read_desk() -> dict[str, Any]:
        return await desk.describe(studio)

    def read_status() -> dict[str, Any]:
        return status.describe(studio)

    app.include_router(pages.create_router(read_desk, read_status))
    app.mount("/static", pages.static_files(), name="static")
    app.add_middleware(BodyLimit, limit=settings.body_limit)
    app.add_middleware(Envelope, allowed_hosts=settings.allowed_hosts)
    return app
