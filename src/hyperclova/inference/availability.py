"""What asyncio programs see of an engine that may come and go. No torch here."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from hyperclova.inference.protocol import EngineBusy, EngineDied, ModelInformation

State = Literal["loading", "ready", "restarting", "failed", "stopped"]


class Availability:
    """The state of an engine that runs elsewhere, and the places for requests to it; belongs to
    one event loop.

    Args:
        limit: the most requests under way or waiting; further ones are refused.
        patience: seconds a request waits for an engine that is away or still loading.
    """

    def __init__(self, limit: int, patience: float) -> None:
        self._limit, self._patience = limit, patience
        self._state: State = "stopped"
        self._message = "the engine has not been started"
        self._model: ModelInformation | None = None
        self._changed = asyncio.Event()
        self._under_way = 0

    @property
    def state(self) -> State:
        return self._state

    @property
    def message(self) -> str:
        """What the state means, in a sentence for people."""
        return self._message

    @property
    def model(self) -> ModelInformation | None:
        """What is known of the model; None until it was ready for the first time."""
        return self._model

    async def wait_ready(self) -> ModelInformation:
        """Wait until the model can be used.

        Raises:
            EngineDied: it never will be, or the engine was stopped.
        """
        while self._state in ("loading", "restarting"):
            await self._changed.wait()
        if self._state != "ready" or self._model is None:
            raise EngineDied(self._message)
        return self._model

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """A place for one request, once the engine is ready."""
        if self._under_way >= self._limit:
            raise EngineBusy(
                f"{self._limit} requests are under way, the most at once; try again in a moment"
            )
        self._under_way += 1
        try:
            try:
                async with asyncio.timeout(self._patience):
                    await self.wait_ready()
            except TimeoutError:
                reason = f"{self._message}; gave up after {self._patience:.0f} s"
                raise EngineDied(reason) from None
            yield
        finally:
            self._under_way -= 1

    def _enter(self, state: State, message: str) -> None:
        self._state, self._message = state, message
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
