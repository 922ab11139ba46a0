"""Scores from a server: the log-probabilities of an echoed prompt, if it really echoes it."""

import asyncio
from collections.abc import Sequence
from itertools import accumulate

from hyperclova.errors import UserError
from hyperclova.inference.protocol import EngineError, Prompt, Score, TokenResult
from hyperclova.inference.remote.session import Session
from hyperclova.inference.remote.wire import ChoiceReader, Vocabulary, echo_to_plain
from hyperclova.inference.token_text import text_bytes

COMPLETIONS = "v1/completions"
_PROBE = "한글은 세종이 만들었다."


class Scorer:
    """Scores continuations; asks first, and once, whether the server can."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._echoes: asyncio.Task[str | None] | None = None

    async def score(self, prompt: Prompt, continuation: str) -> Score:
        """How likely ``continuation`` is after ``prompt``, as an echo of both says it.

        The two are cut into tokens as :meth:`hyperclova.inference.Engine.score` does it.

        Raises:
            UserError: the server gives no log-probabilities of prompts, or cannot say where its
                tokens part, and there is no tokenizer here.
            EngineBusy, EngineDied, EngineError: as :class:`Session` says.
        """
        await self.require_echo()
        if self._session.tokenizer is None:
            if not prompt:
                raise UserError(
                    "after an empty prompt a continuation is scored as the beginning of a "
                    "document, which needs the model's tokenizer: give RemoteEngine tokenizer="
                )
            if isinstance(prompt, str):
                tokens = _between(await self._echo(prompt + continuation), prompt, continuation)
                if tokens is not None:
                    return _score(tokens)
        ids, begin = await self._joined(prompt, continuation)
        tokens = await self._echo(ids)
        if len(tokens) < len(ids):
            raise EngineError(
                f"{self._session.address} echoed {len(tokens)} tokens of a prompt of {len(ids)}"
            )
        scored = _score(tokens[begin : len(ids)])
        return Score(tuple(ids[begin:]), scored.logprobs, scored.greedy)

    async def require_echo(self) -> None:
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
                f"{self._session.address} cannot score: asked for a prompt's log-probabilities "
                f"(echo, max_tokens 0, logprobs), {reason}; score with a local engine, Studio or "
                "vLLM"
            )

    async def _try_echo(self) -> str | None:
        """Why the server does not echo; None if it does."""
        body = echo_to_plain(_PROBE, self._session.served, has_tokenizer=False)
        try:
            answer = await self._session.post(COMPLETIONS, body)
        except UserError as error:
            return f"it says {error}"
        except EngineError as error:
            if type(error) is not EngineError:
                raise
            return f"it fails with {error}"
        with self._session.understood():
            (choice,) = answer["choices"]
            if not choice["text"].startswith(_PROBE):
                return "it does not give the prompt back"
            tokens = ChoiceReader(Vocabulary(None), 1, echo=True).read(choice)
        # Several tokens, of which only the first has nothing before it.
        measured = [token.logprob is not None for token in tokens]
        if len(tokens) < 2 or measured != [False] + [True] * (len(tokens) - 1):
            return f"it gives those of {len(tokens)} tokens"
        return None

    async def _joined(self, prompt: Prompt, continuation: str) -> tuple[list[int], int]:
        """Token ids of both, and where the continuation's begin."""
        tokenizer = self._session.tokenizer
        if isinstance(prompt, str) and prompt and tokenizer is not None:
            encoding = tokenizer.encode_with_offsets(prompt + continuation)
            for begin in range(1, len(encoding.ids)):
                # A token may begin in a character in which the one before it ends.
                before, after = encoding.offsets[begin - 1 : begin + 1]
                if before[1] == after[0] == len(prompt):
                    return encoding.ids, begin
        first = await self._session.prompt_ids(prompt)
        if not first and tokenizer is not None:
            first = [tokenizer.end_of_text_id]
        return first + await self._session.tokenize(continuation, begins=False), len(first)

    async def _echo(self, prompt: str | list[int]) -> list[TokenResult]:
        body = echo_to_plain(
            prompt, self._session.served, has_tokenizer=self._session.tokenizer is not None
        )
        answer = await self._session.post(COMPLETIONS, body)
        with self._session.understood():
            (choice,) = answer["choices"]
            return list(ChoiceReader(self._session.vocabulary, 1, echo=True).read(choice))


def _between(
    tokens: Sequence[TokenResult], prompt: str, continuation: str
) -> Sequence[TokenResult] | None:
    """The tokens of the continuation, if the two texts part between tokens.

    None also if the tokens' texts are not those texts: some servers lose the bytes of tokens that
    are not whole characters, and then their offsets are wrong as well.
    """
    data = [text_bytes(token.text) for token in tokens]
    ends = list(accumulate(map(len, data)))
    border, size = len(prompt.encode()), len((prompt + continuation).encode())
    if border not in ends or size not in ends:
        return None
    if b"".join(data)[:size] != (prompt + continuation).encode():
        return None
    return tokens[ends.index(border) + 1 : ends.index(size) + 1]


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
