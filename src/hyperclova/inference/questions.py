"""What may be asked of prompts besides to continue them: scores and embeddings."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hyperclova.inference.jobs import MEASURED_ROWS, Job, OnEnd, Reader, Wish
from hyperclova.inference.logprobs import Measured, measure
from hyperclova.inference.prompt import Symbols
from hyperclova.inference.protocol import Floats, Pooling, Score


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
            self._measuring(index, following[at:], states[at : at + MEASURED_ROWS])
            for at in range(0, len(states), MEASURED_ROWS)
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
