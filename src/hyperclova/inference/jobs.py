"""What the scheduler works on: prompts to continue, to score, to embed."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hyperclova.inference.cache import KeyValues
from hyperclova.inference.logprobs import Measured, measure
from hyperclova.inference.prompt import Symbols
from hyperclova.inference.protocol import (
    Chunk,
    FinishReason,
    Floats,
    Pooling,
    Request,
    Score,
    TokenResult,
)
from hyperclova.inference.sampling import Chooser
from hyperclova.inference.text import Writer

_MEASURED_ROWS = 64  # rows of logits held at once when a prompt is measured

OnEnd = Callable[[BaseException | None], None]


@dataclass(frozen=True)
class Wish:
    """States whose logits somebody wants."""

    states: Tensor
    """``(rows, width)``"""
    take: Callable[[Tensor], None]
    """Called with the logits ``(rows, vocab_size)``."""


@dataclass(eq=False)
class Reader:
    """Symbols on their way into a sequence's keys and values."""

    job: "Job"
    symbols: Symbols
    cache: KeyValues | None = None
    """None until reading begins: what can be reused is decided then."""
    begin: int = 0
    """The cache's position at which ``symbols`` begin; not 0 for a continuation of a prompt."""
    reuse: int = 0
    """The most positions that may come from the prefix cache."""
    remember: bool = True
    """Whether what has been read goes into the prefix cache."""

    @property
    def place(self) -> int:
        """The next symbol to be read."""
        return 0 if self.cache is None else self.cache.length - self.begin

    @property
    def left(self) -> int:
        return len(self.symbols) - self.place


class Job(ABC):
    """One piece of work for the scheduler, from submission to its end.

    ``on_end`` is called exactly once, on the scheduler's thread, with the error if there was one;
    it must not block.
    """

    def __init__(self, on_end: OnEnd, *, client: str = "", deadline: float | None = None) -> None:
        self._on_end = on_end
        self.client = client
        self.expires = None if deadline is None else time.monotonic() + deadline
        self.cancelled = False
        self.ended = False

    def cancel(self) -> None:
        """Stop as soon as possible; may be called on any thread, more than once."""
        self.cancelled = True

    @property
    def expired(self) -> bool:
        return self.expires is not None and time.monotonic() >= self.expires

    def end(self, error: BaseException | None = None) -> None:
        if not self.ended:
            self.ended = True
            self._on_end(error)

    def stop(self, reason: FinishReason) -> None:
        """End early, telling whoever waits what there is to tell."""
        self.end()

    @abstractmethod
    def reader(self) -> Reader | None:
        """What must be read first; None if the model is not needed at all."""

    @abstractmethod
    def states(self, reader: Reader, begin: int, states: Tensor) -> list[Wish]:
        """Take the states ``(tokens, width)`` after the reader's symbols from ``begin`` on."""

    def read(self, reader: Reader) -> list[Reader]:
        """A reader has come to its end, wishes fulfilled; what is to be read next."""
        return []


@dataclass(eq=False)
class Row:
    """One choice being written."""

    job: "Generation"
    choice: int
    cache: KeyValues
    chooser: Chooser
    writer: Writer
    limit: int
    """The most tokens it may generate, besides those that repeat the prompt."""
    last: int = -1
    generated: int = 0

    def emit(self, text: str, tokens: tuple[TokenResult, ...], reason: FinishReason | None) -> None:
        if text or tokens or reason:
            self.job.emit(self.choice, text, tokens, reason, self.generated)


class Generation(Job):
    """A prompt to continue. ``on_chunk`` must not block."""

    def __init__(
        self,
        request: Request,
        prompt: Symbols,
        seed: int,
        vocabulary: int,
        on_chunk: Callable[[Chunk], None],
        on_end: OnEnd,
        prompt_tokens: int,
        remainder: bytes = b"",
    ) -> None:
        """
        Args:
            vocabulary: how many ids the tokenizer has.
            prompt_tokens: of the client's prompt.
            remainder: the end of the client's prompt that ``prompt`` lacks and that the
                continuations write again.
        """
        super().__init__(on_end, client=request.client, deadline=request.deadline)
        self.prompt_tokens, self.remainder = prompt_tokens, remainder
        self.request, self.prompt, self.seed = request, prompt, seed
        self._vocabulary = vocabulary
        self._on_chunk = on_chunk
        self.measured: list[Measured | None] = [None]
        """Of each symbol, if the prompt is echoed with log-probabilities."""
        self.logits: Tensor | None = None
        """``(1, vocab_size)`` after the prompt."""
        self.cache: KeyValues | None = None
        """The prompt's, once it has been read."""
        self.begun = 0
        """Choices that are or were being written."""
        self.open = 0
        """Choices being written."""

    def emit(
        self,
        choice: int,
        text: str,
        tokens: tuple[TokenResult, ...],
        reason: FinishReason | None,
        generated: int,
    ) -> None:
        self._on_chunk(Chunk(choice, text, tokens, reason, self.prompt_tokens, generated))

    def stop(self, reason: FinishReason) -> None:
        for choice in range(self.begun, self.request.n):
            self.emit(choice, "", (), reason, 0)
        self.end()

    @property
    def _echoes_measured(self) -> bool:
        return self.request.echo and self.request.logprobs is not None

    def reader(self) -> Reader | None:
        if not (self.request.max_tokens or self._echoes_measured):
            return None
        # The last symbol's state is always needed, and with measuring all of them are.
        reuse = 0 if self._echoes_measured else len(self.prompt) - 1
        return Reader(self, self.prompt, reuse=reuse)

    def states(self, reader: Reader, begin: int, states: Tensor) -> list[Wish]:
        wishes = []
        total = len(self.prompt)
        if self._echoes_measured:
            # The state at one place says how likely the symbol at the next one is.
            last = min(begin + len(states), total - 1)
            wishes += [
                self._measuring(at, states[at - begin : min(at + _MEASURED_ROWS, last) - begin])
                for at in range(begin, last, _MEASURED_ROWS)
            ]
        if begin + len(states) == total and self.request.max_tokens:
            wishes.append(Wish(states[-1:], self._take_logits))
        return wishes

    def _measuring(self, begin: int, states: Tensor) -> Wish:
        following = self.prompt.ids(begin + 1, begin + 1 + len(states))

        def take(logits: Tensor) -> None:
            top = self.request.logprobs or 0
            self.measured += measure(logits, following, top, self._vocabulary)

        return Wish(states, take)

    def _take_logits(self, logits: Tensor) -> None:
        self.logits = logits.clone()

    def read(self, reader: Reader) -> list[Reader]:
        self.cache = reader.cache
        return []


