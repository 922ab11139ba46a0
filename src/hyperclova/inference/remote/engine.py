"""The engine on a server, for programs without an event loop of their own."""

import asyncio
import contextlib
import threading
import weakref
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, NoReturn, TypeVar

from hyperclova.errors import UserError
from hyperclova.inference.protocol import (
    Chunk,
    Completion,
    EngineDied,
    Floats,
    GradientRequest,
    ModelInformation,
    Pooling,
    Prompt,
    Request,
    Score,
    Statistics,
)
from hyperclova.inference.remote.asynchronous import AsyncRemoteEngine
from hyperclova.tokenizer import Tokenizer

T = TypeVar("T")


class RemoteEngine:
    """Runs requests on a server. Safe to use from many threads.

    Implements :class:`hyperclova.inference.protocol.Backend`, except for soft prompts, gradients
    and statistics, which no server offers. See ``docs/remote.md`` for what servers differ in.

    Args:
        url: the server's address, with or without ``/v1``.
        model: the model's name on the server; may be left out if it serves only one.
        api_key: sent as a bearer token.
        tokenizer: the model's. With it prompts are sent as token ids and all tokens have ids;
            without it, text is cut into tokens by the server, and ids that the server does not
            tell are -1. Needed for models of ours on vLLM and llama.cpp's server, which do not
            know of the morpheme analyser. Don't use it elsewhere at the same time.
        pooling: how the server pools embeddings, for servers other than Studio: they were told
            when they were started and cannot be asked.
        timeout: seconds without a sign of life after which the server is given up; a prompt that
            is scored must be read within them.
        patience: seconds that a request may wait for a server that is busy (status 429) or
            loading (503), asking again when the server says, before that is an error.
        concurrency: the most requests of a batch under way at once.

    Raises:
        UserError: the address is none, the server refuses, or it does not serve the model.
        EngineDied: the server cannot be reached.
        EngineError: it does not speak OpenAI's wire format.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        api_key: str | None = None,
        tokenizer: Tokenizer | None = None,
        pooling: Pooling | None = None,
        timeout: float = 120.0,
        patience: float = 60.0,
        concurrency: int = 16,
    ) -> None:
        self._engine = AsyncRemoteEngine(
            url,
            model,
            api_key=api_key,
            tokenizer=tokenizer,
            pooling=pooling,
            timeout=timeout,
            patience=patience,
            concurrency=concurrency,
        )
        self._thread = _LoopThread()
        # Also runs at exit, and when the engine is forgotten.
        self._close = weakref.finalize(self, _close, self._engine, self._thread)
        try:
            self._thread.run(self._engine.connect())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Leave the server; streams that run raise :class:`EngineDied`."""
        self._close()

    def __enter__(self) -> "RemoteEngine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def model(self) -> ModelInformation:
        """What the server tells of the model. Sizes of context and vocabulary that it does not
        tell are 2**31 - 1, other numbers 0."""
        return self._engine.model

    def stream(self, request: Request) -> "RemoteStream":
        """Continue a prompt and give out chunks as they arrive.

        The work begins at once; closing the iterator closes the connection, so that the server
        frees its places. A deadline is kept on this side.

        Raises:
            UserError: the server refuses the request (the message is the server's), or it holds
                what cannot be sent.
            EngineBusy: the server has no place for it.
            EngineDied: the server went away; the text so far is all there is.
            EngineError: the server failed.
        """
        return RemoteStream(self._thread, self._engine.stream(request))

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Completions of a batch, in order; see :meth:`stream` for what is raised.

        If one fails, the others are given up.
        """
        return self._thread.run(self._engine.generate(requests))

    def score(self, prompt: Prompt, continuation: str) -> Score:
        """How likely ``continuation`` is after ``prompt``, as an echo of both says it.

        Raises:
            UserError: the server gives no log-probabilities of prompts; or it cannot say where
                its tokens part, and there is no tokenizer here.
            EngineBusy, EngineDied, EngineError: as for :meth:`stream`.
        """
        return self._thread.run(self._engine.score(prompt, continuation))

    def score_choices(self, prompt: Prompt, continuations: Sequence[str]) -> list[Score]:
        """:meth:`score` of each continuation, in order."""
        return self._thread.run(self._engine.score_choices(prompt, continuations))

    def embed(self, prompts: Sequence[Prompt], pooling: Pooling = "mean") -> Floats:
        """Embeddings ``(prompts, width)``, float32, as the server scales them.

        Raises:
            UserError: the server offers none, or is not known to pool like this.
            EngineBusy, EngineDied, EngineError: as for :meth:`stream`.
        """
        return self._thread.run(self._engine.embed(prompts, pooling))

    def input_gradients(self, requests: Sequence[GradientRequest]) -> NoReturn:
        """Not offered by any server.

        Raises:
            UserError: always.
        """
        raise UserError(
            f"{self._engine.address} offers no gradients: OpenAI's wire format has no place for "
            "them; run the model with a local Engine"
        )

    def statistics(self) -> Statistics:
        """Not offered by any server in OpenAI's wire format.

        Raises:
            UserError: always.
        """
        raise UserError(
            f"{self._engine.address} tells no statistics in OpenAI's wire format; see its own "
            "metrics"
        )


class RemoteStream(Iterator[Chunk]):
    """Chunks of one request. ``close()``, leaving ``with`` or dropping it stops the work.

    One chunk is fetched ahead; beyond that a slow reader slows the server, not our memory.
    """

    def __init__(self, thread: "_LoopThread", chunks: AsyncGenerator[Chunk, None]) -> None:
        self._thread = thread
        self._source = _Source(chunks)
        self._ahead: Future[Chunk | None] | None = thread.start(self._source.next())

    def __next__(self) -> Chunk:
        if self._ahead is None:
            raise StopIteration
        try:
            chunk = self._ahead.result()
        except Exception:  # not KeyboardInterrupt, after which the stream still runs
            self._ahead = None
            raise
        if chunk is None:
            self._ahead = None
            raise StopIteration
        self._ahead = self._thread.start(self._source.next())
        return chunk

    def close(self) -> None:
        """Stop the work; harmless at the end."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.cancel()
            with contextlib.suppress(EngineDied):
                self._thread.start(self._source.close())

    def __enter__(self) -> "RemoteStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_ahead"):
            self.close()


class _Source:
    """An asynchronous generator that may be closed while it is being waited for."""

    def __init__(self, chunks: AsyncGenerator[Chunk, None]) -> None:
        self._chunks = chunks
        self._one_at_a_time = asyncio.Lock()

    async def next(self) -> Chunk | None:
        async with self._one_at_a_time:
            return await anext(self._chunks, None)

    async def close(self) -> None:
        async with self._one_at_a_time:
            await self._chunks.aclose()


class _LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, daemon=True, name="remote-engine")
        self._thread.start()

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # the loop is closed
            work.close()
            raise EngineDied("the connection to the server was closed") from None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        future = self.start(work)
        try:
            return future.result()
        except BaseException:  # KeyboardInterrupt, for instance: nobody waits any more
            future.cancel()
            raise

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _close(engine: AsyncRemoteEngine, thread: _LoopThread) -> None:
    try:
        thread.run(_finish(engine))
    finally:
        thread.close()


async def _finish(engine: AsyncRemoteEngine) -> None:
    await engine.close()
    # What still waits learns of the end before the loop stops.
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), 5)
