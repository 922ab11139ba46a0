"""Keys and values in one tensor: chunks at addresses that stay, for steps of fixed shapes.

A recorded step reads and writes where it did when it was recorded, so the pool is taken whole, when
the model is loaded, and never moves. Positions lie side by side with their heads, so that chunks
that are gathered are a sequence without another copy.
"""

import math
import weakref
from collections.abc import Callable

import torch
from torch import Tensor

from hyperclova.errors import UserError
from hyperclova.inference.cache import CHUNK, Chunk, OutOfChunks
from hyperclova.model import GPTConfig
from hyperclova.parallel.device import free_memory_of

SCRATCH = 0
"""The chunk that rows without a sequence write to; no sequence has it."""
_SHARE = 0.75
"""Of the free memory; the rest is for activations, recorded steps and whoever else computes."""


class ChunkPool:
    """A fixed number of chunks. Taken on the engine's thread, given back on any.

    Args:
        chunks: how many, :data:`SCRATCH` among them.
    """

    def __init__(
        self, config: GPTConfig, dtype: torch.dtype, device: torch.device, chunks: int
    ) -> None:
        shape = (config.layers, 2, chunks, CHUNK, config.heads, config.head_width)
        self.store = torch.zeros(shape, dtype=dtype, device=device)
        self.context_length = config.context_length
        self.reclaim: Callable[[], bool] = lambda: False
        """Makes others give chunks back; False if they have nothing more to give."""
        self._free = list(range(chunks - 1, SCRATCH, -1))
        self._layers = [(both, both[0], both[1]) for both in self.store]

    @classmethod
    def for_rows(
        cls,
        config: GPTConfig,
        dtype: torch.dtype,
        device: torch.device,
        rows: int,
        cache_bytes: int,
    ) -> "ChunkPool":
        """As many chunks as ``rows`` sequences of the whole context and a prefix cache of
        ``cache_bytes`` take, with one more for each row, where a sequence is forked; less where
        the device has less memory.

        Raises:
            UserError: there is too little memory for a single sequence.
        """
        bytes_each = 2 * config.layers * config.width * CHUNK * dtype.itemsize
        longest = math.ceil(config.context_length / CHUNK)
        wanted = 1 + rows * (longest + 1) + math.ceil(cache_bytes / bytes_each)
        there = int(_SHARE * free_memory_of(device)) // bytes_each
        least = 1 + longest + 1
        if there < least:
            raise UserError(
                f"{device} has too little memory for keys and values: a sequence of "
                f"{config.context_length} tokens takes {least * bytes_each / 1e9:.2g} GB"
            )
        return cls(config, dtype, device, min(wanted, there))

    @property
    def free(self) -> int:
        """Chunks that nobody holds."""
        return len(self._free)

    def chunk(self) -> Chunk:
        """As :meth:`~hyperclova.inference.cache.Memory.chunk`; it is empty.

        What nobody has written is read, too, and weighed with nothing. Zeros stay nothing; what
        another sequence has left behind, if it was not finite, would not.
        """
        while not self._free:
            if not self.reclaim():
                count = self.store.shape[2] - 1
                raise OutOfChunks(
                    f"the device's memory for keys and values is full: {count} chunks of {CHUNK} "
                    "positions are in use; try again in a moment"
                )
        index = self._free.pop()
        chunk = Chunk(self.store[:, :, index].transpose(2, 3), self, index)
        given_back = weakref.finalize(chunk, self._free.append, index)
        given_back.atexit = False
        chunk.store.zero_()
        return chunk

    def write(self, layer: int, chunks: Tensor, places: Tensor, key: Tensor, value: Tensor) -> None:
        """Store keys and values.

        Args:
            chunks, places: where each is to stand, ``(tokens,)``, int64.
            key, value: ``(tokens, heads, head_width)``.
        """
        _, keys, values = self._layers[layer]
        keys[chunks, places] = key
        values[chunks, places] = value

    def gather(self, layer: int, table: Tensor) -> tuple[Tensor, Tensor]:
        """Copies of keys and values ``(rows, heads, chunks * CHUNK, head_width)``.

        Args:
            table: the indices of each row's chunks ``(rows, chunks)``, int64.
        """
        both, _, _ = self._layers[layer]
        rows, chunks = table.shape
        found = both.index_select(1, table.flatten())
        # (2, rows * chunks, CHUNK, heads, head_width), and a row's chunks one after another
        keys, values = found.view(2, rows, chunks * CHUNK, *found.shape[3:]).transpose(2, 3)
        return keys, values
