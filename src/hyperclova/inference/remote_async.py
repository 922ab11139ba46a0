"""The engine on a server, for asyncio programs. No torch."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from itertools import accumulate
from typing import TypeVar

import numpy as np

from hyperclova.errors import UserError
from hyperclova.inference.connection import Connection, Object
from hyperclova.inference.gather import Gatherer
from hyperclova.inference.openai_wire import (
    ChoiceReader,
    Served,
    StreamReader,
    Vocabulary,
    completion_to_plain,
    echo_to_plain,
    served_from_plain,
)
from hyperclova.inference.protocol import (
    Chunk,
    Completion,
    EngineDied,
    EngineError,
    Floats,
    ModelInformation,
    Pooling,
    Prompt,
    Request,
    Score,
    TokenResult,
)
from hyperclova.inference.soft_prompt import SoftPrompt
from hyperclova.tokenizer import Tokenizer

T = TypeVar("T")
U = TypeVar("U")

_COMPLETIONS, _EMBEDDINGS, _MODELS = "v1/completions", "v1/embeddings", "v1/models"
_TOKENIZE = "tokenize"
_PROBE = "한글은 세종이 만들었다."
_EMBEDDED = 32  # prompts in one request for embeddings
_NAMED = 8  # models named in a message


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
        self._connection = Connection(url, api_key=api_key, timeout=timeout, patience=patience)
        self._name = model
        self._tokenizer = tokenizer
        self._vocabulary = Vocabulary(tokenizer)
        self._pooling = pooling
        self._places = asyncio.Semaphore(concurrency)
        self._found: Served | None = None
        self._echoes: asyncio.Task[str | None] | None = None
        self._closed = False
        self._waits: set[asyncio.Timeout] = set()

    @property
    def address(self) -> str:
        """The server's address, without a password."""
        return self._connection.address

    @property
    def model(self) -> ModelInformation:
        return self._served.model

    async def connect(self) -> ModelInformation:
        """Ask the server what it serves; may be called again.

        Raises:
            UserError: it refuses, does not serve this model, or serves several and none was
                named; or the tokenizer is another model's.
            EngineDied: it cannot be reached.
            EngineError: it answers in another form than OpenAI's.
        """
        async with self._waiting():
            answer = await self._connection.get(_MODELS)
        with self._understood():
            offered = served_from_plain(answer)
        found = self._choose(offered)
        fingerprint = found.model.tokenizer_fingerprint
        tokenizer = self._tokenizer
        if tokenizer is not None and fingerprint and tokenizer.fingerprint != fingerprint:
            raise UserError(
                f"{self.address} runs {found.model.name} with another tokenizer than the one "
                "given; take the tokenizer of its model directory"
            )
        self._found = found
        return found.model

    async def close(self) -> None:
        """Leave the server; what still runs raises :class:`EngineDied`."""
        self._closed = True
        now = asyncio.get_running_loop().time()
        for wait in tuple(self._waits):
            wait.reschedule(now)
        await self._connection.close()

    # -- text --------------------------------------------------------------------------------------

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Chunks of all choices as they arrive. Closing the iterator closes the connection, so
        that the server frees their places.

        Raises:
            UserError: the server refuses the request, or it cannot be sent.
            EngineBusy: the server has no place for it.
            EngineDied: the server went away; the text so far is all there is.
            EngineError: the server failed.
        """
        until = None
        if request.deadline is not None:
            until = asyncio.get_running_loop().time() + request.deadline
        reader = StreamReader(request, self._vocabulary)
        try:
            async with self._waiting(until):
                body = await self._body(request)
            async with contextlib.aclosing(self._connection.events(_COMPLETIONS, body)) as events:
                while True:
                    async with self._waiting(until):
                        event = await anext(events, None)
                    if event is None:
                        break
                    with self._understood():
                        chunks = list(reader.read(event))
                    for chunk in chunks:
                        yield chunk
            with self._understood():
                chunks = list(reader.finish())
        except TimeoutError:
            chunks = list(reader.finish("deadline"))
        for chunk in chunks:
            yield chunk

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Completions of a batch, in order; see :meth:`stream` for what is raised."""
        return await self._side_by_side(self._complete, requests)

    async def _complete(self, request: Request) -> Completion:
        gatherer = Gatherer(request.n)
        async with contextlib.aclosing(self.stream(request)) as chunks:
            async for chunk in chunks:
                gatherer.add(chunk)
        return gatherer.completion()

    async def _body(self, request: Request) -> Object:
        prompt = await self._prompt(request.prompt)
        if request.echo:
            await self._require_echo()
        return completion_to_plain(
            request, prompt, self._served, has_tokenizer=self._tokenizer is not None
        )

    # -- scores ------------------------------------------------------------------------------------

    async def score(self, prompt: Prompt, continuation: str) -> Score:
        """How likely ``continuation`` is after ``prompt``, as an echo of both says it.

        The two are cut into tokens as :meth:`hyperclova.inference.Engine.score` does it.

        Raises:
            UserError: the server gives no log-probabilities of prompts, or cannot say where its
                tokens part, and there is no tokenizer here.
            EngineBusy, EngineDied, EngineError: as for :meth:`stream`.
        """
        await self._require_echo()
        if isinstance(prompt, str) and self._tokenizer is None:
            if not prompt:
                raise UserError(
                    "after an empty prompt a continuation is scored as the beginning of a "
                    "document, which needs the model's tokenizer: give RemoteEngine tokenizer="
                )
            text = prompt + continuation
            tokens = await self._echo(text)
            # Where each token begins and ends, in bytes. (The offsets count characters, and
            # those of some servers are wrong where a character is spread over tokens.)
            ends = list(accumulate(len(self._vocabulary.bytes(t.id, t.text)) for t in tokens))
            size, border = len(text.encode()), len(prompt.encode())
            if size in ends and border in ends:
                return _score(tokens[ends.index(border) + 1 : ends.index(size) + 1])
        ids, begin = await self._joined(prompt, continuation)
        tokens = await self._echo(ids)
        if len(tokens) < len(ids):
            raise EngineError(
                f"{self.address} echoed {len(tokens)} tokens of a prompt of {len(ids)}"
            )
        scored = _score(tokens[begin : len(ids)])
        return Score(tuple(ids[begin:]), scored.logprobs, scored.greedy)

    async def score_choices(self, prompt: Prompt, continuations: Sequence[str]) -> list[Score]:
        """:meth:`score` of each continuation, in order. Whether the prompt is read once is up to
        the server's prefix cache."""

        async def score(continuation: str) -> Score:
            return await self.score(prompt, continuation)

        return await self._side_by_side(score, continuations)

    async def _joined(self, prompt: Prompt, continuation: str) -> tuple[list[int], int]:
        """Token ids of both, and where the continuation's begin."""
        tokenizer = self._tokenizer
        if isinstance(prompt, str) and prompt and tokenizer is not None:
            encoding = tokenizer.encode_with_offsets(prompt + continuation)
            for begin in range(1, len(encoding.ids)):
                # A token may begin in a character in which the one before it ends.
                before, after = encoding.offsets[begin - 1 : begin + 1]
                if before[1] == after[0] == len(prompt):
                    return encoding.ids, begin
        first = await self._prompt_ids(prompt)
        if not first and tokenizer is not None:
            first = [tokenizer.end_of_text_id]
        return first + await self.tokenize(continuation, begins=False), len(first)

    async def _echo(self, prompt: str | list[int]) -> list[TokenResult]:
        body = echo_to_plain(prompt, self._served, has_tokenizer=self._tokenizer is not None)
        async with self._waiting():
            answer = await self._connection.post(_COMPLETIONS, body)
        with self._understood():
            (choice,) = answer["choices"]
            return list(ChoiceReader(self._vocabulary, 1, echo=True).read(choice))

    async def _require_echo(self) -> None:
        """Refuse a server that does not echo prompts with their log-probabilities.

        Asked once: some servers answer such a request without a word of complaint, with what
        they have written and its log-probabilities.
        """
        if self._echoes is None:
            self._echoes = asyncio.create_task(self._try_echo())
        try:
            reason = await asyncio.shield(self._echoes)
        except EngineError:
            self._echoes = None  # it was busy or away, which says nothing of what it can do
            raise
        if reason is not None:
            raise UserError(
                f"{self.address} cannot score: asked for a prompt's log-probabilities (echo, "
                f"max_tokens 0, logprobs), {reason}; score with a local engine, Studio or vLLM"
            )

    async def _try_echo(self) -> str | None:
        """Why the server does not echo; None if it does."""
        body = echo_to_plain(_PROBE, self._served, has_tokenizer=False)
        try:
            async with self._waiting():
                answer = await self._connection.post(_COMPLETIONS, body)
        except UserError as error:
            return f"it says {error}"
        except EngineError as error:
            if type(error) is not EngineError:
                raise
            return f"it fails with {error}"
        with self._understood():
            (choice,) = answer["choices"]
            if not choice["text"].startswith(_PROBE):
                return "it does not give the prompt back"
            tokens = ChoiceReader(Vocabulary(None), 1, echo=True).read(choice)
        # More than one token, the first without a log-probability, all others with one.
        if len(tokens) < 2 or [t.logprob is None for t in tokens].count(True) != 1:
            return f"it gives those of {len(tokens)} tokens"
        return None

    # -- tokens and embeddings ---------------------------------------------------------------------

    async def tokenize(self, text: str, *, begins: bool = True) -> list[int]:
        """The ids of a text: from the tokenizer given, else from the server's ``/tokenize``.

        Args:
            begins: the text begins a prompt; some models want a token before it.

        Raises:
            UserError: there is neither.
            EngineBusy, EngineDied, EngineError: as for :meth:`stream`.
        """
        if self._tokenizer is not None:
            return self._tokenizer.encode(text)
        body: Object
        match self._served.dialect:
            case "llama.cpp":
                body = {"content": text, "add_special": begins}
            case "studio" | "vllm":
                body = {"model": self.model.name, "prompt": text, "add_special_tokens": begins}
            case "other":
                raise UserError(
                    f"{self.address} is not known to offer /tokenize: give the model's tokenizer"
                )
        async with self._waiting():
            answer = await self._connection.post(_TOKENIZE, body)
        with self._understood():
            return [int(token) for token in answer["tokens"]]

    async def embed(self, prompts: Sequence[Prompt], pooling: Pooling = "mean") -> Floats:
        """Embeddings ``(prompts, width)``, float32, as the server scales them.

        Raises:
            UserError: the server offers none, or is not known to pool like this.
            EngineBusy, EngineDied, EngineError: as for :meth:`stream`.
        """
        if self._served.dialect != "studio" and self._pooling != pooling:
            known = f"pools by {self._pooling}" if self._pooling else "does not say how it pools"
            raise UserError(
                f"pooling is {pooling!r}, but {self.address} {known}: that was decided when it "
                f"was started; if it is {pooling!r}, say so with RemoteEngine(pooling=…)"
            )
        inputs = [await self._prompt(prompt) for prompt in prompts]
        if not all(isinstance(each, str) for each in inputs):  # texts and ids do not mix
            inputs = [await self._prompt_ids(prompt) for prompt in prompts]
        parts = [inputs[at : at + _EMBEDDED] for at in range(0, len(inputs), _EMBEDDED)]

        async def embed(part: list[str | list[int]]) -> list[list[float]]:
            body: Object = {"model": self.model.name, "input": part, "encoding_format": "float"}
            if self._served.dialect == "studio":
                body["pooling"] = pooling
            async with self._waiting():
                answer = await self._connection.post(_EMBEDDINGS, body)
            with self._understood():
                rows = sorted(answer["data"], key=lambda row: row["index"])
                return [row["embedding"] for row in rows]

        rows = [row for part in await self._side_by_side(embed, parts) for row in part]
        with self._understood():
            width = len(rows[0]) if rows else self.model.width
            return np.array(rows, dtype=np.float32).reshape(len(inputs), width)

    # -- inside ------------------------------------------------------------------------------------

    @property
    def _served(self) -> Served:
        assert self._found is not None, "connect() comes first"
        return self._found

    def _choose(self, offered: list[Served]) -> Served:
        names = [served.model.name for served in offered]
        listed = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
        if self._name is None:
            if len(offered) != 1:
                raise UserError(
                    f"{self.address} serves {len(names)} models; name one of them: {listed}"
                    if offered
                    else f"{self.address} serves no model"
                )
            return offered[0]
        if self._name not in names:
            raise UserError(
                f"{self.address} does not serve {self._name}; it serves {listed or 'nothing'}"
            )
        return offered[names.index(self._name)]

    async def _prompt(self, prompt: Prompt) -> str | list[int]:
        """A prompt as it is sent: as text only if there is no tokenizer here.

        What a server makes of a text may differ from what the model was trained with: vLLM and
        llama.cpp's server do not know of the morpheme analyser.
        """
        tokenizer = self._tokenizer
        if isinstance(prompt, str) and tokenizer is None:
            return prompt
        ids = await self._prompt_ids(prompt)
        if ids or self._served.dialect == "studio" or tokenizer is None:
            return ids or ""  # Studio begins a document by itself; others may refuse it
        return [tokenizer.end_of_text_id]

    async def _prompt_ids(self, prompt: Prompt) -> list[int]:
        ids: list[int] = []
        for piece in (prompt,) if isinstance(prompt, str) else prompt:
            if isinstance(piece, SoftPrompt):
                raise UserError(
                    "soft prompts cannot be sent to a server: OpenAI's wire format has no place "
                    "for them; run the model with a local Engine"
                )
            if isinstance(piece, int):
                ids.append(piece)
            elif piece:
                ids += await self.tokenize(piece, begins=not ids)
        return ids

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

    @contextlib.asynccontextmanager
    async def _waiting(self, until: float | None = None) -> AsyncIterator[None]:
        """Wait for the server no longer than ``until``, and not after :meth:`close`.

        Raises:
            TimeoutError: it is ``until``.
            EngineDied: the engine was closed.
        """
        if self._closed:
            raise EngineDied("the connection to the server was closed")
        try:
            async with asyncio.timeout_at(until) as wait:
                self._waits.add(wait)
                try:
                    yield
                finally:
                    self._waits.discard(wait)
        except TimeoutError:
            if self._closed:
                raise EngineDied("the connection to the server was closed") from None
            raise

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        """Say so if an answer has not the form that it should have."""
        try:
            yield
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise EngineError(
                f"{self.address} answered in another form than OpenAI's "
                f"({type(error).__name__}: {error})"
            ) from None


def _score(tokens: Sequence[TokenResult]) -> Score:
    """The score of echoed tokens; their ids may be unknown.

    Raises:
        EngineError: one has no log-probability.
    """
    logprobs: list[float] = []
    greedy = True
    for token in tokens:
        best = token.top[0].logprob if token.top else None
        if token.logprob is None or best is None:
            raise EngineError(f"the server gave no log-probability of the token {token.text!r}")
        logprobs.append(token.logprob)
        greedy = greedy and token.logprob >= best
    return Score(tuple(token.id for token in tokens), tuple(logprobs), greedy)
