"""Keys and values of the tokens already read, in chunks that sequences share.

A sequence's keys and values lie in **chunks** of 256 positions. A full chunk is never written
again, so any number of sequences may hold it; the last, partial one has one writer, and whoever
else goes on from it copies the part it needs (copy on write).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from hyperclova.model import GPTConfig

CHUNK = 256
"""Positions whose keys and values are held, shared and given back together."""
BLOCK = 64
"""Positions of a prompt that are read, compared and reused together; divides ``CHUNK``."""


class Chunk:
    """Keys and values of ``CHUNK`` positions in all layers; memory comes as it is filled."""

    def __init__(self, store: Tensor) -> None:
        """
        Args:
            store: ``(layers, 2, heads, CHUNK, head_width)``: keys, then values.
        """
        self.store = store
        # Views cost more than small products on them: they are made once.
        self.layers = [(layer[0], layer[1]) for layer in store]
        self.address = store.data_ptr()

    @property
    def bytes(self) -> int:
        return self.store.nbytes

    def copy(self, positions: int) -> "Chunk":
        """A chunk of its own with the first ``positions``."""
        store = torch.empty_like(self.store)
        store[:, :, :, :positions] = self.store[:, :, :, :positions]
        return Chunk(store)


class KeyValues:
    """Keys and values of one sequence: ``length`` positions are stored."""

    def __init__(
        self,
        config: GPTConfig,
        dtype: torch.dtype,
        device: torch.device,
        chunks: Sequence[Chunk] = (),
        length: int = 0,
    ) -> None:
        """
        Args:
            chunks: shared ones that hold the first ``length`` positions.
        """
        self._config, self._dtype, self._device = config, dtype, device
        self.chunks = list(chunks)
        self.length = length
        self._mine = False  # whether positions may be written behind `length` in the last chunk

    def fork(self) -> "KeyValues":
        """A sequence that shares all that is stored so far and goes on by itself."""
        return KeyValues(self._config, self._dtype, self._device, self.chunks, self.length)

    def reserve(self, tokens: int) -> None:
        """Make room for so many positions beyond ``length``.

        Raises:
            ValueError: they do not fit into the model's context.
        """
        end = self.length + tokens
        if end > self._config.context_length:
            raise ValueError(
                f"{end} tokens do not fit into a context of {self._config.context_length}"
            )
        used = self.length % CHUNK
        if used and not self._mine:
            self.chunks[-1] = self.chunks[-1].copy(used)
        while len(self.chunks) * CHUNK < end:
            config = self._config
            shape = (config.layers, 2, config.heads, CHUNK, config.head_width)
            store = torch.empty(shape, dtype=self._dtype, device=self._device)
            self.chunks.append(Chunk(store))
        self._mine = True

    def rest(self, positions: int) -> Tensor:
        """A copy of the keys and values of the last ``positions``, all within one chunk:
        ``(layers, 2, heads, positions, head_width)``."""
        end = (self.length - 1) % CHUNK + 1
        return self.chunks[-1].store[:, :, :, end - positions : end].clone()

    def append(self, rest: Tensor) -> None:
        """Go on with keys and values as :meth:`rest` gives them."""
        if positions := rest.shape[3]:
            self.reserve(positions)
            begin = self.length % CHUNK
            self.chunks[-1].store[:, :, :, begin : begin + positions] = rest
            self.length += positions
