"""Sources mixed by weight, as a pure function of the sample's number.

Samples come in blocks of 4,096. Every block holds the same number of samples of each source (its
share, rounded), in an order of its own; within a source, samples run through a permutation that
is new in every epoch. So sample number -> (source, epoch, window) needs no state.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperclova.errors import UserError
from hyperclova.tokens.order import key, permute

BLOCK = 4096


@dataclass(frozen=True)
class Mixture:
    """Which window of which source each sample is.

    Args:
        windows: number of windows of each source.
        weights: relative share of each source among the samples; None: shares as the sources are
            large, so that every window is seen once before any is seen twice.
        seed: of all orders.

    Raises:
        UserError: a weight names no source, is negative, or all are zero.
    """

    windows: Mapping[str, int]
    weights: Mapping[str, float] | None
    seed: int

    def __post_init__(self) -> None:
        for source, weight in (self.weights or {}).items():
            if source not in self.windows:
                raise UserError(
                    f"data.weights.{source}: no such source; there are {', '.join(self.windows)}"
                )
            if weight < 0:
                raise UserError(f"data.weights.{source} is {weight}; it must not be negative")
        if not any(self.quotas.values()):
            raise UserError("data.weights leaves no source to train on")

    @property
    def quotas(self) -> dict[str, int]:
        """Samples of each source in a block, by the method of largest remainders."""
        weights = self.weights or {name: float(count) for name, count in self.windows.items()}
        shares = {
            name: weights.get(name, 0.0) if self.windows[name] else 0.0 for name in self.windows
        }
        total = sum(shares.values())
        if not total:
            return dict.fromkeys(self.windows, 0)
        exact = {name: BLOCK * share / total for name, share in shares.items()}
        quotas = {name: int(value) for name, value in exact.items()}
        by_remainder = sorted(exact, key=lambda name: (quotas[name] - exact[name], name))
        for name in by_remainder[: BLOCK - sum(quotas.values())]:
            quotas[name] += 1
        return quotas

    def locate(self, samples: NDArray[np.int64]) -> list[tuple[str, int, int]]:
        """(source, epoch, window) of each sample number."""
        quotas = {name: quota for name, quota in self.quotas.items() if quota}
        names = list(quotas)
        ends = np.cumsum(list(quotas.values()))
        located = []
        for sample in samples.tolist():
            block, place = divmod(sample, BLOCK)
            slot = _one(place, BLOCK, key(self.seed, "block", block))
            source = int(np.searchsorted(ends, slot, side="right"))
            name = names[source]
            rank = slot - (int(ends[source]) - quotas[name])
            epoch, index = divmod(block * quotas[name] + rank, self.windows[name])
            window = _one(index, self.windows[name], key(self.seed, name, epoch))
            located.append((name, epoch, window))
        return located


def _one(index: int, size: int, seed: int) -> int:
    return int(permute(np.array([index], np.uint64), size, seed)[0])
