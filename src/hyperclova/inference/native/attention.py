"""Attention on our own kernels: all of a layer's in one call."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from torch import Tensor

from hyperclova.inference.cache import CHUNK
from hyperclova.inference.native.build import load
from hyperclova.inference.pieces import Piece

_WIDEST_HEAD = 512  # as in attention.c


class _NativeAttention:
    """A kernel, and a table of the pieces that it is to attend from."""

    _kernel: ClassVar[str]

    def __init__(self, pieces: Sequence[Piece]) -> None:
        library = load()
        assert library is not None
        self._call = getattr(library, self._kernel)
        addresses: list[int] = []
        table = []
        for piece in pieces:
            chunks = piece.chunks
            table.append((piece.token, piece.tokens, len(addresses), len(chunks), piece.place))
            addresses += [chunk.address for chunk in chunks]
        self._held = pieces  # and with them the memory that the addresses are of
        self._table = np.array(table, dtype=np.int64)
        self._chunks = np.array(addresses, dtype=np.uintp)
        self._strides = np.empty(6, dtype=np.int64)
        self.table, self.chunks, self._strides_at = (
            each.ctypes.data for each in (self._table, self._chunks, self._strides)
        )
        """Addresses, as kernels.h takes them."""

    @staticmethod
    def available(head_width: int) -> bool:
        """Whether there is a kernel for this processor and heads that wide."""
        return head_width <= _WIDEST_HEAD and load() is not None

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, attended: Tensor
    ) -> None:
        """As the methods in :mod:`~hyperclova.inference.positions` and
        :mod:`~hyperclova.inference.blocks`."""
        query, key, value = (
            each if each.stride(3) == 1 else each.contiguous() for each in (query, key, value)
        )
        for place, each in enumerate((query, key, value)):
            self._strides[2 * place], self._strides[2 * place + 1] = each.stride(2), each.stride(1)
        _, heads, _, width = query.shape
        self._call(
            *(query.data_ptr(), key.data_ptr(), value.data_ptr(), self._strides_at),
            *(attended.data_ptr(), self.table, len(self._table), self.chunks),
            *(layer, heads, CHUNK, width, width**-0.5),
        )


class NativePositions(_NativeAttention):
    """Single positions of several sequences, shared out among threads by position and head.

    Does the work of :class:`~hyperclova.inference.positions.TorchPositions`, in float32 on a CPU.
    """

    _kernel = "attend_positions"


class NativeBlocks(_NativeAttention):
    """Blocks of several sequences, shared out among threads by block and head.

    Does the work of :class:`~hyperclova.inference.blocks.TorchBlocks`, in float32 on a CPU. A
    position's result does not depend on which of its neighbours are attended from with it.
    """

    _kernel = "attend_blocks"
