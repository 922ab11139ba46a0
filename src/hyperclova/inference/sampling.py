"""Choosing the next token.

Every choice is a pure function of the logits, the request and what this continuation has said so
far. Its randomness is one number in [0, 1) that depends on the seed and the token's index alone
(a counter-based generator), and it is turned into a token by inverting the cumulative
distribution over ids in ascending order, summed in float64. So neighbours in a batch change
nothing, and where rounding differs by 1e-7 the chosen token differs about once in 1e7 tokens only.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hyperclova.inference.healing import Constraint
from hyperclova.inference.protocol import Sampling

_Floats = npt.NDArray[np.floating[Any]]
_Integers = npt.NDArray[np.int64]
Shift = tuple[_Integers, _Floats]
"""Distinct ids, and for each a number by which its score changes."""

_BLOCK = 256  # ids whose weights are summed before the place among them is looked for
COLDEST, HOTTEST = 2.0**-126, 2.0**127  # temperatures that float32 can divide by
_NUMBERS = 64  # random numbers drawn in advance; one by one is slow


def uniform(seed: int, begin: int, count: int) -> _Floats:
    """The numbers in [0, 1) for the tokens ``begin`` to ``begin + count - 1`` (from 0) of a
    continuation with ``seed``.

    53 bits each of Philox4x64-10 (Salmon et al. 2011) with the seed as key and the token's index
    as counter.
    """
    generator = np.random.Philox(key=seed % 2**64, counter=begin)
    words = generator.random_raw(4 * count)[::4]  # a counter gives four words
    numbers: _Floats = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return numbers


class Chooser:
    """What sampling must remember about one continuation."""

    def __init__(
        self,
        sampling: Sampling,
        seed: int,
        prompt: Sequence[int],
        limit: int,
        constraint: Constraint | None = None,
    ) -> None:
        """
        Args:
            seed: of this continuation (the request's seed plus the index of the choice).
            prompt: its tokens, for the repetition penalty.
            limit: the most tokens that it may choose.
            constraint: what the first tokens must spell.
        """
        self.sampling = sampling
        self._seed = seed
        self._index = 0
        self._numbers = uniform(seed, 0, 0)
        self._seen = _Distinct(len(prompt) + limit)
        if sampling.repetition_penalty != 1.0:
            for token in prompt:
                self._seen.add(token)
        self._said = _Distinct(limit)
        self._bias_ids = np.array(list(sampling.logit_bias), dtype=np.int64)
        self._bias = np.array(list(sampling.logit_bias.values()), dtype=np.float64)
        self._constraint = constraint
        self.repeats = False
        """Whether the last accepted token only repeats the end of the prompt."""

    @property
    def changes_scores(self) -> bool:
        """Whether :meth:`penalise` does anything."""
        sampling = self.sampling
        return bool(
            sampling.repetition_penalty != 1.0
            or sampling.frequency_penalty
            or sampling.presence_penalty
            or self._bias_ids.size
            or self.constrained
        )

    @property
    def constrained(self) -> bool:
        """Whether the next token must spell something."""
        return self._constraint is not None and self._constraint.allowed is not None

    @property
    def scaled(self) -> Shift:
        """Whose scores the repetition penalty divides or multiplies, and by what."""
        penalty = self.sampling.repetition_penalty
        ids = self._seen.ids if penalty != 1.0 else self._seen.ids[:0]
        return ids, np.full(ids.shape, penalty)

    @property
    def shifts(self) -> tuple[Shift, Shift]:
        """What is added to scores after that: for what has been said, and then the bias."""
        sampling = self.sampling
        said = -(sampling.frequency_penalty * self._said.counts + sampling.presence_penalty)
        return (self._said.ids, said), (self._bias_ids, self._bias)

    def penalise(self, scores: _Floats) -> None:
        """Apply penalties, bias and constraint to ``scores`` ``(vocabulary,)`` in place."""
        sampling = self.sampling
        if sampling.repetition_penalty != 1.0:
            seen = self._seen.ids
            values = scores[seen]
            penalty = sampling.repetition_penalty
            scores[seen] = np.where(values > 0, values / penalty, values * penalty)
        if sampling.frequency_penalty or sampling.presence_penalty:
            said, counts = self._said.ids, self._said.counts
            scores[said] -= sampling.frequency_penalty * counts + sampling.presence_penalty
        if self._bias_ids.size:
            scores[self._bias_ids] += self._bias
        if self._constraint is not None:
            self._constraint.apply(scores)

    def draw(self) -> float:
        """This token's random number."""
        place = self._index % _NUMBERS
        if place == 0:
            self._numbers = uniform(self._seed, self._index, _NUMBERS)
        return float(self._numbers[place])

    def accept(self, token: int) -> None:
        """Note the chosen token."""
        self._index += 1
        self.repeats = self._constraint is not None and not self._constraint.accept(token)
        if self.sampling.repetition_penalty != 1.0:
            self._seen.add(token)
        if self.repeats:
            return
        if self.sampling.frequency_penalty or self.sampling.presence_penalty:
            self._said.add(token)


def choose(logits: Tensor, choosers: Sequence[Chooser]) -> list[int]:
    """The next token of each row, which its chooser has then accepted.

    Args:
        logits: ``(rows, vocabulary)``, one row for each chooser; not changed.
    """
    if any(chooser.changes_scores for chooser in choosers):
        logits = logits.clone()
        scores = logits.numpy()
        for row, chooser in enumerate(choosers):
            if chooser.changes_scores:
                chooser.penalise(scores[row])
    # NumPy finds the place of the largest number many times faster than torch.
    tokens: list[int] = logits.numpy().argmax(axis=1).tolist()
    sampled = [row for row, chooser in enumerate(choosers) if chooser.sampling.temperature > 0]
    if sampled:
        temperatures = torch.tensor(
            [min(max(choosers[row].sampling.temperature, COLDEST), HOTTEST) for row in sampled]
        )
        best = torch.stack([logits[row, tokens[row]] for row in sampled])
        # Relative to the best, so that exp does not overflow however small the temperature is;
        # padded to whole blocks with ids of no weight.
        size = logits.shape[1]
        weights = torch.zeros(len(sampled), -(-size // _BLOCK) * _BLOCK)
        kept = weights[:, :size]
        torch.sub(logits[sampled], best[:, None], out=kept)
        kept.div_(temperatures[:, None]).exp_()
        sums = weights.view(len(sampled), -1, _BLOCK).sum(-1).numpy()
        for place, row in enumerate(sampled):
            tokens[row] = _sample(weights[place].numpy(), sums[place], size, choosers[row])
    for chooser, token in zip(choosers, tokens, strict=True):
        chooser.accept(token)
    return tokens


def _sample(weights: _Floats, sums: _Floats, size: int, chooser: Chooser) -> int:
    """Draw an id in proportion to ``weights`` after top-k and top-p.

    Args:
        weights: ``(blocks * _BLOCK,)``, of which the first ``size`` are ids.
        sums: ``(blocks,)``, of the weights in each block.
    """
    sampling = chooser.sampling
    kept = nucleus(weights[:size], sampling.top_k, sampling.top_p)
    if kept is not None:
        cumulative = np.cumsum(weights[kept], dtype=np.float64)
        return int(kept[_place(cumulative, chooser.draw() * cumulative[-1])])
    cumulative = np.cumsum(sums, dtype=np.float64)
    aim = chooser.draw() * cumulative[-1]
    block = _place(cumulative, aim)
    within = np.cumsum(weights[block * _BLOCK : (block + 1) * _BLOCK], dtype=np.float64)
    return block * _BLOCK + _place(within, aim - (cumulative[block] - sums[block]))


def _place(cumulative: _Floats, aim: float) -> int:
    """The first place whose sum is above ``aim``.

    Rounding may carry ``aim`` up to the last sum; then it is the last place with a weight.
    """
    place = int(np.searchsorted(cumulative, aim, side="right"))
    if place < cumulative.size:
        return place
    return int(np.searchsorted(cumulative, cumulative[-1], side="left"))


def nucleus(weights: _Floats, top_k: int, top_p: float) -> _Integers | None:
    """Ids that top-k and then top-p keep, ascending; None if they keep all.

    The ``top_k`` heaviest, the lower id first among equals; of these the fewest, in the same
    order, whose share of their weight reaches ``top_p`` (at least one).
    """
    size = weights.size
    candidates: _Integers | None = None
    if 0 < top_k < size:
        least = np.partition(weights, size - top_k)[size - top_k]
        candidates = np.flatnonzero(weights >= least)
        order = np.argsort(-weights[candidates], kind="stable")[:top_k]
        candidates = candidates[order]
    if top_p >= 1.0:
        return None if candidates is None else np.sort(candidates)
    if candidates is None:
        total = float(weights.sum(dtype=np.float64))
        candidates = _heaviest(weights, top_p * total)
        candidates = candidates[np.argsort(-weights[candidates], kind="stable")]
    else:
        total = float(weights[candidates].sum(dtype=np.float64))
    reached = np.cumsum(weights[candidates], dtype=np.float64)
    count = int(np.searchsorted(reached, top_p * total, side="left")) + 1
    return np.sort(candidates[:count])


def _heaviest(weights: _Floats, aim: float) -> _Integers:
    """The ids heavier than some bound that together weigh ``aim`` at least.

    Most of a vocabulary is far too light to matter; sorting only what may matter is what makes
    top-p cheap.
    """
    best = float(weights.max())
    for share in (0.1, 0.01, 1e-3, 1e-4, 1e-6):
        heavy = np.flatnonzero(weights >= share * best)
        # A little more, so that a sum in another order reaches the aim, too.
        if float(weights[heavy].sum(dtype=np.float64)) > aim * (1 + 1e-9):
            return heavy
    return np.arange(weights.size)


class _Distinct:
    """Distinct ids in the order of their first appearance, and how often each appeared."""

    def __init__(self, capacity: int) -> None:
        self._place: dict[int, int] = {}
        self._ids = np.zeros(max(capacity, 1), dtype=np.int64)
        self._counts = np.zeros(max(capacity, 1), dtype=np.float64)

    def add(self, token: int) -> None:
        place = self._place.setdefault(token, len(self._place))
        self._ids[place] = token
        self._counts[place] += 1.0

    @property
    def ids(self) -> _Integers:
        return self._ids[: len(self._place)]

    @property
    def counts(self) -> _Floats:
        return self._counts[: len(self._place)]
