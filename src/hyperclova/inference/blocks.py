"""Attention of neighbouring positions of one sequence, in PyTorch's operations for CPUs."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hyperclova.inference.pieces import Piece


class TorchBlocks:
    """Blocks of several sequences, one after another."""

    def __init__(self, blocks: Sequence[Piece]) -> None:
        self._blocks = [_Block(block) for block in blocks]

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, attended: Tensor
    ) -> None:
        """Store keys and values; attend to all that stands before each position and to itself.

        Args:
            query, key, value: ``(1, heads, tokens, head_width)``, of all tokens of the pass.
            attended: ``(tokens, heads, head_width)``, in which the blocks' rows are written.
        """
        for block in self._blocks:
            of = block.of
            found = block.attend(layer, query[:, :, of], key[0, :, of], value[0, :, of])
            attended[of] = found.transpose(0, 1)


class _Block:
    def __init__(self, block: Piece) -> None:
        self.of = slice(block.token, block.token + block.tokens)
        self._before, self._chunk = block.chunks[:-1], block.chunks[-1]
        self._place, self._until = block.place, block.place + block.tokens
        unseen = torch.ones(block.tokens, self._until, dtype=torch.bool).triu(block.place + 1)
        mask = torch.zeros(block.tokens, self._until, dtype=self._chunk.store.dtype)
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
