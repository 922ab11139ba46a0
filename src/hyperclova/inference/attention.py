"""Attention over sequences of any lengths at once, on CPUs.

It runs sequence by sequence and, for a prompt, **block** by block of 64 positions counted from its
beginning: what a token computes depends on the tokens before it and its place, not on what else
runs, on how a prompt was cut into pieces, or on where its keys and values came from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hyperclova.inference.cache import BLOCK, CHUNK, Chunk, KeyValues
from hyperclova.inference.native.attention import NativePositions
from hyperclova.inference.positions import Position, TorchPositions


@dataclass(frozen=True)
class Span:
    """The next ``tokens`` positions of one sequence, for which room has been reserved."""

    cache: KeyValues
    tokens: int

    def advance(self) -> None:
        """Make them count, after the forward pass that has stored them."""
        self.cache.length += self.tokens


class SpanAttention:
    """``attend`` for the spans of several sequences, laid one after another in one row."""

    def __init__(self, spans: Sequence[Span]) -> None:
        # What stands later in a sequence needs the keys and values of what stands before it: first
        # come positions at the beginning of their span (tokens being written), then blocks, then
        # positions that end a span.
        self._blocks: list[_Block] = []
        first: list[Position] = []
        last: list[Position] = []
        at = 0
        for span in spans:
            position = span.cache.length
            end = position + span.tokens
            while position < end:
                until = min(end, (position // BLOCK + 1) * BLOCK)
                chunks, place = span.cache.chunks[: position // CHUNK + 1], position % CHUNK
                store = chunks[-1].store
                if until - position == 1 and store.dtype == torch.float32:
                    begins = position == span.cache.length
                    (first if begins else last).append(Position(at, chunks, place))
                else:
                    self._blocks.append(_Block(at, until - position, chunks, place))
                at += until - position
                position = until
        self._first, self._last = _positions(first), _positions(last)

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        _, heads, tokens, width = query.shape
        # Heads stand side by side, as the projection behind attention takes them.
        attended = query.new_empty(tokens, heads, width)
        if self._first is not None:
            self._first.attend(layer, query, key, value, attended)
        for block in self._blocks:
            of = slice(block.begin, block.end)
            found = block.attend(layer, query[:, :, of], key[0, :, of], value[0, :, of])
            attended[of] = found.transpose(0, 1)
        if self._last is not None:
            self._last.attend(layer, query, key, value, attended)
        return attended.transpose(0, 1)[None]

    @property
    def single(self) -> NativePositions | None:
        """All that there is to attend, if that is one position of each sequence and there is a
        kernel for it."""
        alone = not self._blocks and self._last is None
        return self._first if alone and isinstance(self._first, NativePositions) else None


def _positions(positions: Sequence[Position]) -> NativePositions | TorchPositions | None:
    if not positions:
        return None
    if NativePositions.available(positions[0].chunks[0].store.shape[-1]):
        return NativePositions(positions)
    return TorchPositions(positions)


class _Block:
    """Neighbouring positions of one sequence within one block."""

    def __init__(self, begin: int, tokens: int, chunks: Sequence[Chunk], place: int) -> None:
        """
        Args:
            begin: where they stand among all the tokens of this pass.
            place: the first one's place in the last of ``chunks``.
        """
        self.begin, self.end = begin, begin + tokens
        self._before, self._chunk = chunks[:-1], chunks[-1]
        self._place, self._until = place, place + tokens
        store = self._chunk.store
        unseen = torch.ones(tokens, self._until, dtype=torch.bool).triu(place + 1)
        mask = torch.zeros(tokens, self._until, dtype=store.dtype)
        self._mask = mask.masked_fill_(unseen, float("-inf"))

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Store keys and values ``(heads, tokens, head_width)``; attend from ``query``
        ``(1, heads, tokens, head_width)`` to all that stands before each."""
        keys, values = self._chunk.layers[layer]
        keys[:, self._place : self._until] = key
        values[:, self._place : self._until] = value
        keys, values = keys[None, :, : self._until], values[None, :, : self._until]
        before = [
            (held_keys[None], held_values[None])
            for held_keys, held_values in (chunk.layers[layer] for chunk in self._before)
        ]
        last = _flash(query, keys, values, attn_mask=self._mask)
        if not before:
            return last[0][0]
        # Softmax over all keys from softmaxes over each chunk's: weigh each chunk's result by its
        # share of the sum of exponentials (Dao et al. 2022, arXiv:2205.14135, §3.1).
        parts = [*(_flash(query, *each) for each in before), last]
        shares = torch.stack([sums for _, sums in parts]).softmax(0).unsqueeze(-1)
        return torch.stack([attended for attended, _ in parts]).mul_(shares).sum(0)[0]


def _flash(
    query: Tensor, keys: Tensor, values: Tensor, attn_mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Attended values and the logarithms of the sums of exponentials ``(1, heads, tokens)``."""
    both: tuple[Tensor, Tensor] = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, keys, values, attn_mask=attn_mask
    )
    return both
