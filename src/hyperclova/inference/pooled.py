"""Attention over sequences whose keys and values lie in a pool: prompts, on accelerators."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.bias import CausalBias, causal_lower_right

from hyperclova.inference.attention import Span
from hyperclova.inference.cache import CHUNK
from hyperclova.inference.pool import ChunkPool


class PooledAttention:
    """``attend`` for the spans of several sequences, laid one after another in one row.

    A layer stores the keys and values of all spans at once, then attends span by span: it gathers
    a sequence's chunks and gives them to PyTorch's kernels, which need no mask (Flash in bfloat16,
    the memory-efficient one in float32).
    """

    def __init__(self, spans: Sequence[Span], pool: ChunkPool) -> None:
        self._pool = pool
        device = pool.store.device
        places: list[tuple[int, int]] = []
        self._reads: list[_Read] = []
        for span in spans:
            begin, end = span.cache.length, span.cache.length + span.tokens
            indices = [chunk.index for chunk in span.cache.chunks[: -(-end // CHUNK)]]
            of = slice(len(places), len(places) + span.tokens)
            table = torch.tensor([indices], device=device)
            self._reads.append(_Read(of, table, end, causal_lower_right(span.tokens, end)))
            places += [(indices[at // CHUNK], at % CHUNK) for at in range(begin, end)]
        self._chunks, self._places = torch.tensor(places, device=device).unbind(1)

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        _, heads, tokens, width = query.shape
        self._pool.write(
            layer, self._chunks, self._places, key[0].transpose(0, 1), value[0].transpose(0, 1)
        )
        # Heads stand side by side, as the projection behind attention takes them.
        attended = query.new_empty(tokens, heads, width)
        for read in self._reads:
            keys, values = self._pool.gather(layer, read.table)
            found = functional.scaled_dot_product_attention(
                query[:, :, read.of],
                keys[:, :, : read.end],
                values[:, :, : read.end],
                attn_mask=read.bias,
            )
            attended[read.of] = found[0].transpose(0, 1)
        return attended.transpose(0, 1)[None]


@dataclass(frozen=True)
class _Read:
    of: slice
    """Its tokens among all of this pass."""
    table: Tensor
    """``(1, chunks)``"""
    end: int
    """Positions that its last token sees."""
    bias: CausalBias
