"""Sources mixed by weight, as a pure function of the sample's number.

Samples come in blocks of 4,096. Every block holds the same number of samples of each source (its
share, rounded), in an order of its own; within a source, samples run through a permutation that
is new in every epoch. So sample number -> (source, epoch, window) needs no state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

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
        quotas = tuple(self.quotas.items())
        located: list[tuple[str, int, int]] = [("", 0, 0)] * len(samples)
        # Samples of one source and epoch share a permutation and are looked up together.
        together: dict[tuple[str, int], list[tuple[int, int]]] = {}
        for place_in_batch, sample in enumerate(samples.tolist()):
            block, place = divmod(sample, BLOCK)
            sources, ranks = _layout(quotas, self.seed, block)
            name, quota = quotas[sources[place]]
            epoch, index = divmod(block * quota + int(ranks[place]), self.windows[name])
            together.setdefault((name, epoch), []).append((place_in_batch, index))
        for (name, epoch), members in together.items():
            indices = np.array([index for _, index in members], np.uint64)
            windows = permute(indices, self.windows[name], key(self.seed, name, epoch))
            for (place_in_batch, _), window in zip(members, windows.tolist(), strict=True):
                located[place_in_batch] = (name, epoch, window)
        return located


@lru_cache(maxsize=4)  # a batch touches one block, at most a few
def _layout(
    quotas: tuple[tuple[str, int], ...], seed: int, block: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each place of a block: its source, and how many places before it have the same."""
    ends = np.cumsum([quota for _, quota in quotas])
    slots = permute(np.arange(BLOCK, dtype=np.uint64), BLOCK, key(seed, "block", block))
    sources = np.searchsorted(ends, slots.astype(np.int64), side="right")
    ranks = np.empty(BLOCK, np.int64)
    for source in range(len(quotas)):
        places = np.flatnonzero(sources == source)
        ranks[places] = np.arange(len(places))
    return sources, ranks
