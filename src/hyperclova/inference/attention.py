"""Attention over sequences of any lengths at once, on CPUs.

It runs sequence by sequence and, for a prompt, **block** by block of 64 positions counted from its
beginning: what a token computes depends on the tokens before it and its place, not on what else
runs, on how a prompt was cut into pieces, or on where its keys and values came from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hyperclova.inference.blocks import TorchBlocks
from hyperclova.inference.cache import BLOCK, CHUNK, KeyValues
from hyperclova.inference.native.attention import NativeBlocks, NativePositions
from hyperclova.inference.pieces import Piece
from hyperclova.inference.positions import TorchPositions


@dataclass(frozen=True)
class Span:
    """The next ``tokens`` positions of one sequence, for which room has been reserved."""

    cache: KeyValues
    tokens: int
    written: bool = False
    """Whether it is one token that the model wrote; else they are read, as part of a prompt."""

    def advance(self) -> None:
        """Make them count, after the forward pass that has stored them."""
        self.cache.length += self.tokens


class SpanAttention:
    """``attend`` for the spans of several sequences, laid one after another in one row."""

    def __init__(self, spans: Sequence[Span]) -> None:
        # Tokens being written have a way of their own. So have, where PyTorch attends, positions
        # that are the only ones of their block in their span; and as what stands later in a
        # sequence needs the keys and values of what stands before it, those at the beginning of
        # their span come first, then blocks, then those at the end.
        blocks: list[Piece] = []
        first: list[Piece] = []
        last: list[Piece] = []
        store = spans[0].cache.chunks[0].store
        exact = store.dtype == torch.float32
        ours = exact and NativeBlocks.available(store.shape[-1])
        at = 0
        for span in spans:
            position = span.cache.length
            end = position + span.tokens
            while position < end:
                until = min(end, (position // BLOCK + 1) * BLOCK)
                chunks, place = span.cache.chunks[: position // CHUNK + 1], position % CHUNK
                piece = Piece(at, until - position, chunks, place)
                if not (exact and (span.written or (piece.tokens == 1 and not ours))):
                    blocks.append(piece)
                elif position == span.cache.length:
                    first.append(piece)
                else:
                    last.append(piece)
                at += piece.tokens
                position = until
        positions = NativePositions if ours else TorchPositions
        self._first = positions(first) if first else None
        self._blocks = (NativeBlocks if ours else TorchBlocks)(blocks) if blocks else None
        self._last = positions(last) if last else None

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        _, heads, tokens, width = query.shape
        # Heads stand side by side, as the projection behind attention takes them.
        attended = query.new_empty(tokens, heads, width)
        if self._first is not None:
            self._first.attend(layer, query, key, value, attended)
        if self._blocks is not None:
            self._blocks.attend(layer, query, key, value, attended)
        if self._last is not None:
            self._last.attend(layer, query, key, value, attended)
        return attended.transpose(0, 1)[None]

    @property
    def single(self) -> NativePositions | None:
        """All that there is to attend, if that is one position of each sequence and there is a
        kernel for it."""
        alone = self._blocks is None and self._last is None
        return self._first if alone and isinstance(self._first, NativePositions) else None
