"""What one running Studio consists of, and how it comes up and goes down."""

import asyncio
from typing import TYPE_CHECKING

from starlette.requests import Request

from hyperclova.inference.process import EngineProcess
from hyperclova.inference.protocol import ModelInformation
from hyperclova.studio.errors import RETRY, APIError
from hyperclova.studio.settings import Served, Settings
from hyperclova.studio.store import Database, Desk, Runs
from hyperclova.studio.tokenization import ServedTokenization, Tokenization

if TYPE_CHECKING:
    from hyperclova.inference.remote.served import ServedEngine


class Studio:
    """The engine, the tokenizer, the database, and the count of requests under way."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine = _engine(settings)
        self.requests_running = 0
        self._tokenization: Tokenization | ServedTokenization | None = None
        self._database: Database | None = None

    def open(self) -> None:
        """Load the tokenizer and open the database; does nothing if that is done.

        Raises:
            UserError: either cannot be had; the message says why.
        """
        if self._tokenization is None:
            self._tokenization = _tokenization(self.settings, self.engine)
        if self._database is None:
            self._database = Database(self.settings.database)

    async def start(self) -> None:
        """Open everything and begin to load the model; pages answer while it loads."""
        await asyncio.to_thread(self.open)
        await self.engine.start()

    async def stop(self) -> None:
        """End the engine's process, with it all running generations, and close the database."""
        await self.engine.stop()
        if self._tokenization is not None:
            self._tokenization.close()
        if self._database is not None:
            self._database.close()

    @property
    def tokenization(self) -> Tokenization | ServedTokenization:
        assert self._tokenization is not None, "Studio is not open"
        return self._tokenization

    @property
    def runs(self) -> Runs:
        assert self._database is not None, "Studio is not open"
        return Runs(self._database)

    @property
    def desk(self) -> Desk:
        assert self._database is not None, "Studio is not open"
        return Desk(self._database)

    def require_name(self, model: str | None) -> None:
        """Refuse a model that is not served here; None stands for the one that is."""
        if model is not None and model != self.settings.model_id:
            raise APIError(
                404,
                f"the model {model!r} does not exist here; use {self.settings.model_id!r}",
                param="model",
                code="model_not_found",
            )

    def require_ready(self) -> ModelInformation:
        """What is known of the model, if it can answer now.

        Raises:
            APIError: 503 while it loads, comes back after a crash, or could not be loaded.
        """
        state, message, model = self.engine.state, self.engine.message, self.engine.model
        if state == "ready" and model is not None:
            return model
        explanation = {
            "loading": ("the model is loading; try again in a moment", "model_loading"),
            "ready": ("the model is loading; try again in a moment", "model_loading"),
            "restarting": (
                "the engine stopped and is being started again; try again in a moment",
                "engine_restarting",
            ),
            "stopped": ("Studio is stopping", "engine_stopped"),
            "failed": (f"the model could not be loaded: {message}", "engine_failed"),
        }
        text, code = explanation[state]
        headers = RETRY if state in ("loading", "ready", "restarting") else None
        raise APIError(503, text, code=code, headers=headers)

    def enter(self) -> None:
        """Take one of the places for requests under way; :meth:`leave` gives it back."""
        if self.requests_running >= self.settings.request_limit:
            raise APIError(
                429,
                f"{self.settings.request_limit} requests are under way, the most at once; "
                "try again in a moment",
                code="rate_limit_exceeded",
                headers=RETRY,
            )
        self.requests_running += 1

    def leave(self) -> None:
        self.requests_running -= 1


def _engine(settings: Settings) -> "EngineProcess | ServedEngine":
    model = settings.model
    if not isinstance(model, Served):
        return EngineProcess(model, settings.model_id, precision=settings.precision)
    from hyperclova.inference.remote.served import ServedEngine  # and with it an HTTP client
    from hyperclova.tokenizer import Tokenizer

    # One of its own: it names tokens in the event loop, while the other encodes in a thread.
    tokenizer = None if model.tokenizer is None else Tokenizer.load(model.tokenizer)
    return ServedEngine(model.url, model.name, api_key=model.api_key, tokenizer=tokenizer)


def _tokenization(
    settings: Settings, engine: "EngineProcess | ServedEngine"
) -> Tokenization | ServedTokenization:
    model = settings.model
    directory = model.tokenizer if isinstance(model, Served) else model
    if directory is not None:
        return Tokenization(directory)
    assert not isinstance(engine, EngineProcess)
    return ServedTokenization(engine)


def studio_of(request: Request) -> Studio:
    """The Studio that a request is addressed to; for routes, as a dependency."""
    studio = request.app.state.studio
    assert isinstance(studio, Studio)
    return studio
