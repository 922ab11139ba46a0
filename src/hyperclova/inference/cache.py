"""Keys and values of the tokens already read, in chunks that sequences share.

A sequence's keys and values lie in **chunks** of 256 positions. A full chunk is never written
again, so any number of sequences may hold it; the last, partial one has one writer, and whoever
else goes on from it copies the part it needs (copy on write).
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from hyperclova.inference.protocol import EngineBusy
from hyperclova.model import GPTConfig

CHUNK = 256
"""Positions whose keys and values are held, shared and given back together."""
BLOCK = 64
"""Positions of a prompt that are read, compared and reused together; divides ``CHUNK``."""


class OutOfChunks(EngineBusy):
    """All chunks that there are, are in use."""


class Memory(Protocol):
    """Where chunks come from; a chunk goes back when the last reference to it does."""

    @property
    def context_length(self) -> int:
        """Positions that a sequence may have."""
        ...

    def chunk(self) -> "Chunk":
        """One that nobody else holds.

        Raises:
            OutOfChunks: there are so many and no more, and all are in use.
        """
        ...


class Chunk:
    """Keys and values of ``CHUNK`` positions in all layers."""

    def __init__(self, store: Tensor, memory: Memory, index: int = 0) -> None:
        """
        Args:
            store: ``(layers, 2, heads, CHUNK, head_width)``: keys, then values.
            memory: where it is from, and a copy of it would be.
            index: its place in a pool, if it is from one.
        """
        self.store, self.index = store, index
        self._memory = memory
        self.address = store.data_ptr()

    @cached_property
    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of each layer, ``(heads, CHUNK, head_width)``."""
        # Views cost more than small products on them: they are made once.
        return [(layer[0], layer[1]) for layer in self.store]

    @property
    def bytes(self) -> int:
        return self.store.nbytes

    def copy(self, positions: int) -> "Chunk":
        """A chunk of its own with the first ``positions``."""
        chunk = self._memory.chunk()
        chunk.store[:, :, :, :positions] = self.store[:, :, :, :positions]
        return chunk


class Allocator:
    """Memory that is asked of the system chunk by chunk, and comes as it is filled."""

    def __init__(self, config: GPTConfig, dtype: torch.dtype, device: torch.device) -> None:
        self._shape = (config.layers, 2, config.heads, CHUNK, config.head_width)
        self._dtype, self._device = dtype, device
        self.context_length = config.context_length

    def chunk(self) -> Chunk:
        return Chunk(torch.empty(self._shape, dtype=self._dtype, device=self._device), self)


class KeyValues:
    """Keys and values of one sequence: ``length`` positions are stored."""

    def __init__(self, memory: Memory, chunks: Sequence[Chunk] = (), length: int = 0) -> None:
        """
        Args:
            memory: where further chunks come from.
            chunks: shared ones that hold the first ``length`` positions.
        """
        self._memory = memory
        self.chunks = list(chunks)
        self.length = length
        self._mine = False  # whether positions may be written behind `length` in the last chunk

    def fork(self) -> "KeyValues":
        """A sequence that shares all that is stored so far and goes on by itself."""
        return KeyValues(self._memory, self.chunks, self.length)

    def release(self) -> None:
        """Hold nothing any more; for a sequence that ends while others may still refer to it."""
        self.chunks.clear()
        self.length, self._mine = 0, False

    def reserve(self, tokens: int) -> None:
        """Make room for so many positions beyond ``length``.

        Raises:
            ValueError: they do not fit into the model's context.
            OutOfChunks: as :meth:`Memory.chunk`; nothing that is stored is lost.
        """
        end = self.length + tokens
        context = self._memory.context_length
        if end > context:
            raise ValueError(f"{end} tokens do not fit into a context of {context}")
        used = self.length % CHUNK
        if used and not self._mine:
            self.chunks[-1] = self.chunks[-1].copy(used)
        while len(self.chunks) * CHUNK < end:
            self.chunks.append(self._memory.chunk())
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
