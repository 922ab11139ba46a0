"""Keys and values of the tokens already read, and attention over them.

One :class:`KeyValueCache` belongs to one sequence and grows with it. Every sequence attends to
its own keys by itself, so what a row computes does not depend on the rows beside it; the linear
layers, which dominate the cost, run over all rows together.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from hyperclova.model import GPTConfig

_GROWTH = 256  # tokens; a whole context for every short prompt would waste memory


class KeyValueCache:
    """Keys and values of one sequence in all layers.

    ``length`` tokens are stored. A forward pass writes the next ones layer by layer with
    :meth:`extend`; :meth:`advance` makes them count once all layers have been written.
    """

    def __init__(self, config: GPTConfig, dtype: torch.dtype, device: torch.device) -> None:
        self.length = 0
        self._limit = config.context_length
        # (key or value, layer, head, token, head width)
        self._store = torch.empty(
            2, config.layers, config.heads, 0, config.head_width, dtype=dtype, device=device
        )

    @property
    def bytes(self) -> int:
        """Memory held, in bytes."""
        return self._store.nbytes

    def reserve(self, tokens: int) -> None:
        """Make room for so many tokens beyond ``length``.

        Raises:
            ValueError: they do not fit into the model's context.
        """
        needed = self.length + tokens
        if needed > self._limit:
            raise ValueError(f"{needed} tokens do not fit into a context of {self._limit}")
        capacity = self._store.shape[3]
        if needed <= capacity:
            return
        capacity = min(self._limit, -(-needed // _GROWTH) * _GROWTH)
        store = self._store.new_empty(*self._store.shape[:3], capacity, self._store.shape[4])
        store[:, :, :, : self.length] = self._store[:, :, :, : self.length]
        self._store = store

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write the next tokens' ``(heads, time, head_width)`` keys and values of one layer.

        Returns:
            Views of all keys and all values so far, ``(heads, length + time, head_width)``.
        """
        end = self.length + key.shape[1]
        keys, values = self._store[0, layer, :, :end], self._store[1, layer, :, :end]
        keys[:, self.length :] = key
        values[:, self.length :] = value
        return keys, values

    def advance(self, tokens: int) -> None:
        """Count so many tokens that all layers have written."""
        self.length += tokens

    def copy(self) -> "KeyValueCache":
        """The same content in its own memory: how continuations share one prompt."""
        twin = object.__new__(KeyValueCache)
        twin.length, twin._limit = self.length, self._limit
        twin._store = self._store[:, :, :, : self.length].clone()
        return twin


class PrefillAttention:
    """``attend`` for the next tokens of one sequence: to all before them and among themselves."""

    def __init__(self, cache: KeyValueCache, tokens: int) -> None:
        cache.reserve(tokens)
        self._cache = cache
        past = cache.length
        self._mask: Tensor | None = None
        if past:  # the causal triangle, moved right by what has been read before
            self._mask = torch.ones(tokens, past + tokens, dtype=torch.bool).tril(past)

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        keys, values = self._cache.extend(layer, key[0], value[0])
        mask = None if self._mask is None else self._mask.to(query.device)
        return functional.scaled_dot_product_attention(
            query, keys[None], values[None], attn_mask=mask, is_causal=mask is None
        )


class DecodeAttention:
    """``attend`` for one token of each of several sequences."""

    def __init__(self, caches: Sequence[KeyValueCache]) -> None:
        for cache in caches:
            cache.reserve(1)
        self._caches = caches

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        rows = []
        for row, cache in enumerate(self._caches):
            keys, values = cache.extend(layer, key[row], value[row])
            rows.append(
                functional.scaled_dot_product_attention(
                    query[row : row + 1], keys[None], values[None]
                )
            )
        return torch.cat(rows)
