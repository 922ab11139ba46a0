"""What one program has with one server: which model it is, what stands where, and the end."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

from hyperclova.errors import UserError
from hyperclova.inference.protocol import EngineDied, EngineError, ModelInformation, Prompt
from hyperclova.inference.remote.connection import Connection, Object
from hyperclova.inference.remote.wire import Served, Vocabulary, served_from_plain
from hyperclova.inference.soft_prompt import SoftPrompt
from hyperclova.tokenizer import Tokenizer

_MODELS, _TOKENIZE = "v1/models", "tokenize"
_NAMED = 8  # models named in a message


class Session:
    """A server and one of its models; belongs to one event loop.

    :meth:`connect` comes first. Everything that asks the server raises

    - :class:`~hyperclova.errors.UserError` if it refuses,
    - :class:`EngineBusy` if it has no place,
    - :class:`EngineDied` if it cannot be reached or went away, or the session was closed,
    - :class:`EngineError` if it fails, or answers in another form than OpenAI's.
    """

    def __init__(
        self, connection: Connection, name: str | None, tokenizer: Tokenizer | None
    ) -> None:
        self._connection = connection
        self._name = name
        self.tokenizer = tokenizer
        self.vocabulary = Vocabulary(tokenizer)
        self._found: Served | None = None
        self._closed = False
        self._waits: set[asyncio.Timeout] = set()

    @property
    def address(self) -> str:
        """The server's address, without a password."""
        return self._connection.address

    @property
    def served(self) -> Served:
        assert self._found is not None, "connect() comes first"
        return self._found

    async def post(self, path: str, body: Object) -> Object:
        """The JSON object that answers ``body``."""
        async with self.waiting():
            return await self._connection.post(path, body)

    def events(self, path: str, body: Object) -> AsyncGenerator[Object, None]:
        """The events that answer ``body``, to be waited for inside :meth:`waiting`."""
        return self._connection.events(path, body)

    async def connect(self) -> ModelInformation:
        """Ask the server what it serves; may be called again.

        Raises:
            UserError: it refuses, does not serve this model, or serves several and none was
                named; or the tokenizer is another model's.
            EngineDied: it cannot be reached.
            EngineError: it answers in another form than OpenAI's.
        """
        async with self.waiting():
            answer = await self._connection.get(_MODELS)
        with self.understood():
            offered = served_from_plain(answer)
        found = self._choose(offered)
        fingerprint = found.model.tokenizer_fingerprint
        tokenizer = self.tokenizer
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

    async def tokenize(self, text: str, *, begins: bool = True) -> list[int]:
        """The ids of a text: from the tokenizer given, else from the server's ``/tokenize``.

        Args:
            begins: the text begins a prompt; some models want a token before it.

        Raises:
            UserError: there is neither.
            EngineBusy, EngineDied, EngineError: as the class says.
        """
        if self.tokenizer is not None:
            return self.tokenizer.encode(text)
        body: Object
        match self.served.dialect:
            case "llama.cpp":
                body = {"content": text, "add_special": begins}
            case "studio" | "vllm":
                body = {
                    "model": self.served.model.name,
                    "prompt": text,
                    "add_special_tokens": begins,
                }
            case "other":
                raise UserError(
                    f"{self.address} is not known to offer /tokenize: give the model's tokenizer"
                )
        answer = await self.post(_TOKENIZE, body)
        with self.understood():
            return [int(token) for token in answer["tokens"]]

    async def prompt(self, prompt: Prompt) -> str | list[int]:
        """A prompt as it is sent: as text, or as ids if the tokenizer is here.

        What a server makes of a text may differ from what the model was trained with: vLLM and
        llama.cpp's server do not know of the morpheme analyser. Studio does, and it heals texts.
        """
        tokenizer = self.tokenizer
        ours = self.served.dialect == "studio"
        if isinstance(prompt, str) and (tokenizer is None or ours):
            return prompt
        ids = await self.prompt_ids(prompt)
        if ids or ours or tokenizer is None:
            return ids or ""  # Studio begins a document by itself; others may refuse it
        return [tokenizer.end_of_text_id]

    async def prompt_ids(self, prompt: Prompt) -> list[int]:
        """The ids of all pieces of a prompt, one after another."""
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

    @contextlib.asynccontextmanager
    async def waiting(self, until: float | None = None) -> AsyncIterator[None]:
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
    def understood(self) -> Iterator[None]:
        """Say so if an answer has not the form that it should have."""
        try:
            yield
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise EngineError(
                f"{self.address} answered in another form than OpenAI's "
                f"({type(error).__name__}: {error})"
            ) from None

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