class Scoring(Job):
    """Continuations of one prompt, each to be scored by itself.

    The prompt is read once; each continuation then goes on from it.
    """

    def __init__(
        self,
        prompt: Symbols,
        continuations: Sequence[tuple[int, ...]],
        vocabulary: int,
        on_scores: Callable[[list[Score]], None],
        on_end: OnEnd,
    ) -> None:
        super().__init__(on_end)
        self._prompt, self._continuations = prompt, continuations
        self._vocabulary = vocabulary
        self._on_scores = on_scores
        self._measured: list[list[Measured]] = [[] for _ in continuations]
        self._readers: dict[Reader, int] = {}

    def reader(self) -> Reader | None:
        return Reader(self, self._prompt, reuse=len(self._prompt) - 1)

    def states(self, reader: Reader, begin: int, states: Tensor) -> list[Wish]:
        if reader.symbols is self._prompt:
            if begin + len(states) < len(self._prompt):
                return []
            return [Wish(states[-1:], self._begin_continuations)]
        index = self._readers[reader]
        following = self._continuations[index][begin + 1 :]
        return [
            self._measuring(index, following[at:], states[at : at + _MEASURED_ROWS])
            for at in range(0, len(states), _MEASURED_ROWS)
        ]

    def _begin_continuations(self, logits: Tensor) -> None:
        for measured, tokens in zip(self._measured, self._continuations, strict=True):
            if tokens:
                measured += measure(logits, tokens[:1], 1, self._vocabulary)

    def _measuring(self, index: int, following: tuple[int, ...], states: Tensor) -> Wish:
        def take(logits: Tensor) -> None:
            tokens = following[: len(logits)]
            self._measured[index] += measure(logits, tokens, 1, self._vocabulary)

        return Wish(states, take)

    def read(self, reader: Reader) -> list[Reader]:
        if reader.symbols is self._prompt:
            assert reader.cache is not None
            for index, tokens in enumerate(self._continuations):
                if len(tokens) > 1:
                    rest = Reader(
                        self,
                        Symbols(tokens[:-1]),
                        reader.cache.fork(),
                        begin=len(self._prompt),
                        remember=False,
                    )
                    self._readers[rest] = index
            begun = list(self._readers)
        else:
            del self._readers[reader]
            begun = []
        if not self._readers:
            self._on_scores(
                [
                    _score(tokens, measured)
                    for tokens, measured in zip(self._continuations, self._measured, strict=True)
                ]
            )
            self.end()
        return begun


def _score(tokens: tuple[int, ...], measured: Sequence[Measured]) -> Score:
    logprobs = []
    greedy = True
    for one in measured:
        assert one.logprob is not None
        logprobs.append(one.logprob)
        greedy = greedy and one.logprob >= one.top[0][1]
    return Score(tokens, tuple(logprobs), greedy)


class Embedding(Job):
    """A prompt whose states are wanted."""

    def __init__(
        self,
        prompt: Symbols,
        pooling: Pooling,
        on_embedding: Callable[[Floats], None],
        on_end: OnEnd,
    ) -> None:
        super().__init__(on_end)
        self._prompt, self._pooling, self._on_embedding = prompt, pooling, on_embedding
        self._sum: Tensor | None = None

    def reader(self) -> Reader | None:
        reuse = len(self._prompt) - 1 if self._pooling == "last" else 0
        return Reader(self, self._prompt, reuse=reuse)

    def states(self, reader: Reader, begin: int, states: Tensor) -> list[Wish]:
        if self._pooling == "last":
            self._sum = states[-1].double()
        else:
            total = states.sum(0, dtype=torch.float64)
            self._sum = total if self._sum is None else self._sum + total
        return []

    def read(self, reader: Reader) -> list[Reader]:
        assert self._sum is not None
        count = 1 if self._pooling == "last" else len(self._prompt)
        self._on_embedding((self._sum / count).float().cpu().numpy())
        self.end()
        return []
