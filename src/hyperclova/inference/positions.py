"""Attention of single positions, each the next one of its sequence, in PyTorch's operations."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hyperclova.inference.pieces import Piece


class TorchPositions:
    """Positions of several sequences, one after another."""

    def __init__(self, positions: Sequence[Piece]) -> None:
        self._rows = [_Row(position) for position in positions]
        tokens = [position.token for position in positions]
        neighbours = tokens[-1] - tokens[0] == len(tokens) - 1
        self._tokens: slice | Tensor = (
            slice(tokens[0], tokens[-1] + 1) if neighbours else torch.tensor(tokens)
        )

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, attended: Tensor
    ) -> None:
        """Store keys and values; attend to all that stands before each position and to itself.

        Args:
            query, key, value: ``(1, heads, tokens, head_width)``, of all tokens of the pass.
            attended: ``(tokens, heads, head_width)``, in which the positions' rows are written.
        """
        # All are cut in a few operations, not each by itself.
        of = self._tokens
        queries = query[0, :, of].transpose(0, 1).unsqueeze(2) * query.shape[-1] ** -0.5
        both = torch.stack([key[0, :, of], value[0, :, of]]).transpose(0, 2).transpose(1, 2)
        rows = zip(self._rows, queries.unbind(0), both.unbind(0), strict=True)
        found = [row.attend(layer, each, kept) for row, each, kept in rows]
        attended[of] = torch.cat(found, dim=1).transpose(0, 1)


class _Row:
    def __init__(self, position: Piece) -> None:
        store, place = position.chunks[-1].store, position.place
        # Views of all layers at once: one by one they cost more than the products.
        self._written = store[:, :, :, place].unbind(0)
        self._keys = store[:, 0, :, : place + 1].transpose(-1, -2).unbind(0)
        self._values = store[:, 1, :, : place + 1].unbind(0)
        self._before = position.chunks[:-1]

    def attend(self, layer: int, query: Tensor, both: Tensor) -> Tensor:
        """Take a query ``(heads, 1, head_width)``, scaled, and both key and value
        ``(2, heads, head_width)``.

        Two small products, which take half the time of the kernel for many positions.
        """
        self._written[layer].copy_(both)
        scores = torch.bmm(query, self._keys[layer])
        if not self._before:
            return torch.bmm(scores.softmax(-1), self._values[layer])
        held = [chunk.layers[layer] for chunk in self._before]
        parts = [*(torch.bmm(query, keys.transpose(1, 2)) for keys, _ in held), scores]
        shares: Sequence[Tensor] = torch.split(
            torch.cat(parts, dim=-1).softmax(-1), [part.shape[-1] for part in parts], dim=-1
        )
        attended = torch.bmm(shares[-1], self._values[layer])
        for share, (_, values) in zip(shares[:-1], held, strict=True):
            attended.baddbmm_(share, values)
        return attended
