"""Causal attention as plain matrix products, for CPUs whose products outrun PyTorch's kernel.

PyTorch's fused kernel for CPUs multiplies small tiles in bfloat16 at about 60 GFLOP/s where large
products run at 400 (two Zen 4 cores, AVX512-BF16, torch 2.13). So the queries are taken in a few
blocks, each against all keys up to its last, and all heads of all rows at once. Weights are not
kept for the backward pass but made again from query and key, as the fused kernel does.

Scores and softmax are in float32, as there; the weights are rounded to the inputs' type, and so
are the gradients of the weights.
"""

import math
from typing import Any

import torch
from torch import Tensor

_BLOCK = 128
"""Queries of a block. Smaller ones make fewer products with keys that lie ahead and are masked, a
quarter of the work at 512 positions; larger ones make better products."""


class _CausalAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, value)
        weights = _Weights(query, key)
        values = value.reshape(-1, *value.shape[2:])
        # Laid out (batch, time, heads, head_width): joining the heads then copies nothing.
        attended = torch.empty_like(query.transpose(1, 2), memory_format=torch.contiguous_format)
        blocks = attended.transpose(1, 2)
        for start, stop in _blocks(query.shape[2]):
            block = torch.bmm(weights.of(start, stop), values[:, :stop])
            blocks[:, :, start:stop] = block.view(*query.shape[:2], *block.shape[1:])
        return blocks

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = ctx.saved_tensors
        weights = _Weights(query, key)
        queries, keys, values, attended = (
            each.reshape(-1, *each.shape[2:]) for each in (query, key, value, outputs[0])
        )
        exact = torch.promote_types(query.dtype, torch.float32)
        for_query = torch.empty_like(queries)
        for_key = torch.zeros_like(keys, dtype=exact)
        for_value = torch.zeros_like(values, dtype=exact)
        for start, stop in _blocks(query.shape[2]):
            block = weights.of(start, stop)
            above = attended[:, start:stop]
            for_value[:, :stop] += torch.bmm(block.mT, above)
            change = torch.bmm(above, values[:, :stop].mT)
            change = torch._softmax_backward_data(change, block, 2, block.dtype)
            for_query[:, start:stop] = torch.bmm(change, keys[:, :stop])
            for_key[:, :stop] += torch.bmm(change.mT, queries[:, start:stop])
        scale = 1 / math.sqrt(query.shape[3])
        return (
            for_query.mul_(scale).view(query.shape),
            for_key.mul_(scale).to(key.dtype).view(key.shape),
            for_value.to(value.dtype).view(value.shape),
        )


class _Weights:
    """Attention weights of a block of queries, made when asked for."""

    def __init__(self, query: Tensor, key: Tensor) -> None:
        exact = torch.promote_types(query.dtype, torch.float32)
        self._dtype, scale = query.dtype, 1 / math.sqrt(query.shape[3])
        self._queries = query.to(exact).reshape(-1, *query.shape[2:]) * scale
        self._keys = key.to(exact).reshape(-1, *key.shape[2:])
        size = (min(_BLOCK, query.shape[2]),) * 2
        self._ahead = torch.full(size, -math.inf, dtype=exact, device=query.device).triu(1)

    def of(self, start: int, stop: int) -> Tensor:
        """``(batch * heads, stop - start, stop)``, in the inputs' type."""
        scores = torch.bmm(self._queries[:, start:stop], self._keys[:, :stop].mT)
        scores[:, :, start:] += self._ahead[: stop - start, : stop - start]
        return torch.softmax(scores, dim=2, out=scores).to(self._dtype)


def _blocks(time: int) -> list[tuple[int, int]]:
    return [(start, min(start + _BLOCK, time)) for start in range(0, time, _BLOCK)]


def causal_attention(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """``attend`` of a whole window by itself, without dropout.

    Args:
        query, key, value: ``(batch, heads, time, head_width)``, of one type.

    Returns:
        Attended values of the same shape and type.
    """
    attended: Tensor = _CausalAttention.apply(query, key, value)  # type: ignore[no-untyped-call]
    return attended
