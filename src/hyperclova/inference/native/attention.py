"""Attention of single positions on our own kernel: all of a layer's in one call."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from hyperclova.inference.cache import CHUNK
from hyperclova.inference.native.build import load
from hyperclova.inference.positions import Position

_WIDEST_HEAD = 512  # as in attention.c


class NativePositions:
    """Positions of several sequences, shared out among PyTorch's threads by position and head.

    Does the work of :class:`~hyperclova.inference.positions.TorchPositions`, in float32 on a CPU.
    """

    def __init__(self, positions: Sequence[Position]) -> None:
        library = load()
        assert library is not None
        self._call = library.attend_positions
        addresses: list[int] = []
        table = []
        for position in positions:
            chunks = position.chunks
            table.append((position.token, len(addresses), len(chunks), position.place))
            addresses += [chunk.address for chunk in chunks]
        self._held = positions  # and with them the memory that the addresses are of
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
        """As :meth:`~hyperclova.inference.positions.TorchPositions.attend`."""
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
