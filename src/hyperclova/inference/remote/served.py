"""The engine on a server, for programs that live longer than it does. No torch here.

:class:`ServedEngine` stands where :class:`~hyperclova.inference.process.EngineProcess` stands
and speaks as it does. Whatever happens to the server, the program goes on, says what happened,
and uses it again when it is back.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from hyperclova.errors import UserError
from hyperclova.inference.availability import Availability
from hyperclova.inference.protocol import (
    Chunk,
    EngineDied,
    EngineError,
    Prompt,
    Request,
    Score,
)
from hyperclova.inference.remote.asynchronous import AsyncRemoteEngine
from hyperclova.tokenizer import Tokenizer

_FIRST_DELAY, _LONGEST_DELAY = 0.5, 15.0  # seconds until a server that is away is looked for again
_WATCH = 15.0  # seconds between looks at a server that is there
_PATIENCE_OF_ONE = 5.0  # seconds that one request waits for a server that is busy or loading


class ServedEngine(Availability):
    """An engine on a server; belongs to one event loop.

    Args:
        url, name, api_key, tokenizer, timeout: as for
            :class:`hyperclova.inference.remote.RemoteEngine`.
        limit: the most requests under way or waiting; further ones are refused.
        patience: seconds a request waits for a server that is away.
    """

    def __init__(
        self,
        url: str,
        name: str | None = None,
        *,
        api_key: str | None = None,
        tokenizer: Tokenizer | None = None,
        timeout: float = 120.0,
        limit: int = 512,
        patience: float = 120.0,
    ) -> None:
        super().__init__(limit, patience)
        self._engine = AsyncRemoteEngine(
            url,
            name,
            api_key=api_key,
            tokenizer=tokenizer,
            timeout=timeout,
            patience=_PATIENCE_OF_ONE,
        )
        self._doubted = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look for the server and return at once; requests wait until it is there."""
        if self._watcher is None:
            self._enter("loading", f"looking for {self._engine.address}")
            self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Leave the server; running streams raise :class:`EngineDied`."""
        self._enter("stopped", "the engine was stopped")
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
        await self._engine.close()

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Chunks of all choices as they arrive. Closing the iterator stops the work.

        Raises:
            UserError: the request cannot be answered as it is.
            EngineBusy: too many requests are under way, here or there.
            EngineDied: the server went away; the text so far is all there is.
            EngineError: the server failed.
        """
        async with (
            self._call() as engine,
            contextlib.aclosing(engine.stream(request)) as chunks,
        ):
            async for chunk in chunks:
                yield chunk

    async def score(self, prompt: Prompt, continuation: str) -> Score:
        """How likely a continuation is; see :meth:`stream` for what is raised."""
        async with self._call() as engine:
            return await engine.score(prompt, continuation)

    async def tokenize(self, text: str) -> list[int]:
        """The ids of a prompt; see :meth:`stream` for what is raised."""
        async with self._call() as engine:
            return await engine.tokenize(text)

    # -- inside ------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _call(self) -> AsyncGenerator[AsyncRemoteEngine, None]:
        try:
            async with self._place():
                yield self._engine
        except EngineDied:
            self._doubted.set()  # perhaps it was only this one; the watcher finds out
            raise

    async def _watch(self) -> None:
        """Look at the server again and again, and at once when a request saw it die."""
        delay = _FIRST_DELAY
        while True:
            self._doubted.clear()
            try:
                self._model = await self._engine.connect()
            except UserError as error:  # a wrong key or name; it may be put right over there
                self._enter("failed", str(error))
            except EngineError as error:
                self._enter("loading" if self._model is None else "restarting", str(error))
            else:
                delay = _FIRST_DELAY
                self._enter("ready", "the engine is ready")
            if self._state == "ready":
                # Not wait_for, which until Python 3.12 forgets a cancellation that meets the event.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_WATCH):
                        await self._doubted.wait()
            else:
                await asyncio.sleep(delay)
                delay = min(2 * delay, _LONGEST_DELAY)
