"""What each step of a run takes when batches or sequences grow: a pure function of its number.

GPT-3 grew its batches over the first billions of tokens (Brown et al. 2020, appendix B); growing
the sequences steadies the beginning of a run (Li et al. 2022, "The stability-efficiency dilemma",
arXiv:2108.06084). Neither changes which tokens come when: a ramp cuts the same stream of samples
into other steps, or each sample into shorter ones.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a run's configuration loads without torch
    from torch import Tensor

Ramp = tuple[tuple[int, ...], ...]
"""Pairs ``(value, until)``: this value until so many tokens have been seen, then the next pair's,
and after the last one the run's own."""


@dataclass(frozen=True)
class Portion:
    """What one optimiser step takes, in tokens."""

    before: int
    """Seen by the steps before it."""
    batch_tokens: int
    sequence_length: int

    @property
    def rows(self) -> int:
        """Sequences of the batch."""
        return self.batch_tokens // self.sequence_length

    @property
    def after(self) -> int:
        return self.before + self.batch_tokens


class Steps:
    """The steps of a run.

    Args:
        tokens: of the whole run; what is left over at its end and fills no batch is not read.
        batch_tokens: of a step, after ``batch_ramp``.
        sequence_length: after ``sequence_ramp``.
    """

    def __init__(
        self,
        tokens: int,
        batch_tokens: int,
        sequence_length: int,
        batch_ramp: Ramp = (),
        sequence_ramp: Ramp = (),
    ) -> None:
        self._first: list[int] = []  # step that each portion below begins with
        self._portions: list[Portion] = []
        self.count = seen = 0
        while tokens - seen >= (batch := _value(batch_ramp, seen, batch_tokens)) or not seen:
            self._first.append(self.count)
            self._portions.append(
                Portion(seen, batch, _value(sequence_ramp, seen, sequence_length))
            )
            untils = [until for _, until in (*batch_ramp, *sequence_ramp) if seen < until]
            alike = [(tokens - seen) // batch, *(-(-(until - seen) // batch) for until in untils)]
            steps = max(1, min(alike))  # a run has at least one
            self.count += steps
            seen += steps * batch
        self.tokens = seen
        """Read by the whole run."""

    @property
    def kinds(self) -> Sequence[Portion]:
        """The first of every row of steps that are alike."""
        return self._portions

    def portion(self, step: int) -> Portion:
        """What the step after ``step`` others takes."""
        number = bisect_right(self._first, step) - 1
        kind = self._portions[number]
        before = kind.before + (step - self._first[number]) * kind.batch_tokens
        return Portion(before, kind.batch_tokens, kind.sequence_length)


def _value(ramp: Ramp, seen: int, final: int) -> int:
    return next((value for value, until in ramp if seen < until), final)


def check(name: str, ramp: Ramp, final: int) -> None:
    """Whether ``ramp`` grows to ``final``.

    Raises:
        ValueError: not pairs, or values or tokens that do not grow.
    """
    if any(len(pair) != 2 for pair in ramp):
        raise ValueError(f"{name} must be a list of pairs [value, until so many tokens]")
    values, untils = [*(value for value, _ in ramp), final], [0, *(until for _, until in ramp)]
    for kind, numbers in (("values", [0, *values]), ("numbers of tokens", untils)):
        if any(later <= earlier for earlier, later in pairwise(numbers)):
            raise ValueError(f"{name}: {kind} must grow, and values stay below the run's {final}")


def recut(windows: "Tensor", length: int) -> "Tensor":
    """Windows ``(rows, time + 1)`` as shorter ones of ``length`` inputs, in order.

    Returns:
        ``(rows * time / length, length + 1)``; ``length`` must divide ``time``.
    """
    return windows.unfold(1, length + 1, length).flatten(0, 1)
