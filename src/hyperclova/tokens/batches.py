"""Batches of packed windows from token shards.

A source is one long stream: its shards one after another, documents separated by end-of-text.
A window is ``context + 1`` consecutive tokens (inputs, and targets one later). Windows of an
epoch lie edge to edge from an offset of that epoch's own, so that another epoch cuts elsewhere.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperclova.errors import UserError
from hyperclova.tokens.mixture import Mixture
from hyperclova.tokens.order import key
from hyperclova.tokens.shards import Shard, open_shards


class TokenStream:
    """The shards of one source, read as one array."""

    def __init__(self, shards: list[Shard]) -> None:
        self._shards = shards
        self._starts = np.concatenate([[0], np.cumsum([len(shard.tokens) for shard in shards])])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read(self, start: int, length: int) -> NDArray[np.int64]:
        """``length`` tokens from ``start`` on, across shard borders."""
        result = np.empty(length, np.int64)
        filled = 0
        number = int(np.searchsorted(self._starts, start, side="right")) - 1
        while filled < length:
            within = start + filled - int(self._starts[number])
            piece = self._shards[number].tokens[within : within + length - filled]
            result[filled : filled + len(piece)] = piece
            filled += len(piece)
            number += 1
        return result


class TokenData:
    """All sources of a directory of token shards, drawn from by weight.

    Args:
        directory: of shards, as ``hyperclova tokenize`` writes them.
        context: inputs per window.
        weights: see :class:`Mixture`.
        seed: of the order.

    Raises:
        UserError: no shards, or no source as long as one window.
    """

    def __init__(
        self,
        directory: Path,
        context: int,
        weights: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        self.context, self.seed = context, seed
        shards = open_shards(directory)
        self.fingerprint = shards[0].index.tokenizer_fingerprint
        self.vocabulary_size = shards[0].index.vocabulary_size
        self.streams = _streams(shards)
        # One window less than fits, so that every epoch's offset leaves equally many.
        windows = {
            source: max(0, (len(stream) - 1) // context - 1)
            for source, stream in self.streams.items()
        }
        if not any(windows.values()):
            raise UserError(
                f"{directory}: no source is as long as two windows of {context} tokens; "
                "add text or shorten training.sequence_length"
            )
        self.mixture = Mixture(windows, weights, seed)

    def batch(self, first_sample: int, samples: int) -> NDArray[np.int64]:
        """Samples ``first_sample ..`` as ``(samples, context + 1)``; the same at every call."""
        numbers = np.arange(first_sample, first_sample + samples, dtype=np.int64)
        rows = []
        for source, epoch, window in self.mixture.locate(numbers):
            offset = key(self.seed, source, epoch, "offset") % self.context
            rows.append(self.streams[source].read(offset + window * self.context, self.context + 1))
        return np.stack(rows)


def held_out_windows(directory: Path, context: int, limit: int) -> NDArray[np.int64]:
    """Windows in order, every source cut to its share of ``limit`` tokens: for evaluation.

    Returns:
        ``(windows, context + 1)``.

    Raises:
        UserError: no shards, or no source as long as one window.
    """
    streams = _streams(open_shards(directory))
    total = sum(len(stream) for stream in streams.values())
    rows = []
    for stream in streams.values():
        share = max(1, round(limit * len(stream) / total / context))
        available = min(share, (len(stream) - 1) // context)
        rows += [stream.read(number * context, context + 1) for number in range(available)]
    if not rows:
        raise UserError(
            f"{directory}: no source is as long as a window of {context} tokens; tokenize with a "
            "larger --held-out, or set evaluation.tokens=0"
        )
    return np.stack(rows)


def _streams(shards: list[Shard]) -> dict[str, TokenStream]:
    by_source: dict[str, list[Shard]] = {}
    for shard in shards:
        by_source.setdefault(shard.index.source, []).append(shard)
    return {source: TokenStream(parts) for source, parts in by_source.items()}
