"""The engine on a server, for asyncio programs. No torch."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TypeVar

import numpy as np

from hyperclova.errors import UserError
from hyperclova.inference.gather import Gatherer
from hyperclova.inference.protocol import (
    Chunk,
    Completion,
    Floats,
    ModelInformation,
    Pooling,
    Prompt,
    Request,
    Score,
)
from hyperclova.inference.remote.connection import Connection, Object
from hyperclova.inference.remote.scores import COMPLETIONS, Scorer
from hyperclova.inference.remote.session import Session
from hyperclova.inference.remote.wire import StreamReader, completion_to_plain
from hyperclova.inference.validation import check_request
from hyperclova.tokenizer import Tokenizer

T = TypeVar("T")
U = TypeVar("U")

_EMBEDDINGS = "v1/embeddings"
_EMBEDDED = 32  # prompts in one request for embeddings


class AsyncRemoteEngine:
    """Runs requests on a server that speaks OpenAI's wire format; belongs to one event loop.

    :meth:`connect` comes first. The arguments are those of
    :class:`hyperclova.inference.remote.RemoteEngine`.
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
        connection = Connection(url, api_key=api_key, timeout=timeout, patience=patience)
        self._session = Session(connection, model, tokenizer)
        self._scorer = Scorer(self._session)
        self._pooling = pooling
        self._places = asyncio.Semaphore(concurrency)

    @property
    def address(self) -> str:
        """The server's address, without a password."""
        return self._session.address

    @property
    def model(self) -> ModelInformation:
        return self._session.served.model

    async def connect(self) -> ModelInformation:
        """Ask the server what it serves; may be called again.

        Raises:
            UserError: it refuses, does not serve this model, or serves several and none was
                named; or the tokenizer is another model's.
            EngineDied: it cannot be reached.
            EngineError: it answers in another form than OpenAI's.
        """
        return await self._session.connect()

    async def close(self) -> None:
        """Leave the server; what still runs raises :class:`EngineDied`."""
        await self._session.close()

    # -- text --------------------------------------------------------------------------------------

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Chunks of all choices as they arrive. Closing the iterator closes the connection, so
        that the server frees their places.

        Raises:
            UserError: a value is out of range, the server refuses the request, or it cannot be
                sent.
            EngineBusy: the server has no place for it.
            EngineDied: the server went away; the text so far is all there is.
            EngineError: the server failed.
        """
        until = None
        if request.deadline is not None:
            until = asyncio.get_running_loop().time() + request.deadline
        session = self._session
        check_request(request, session.served.model)
        reader = StreamReader(request, session.vocabulary)
        try:
            async with session.waiting(until):
                body = await self._body(request)
            async with contextlib.aclosing(session.events(COMPLETIONS, body)) as events:
                while True:
                    async with session.waiting(until):
                        event = await anext(events, None)
                    if event is None:
                        break
                    with session.understood():
                        chunks = list(reader.read(event))
                    for chunk in chunks:
                        yield chunk
            with session.understood():
                chunks = list(reader.finish())
        except TimeoutError:
            chunks = list(reader.finish("deadline"))
        for chunk in chunks:
            yield chunk

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Completions of a batch, in order; see :meth:`stream` for what is raised."""
        return await self._side_by_side(self._complete, requests)

    async def _complete(self, request: Request) -> Completion:
        check_request(request, self.model)
        gatherer = Gatherer(request.n)
        async with contextlib.aclosing(self.stream(request)) as chunks:
            async for chunk in chunks:
                gatherer.add(chunk)
        return gatherer.completion()

    async def _body(self, request: Request) -> Object:
        session = self._session
        prompt = await session.prompt(request.prompt)
        if request.echo:
            await self._scorer.require_echo()
        return completion_to_plain(
            request, prompt, session.served, has_tokenizer=session.tokenizer is not None
        )

    # -- scores ------------------------------------------------------------------------------------

    async def score(self, prompt: Prompt, continuation: str) -> Score:
        """How likely ``continuation`` is after ``prompt``, as an echo of both says it.

        Raises:
            UserError: the server gives no log-probabilities of prompts, or cannot say where its
                tokens part, and there is no tokenizer here.
            EngineBusy, EngineDied, EngineError: as for :meth:`stream`.
        """
        return await self._scorer.score(prompt, continuation)

    async def score_choices(self, prompt: Prompt, continuations: Sequence[str]) -> list[Score]:
        """:meth:`score` of each continuation, in order. Whether the prompt is read once is up to
        the server's prefix cache."""

        async def score(continuation: str) -> Score:
            return await self.score(prompt, continuation)

        return await self._side_by_side(score, continuations)

    # -- tokens and embeddings ---------------------------------------------------------------------

    async def tokenize(self, text: str) -> list[int]:
        """The ids of a prompt: from the tokenizer given, else from the server's ``/tokenize``.

        Raises:
            UserError: there is neither.
            EngineBusy, EngineDied, EngineError: as for :meth:`stream`.
        """
        return await self._session.tokenize(text)

    async def embed(self, prompts: Sequence[Prompt], pooling: Pooling = "mean") -> Floats:
        """Embeddings ``(prompts, width)``, float32, as the server scales them.

        Raises:
            UserError: the server offers none, or is not known to pool like this.
            EngineBusy, EngineDied, EngineError: as for :meth:`stream`.
        """
        session = self._session
        if session.served.dialect != "studio" and self._pooling != pooling:
            known = f"pools by {self._pooling}" if self._pooling else "does not say how it pools"
            raise UserError(
                f"pooling is {pooling!r}, but {self.address} {known}: that was decided when it "
                f"was started; if it is {pooling!r}, say so with RemoteEngine(pooling=…)"
            )
        inputs = [await session.prompt(prompt) for prompt in prompts]
        if not all(isinstance(each, str) for each in inputs):  # texts and ids do not mix
            inputs = [await session.prompt_ids(prompt) for prompt in prompts]
        parts = [inputs[at : at + _EMBEDDED] for at in range(0, len(inputs), _EMBEDDED)]

        async def embed(part: list[str | list[int]]) -> list[list[float]]:
            body: Object = {"model": self.model.name, "input": part, "encoding_format": "float"}
            if session.served.dialect == "studio":
                body["pooling"] = pooling
            answer = await session.post(_EMBEDDINGS, body)
            with session.understood():
                rows = sorted(answer["data"], key=lambda row: row["index"])
                return [row["embedding"] for row in rows]

        rows = [row for part in await self._side_by_side(embed, parts) for row in part]
        with session.understood():
            width = len(rows[0]) if rows else self.model.width
            return np.array(rows, dtype=np.float32).reshape(len(inputs), width)

    # -- inside ------------------------------------------------------------------------------------

    async def _side_by_side(self, work: Callable[[U], Awaitable[T]], items: Sequence[U]) -> list[T]:
        """``work`` of all items, a bounded number at once; the first failure ends the others."""

        async def one(item: U) -> T:
            async with self._places:
                return await work(item)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(item)) for item in items]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]
