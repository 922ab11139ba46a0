"""What may be asked of prompts besides to continue them: scores and embeddings."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

import torch
from torch import Tensor

from hyperclova.inference.cache import KeyValues
from hyperclova.inference.jobs import MEASURED_ROWS, Job, Reader, Wish
from hyperclova.inference.logprobs import Measured, measure, measure_rivals, require_finite
from hyperclova.inference.prompt import Symbols
from hyperclova.inference.protocol import Floats, Pooling, Score

T = TypeVar("T")

_SIDE_BY_SIDE = 256
"""Continuations of a prompt that are read at once; more than a step has room for."""


class Question(Job, Generic[T]):
    """A job with one answer, which :attr:`answer` holds at its end, or the error."""

    def __init__(self) -> None:
        self.answer: Future[T] = Future()
        super().__init__(self._conclude)

    def _conclude(self, error: BaseException | None) -> None:
        if error is not None:
            self.answer.set_exception(error)
        elif not self.answer.done():  # stopped: nobody waits for it any more
            self.answer.cancel()


class Scoring(Question[list[Score]]):
    """Continuations of one prompt, each to be scored by itself.

    The prompt is read once; each continuation then goes on from it.
    """

    def __init__(
        self,
        prompt: Symbols,
        continuations: Sequence[tuple[int, ...]],
        vocabulary: int,
    ) -> None:
        super().__init__()
        self._prompt, self._continuations = prompt, continuations
        self._vocabulary = vocabulary
        self._measured: list[list[Measured]] = [[] for _ in continuations]
        self._cache: KeyValues | None = None
        """The prompt's, while continuations wait to go on from it."""
        # The first token of each is measured by the prompt's last state.
        self._waiting = deque(
            index for index, tokens in enumerate(continuations) if len(tokens) > 1
        )
        self._readers: dict[Reader, int] = {}

    def end(self, error: BaseException | None = None) -> None:
        self._cache = None  # whoever holds on to the question need not hold this
        super().end(error)

    def reader(self) -> Reader | None:
        return Reader(self, self._prompt)

    def states(self, reader: Reader, begin: int, states: Tensor) -> list[Wish]:
        if reader.symbols is self._prompt:
            if begin + len(states) < len(self._prompt):
                return []
            return [Wish(self, states[-1:], self._begin_continuations)]
        index = self._readers[reader]
        following = self._continuations[index][begin + 1 :]
        return [
            self._measuring(index, following[at:], states[at : at + MEASURED_ROWS])
            for at in range(0, len(states), MEASURED_ROWS)
        ]

    def _begin_continuations(self, logits: Tensor) -> None:
        begun = [index for index, tokens in enumerate(self._continuations) if tokens]
        first = [self._continuations[index][0] for index in begun]
        for index, measured in zip(
            begun, measure_rivals(logits, first, self._vocabulary), strict=True
        ):
            self._measured[index].append(measured)

    def _measuring(self, index: int, following: tuple[int, ...], states: Tensor) -> Wish:
        def take(logits: Tensor) -> None:
            tokens = following[: len(logits)]
            self._measured[index] += measure(logits, tokens, 1, self._vocabulary)

        return Wish(self, states, take)

    def read(self, reader: Reader) -> list[Reader]:
        if reader.symbols is self._prompt:
            self._cache = reader.cache
        else:
            del self._readers[reader]
        begun = []
        while self._waiting and len(self._readers) < _SIDE_BY_SIDE:
            begun.append(self._begin(self._waiting.popleft()))
        if not self._waiting:
            self._cache = None
        if not self._readers:
            self.answer.set_result(
                [
                    _score(tokens, measured)
                    for tokens, measured in zip(self._continuations, self._measured, strict=True)
                ]
            )
            self.end()
        return begun

    def _begin(self, index: int) -> Reader:
        assert self._cache is not None
        reader = Reader(
            self,
            Symbols(self._continuations[index][:-1]),
            self._cache.fork(),
            begin=len(self._prompt),
            remember=False,
        )
        self._readers[reader] = index
        return reader


def _score(tokens: tuple[int, ...], measured: Sequence[Measured]) -> Score:
    logprobs = []
    greedy = True
    for one in measured:
        assert one.logprob is not None
        logprobs.append(one.logprob)
        greedy = greedy and one.logprob >= one.top[0][1]
    return Score(tokens, tuple(logprobs), greedy)


class Embedding(Question[Floats]):
    """A prompt whose states are wanted."""

    def __init__(self, prompt: Symbols, pooling: Pooling) -> None:
        super().__init__()
        self._prompt, self._pooling = prompt, pooling
        self._sum: Tensor | None = None

    def reader(self) -> Reader | None:
        return Reader(self, self._prompt, reuse=self._pooling == "last")

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
        states = (self._sum / count).float().cpu()
        require_finite(bool(states.isfinite().all()))
        self.answer.set_result(states.numpy())
        self.end()
        return []
