"""A whole decoding step in one call.

For a small model a step layer by layer is mostly Python and PyTorch's way to each small operation.
The kernel calls the same functions in the same order, so it makes no difference to the last bit
which way a token takes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from hyperclova.inference.cache import CHUNK
from hyperclova.inference.native.attention import NativePositions
from hyperclova.inference.native.build import load
from hyperclova.inference.native.linear import NativeLinear
from hyperclova.inference.native.norm import NativeLayerNorm
from hyperclova.model import GPT, GPTConfig


class NativeDecoder:
    """Runs single positions through all layers.

    Args:
        model: packed (:func:`~hyperclova.inference.linear.pack`) with a :class:`NativeLinear`.
    """

    def __init__(self, model: GPT) -> None:
        library = load()
        assert library is not None
        self._call = library.decode
        self._model = model  # and with it the memory that the addresses are of
        config = model.config
        self._config = config
        tables = (model.token_embedding.weight, model.position_embedding.weight)
        self._tables = [table.detach().float().contiguous() for table in tables]
        layers = [_addresses(block) for block in model.blocks.values()]
        self._layers = np.array(layers, dtype=np.uintp)
        final = model.get_submodule("final_norm")
        assert isinstance(final, NativeLayerNorm)
        self._final = np.array(final.addresses, dtype=np.uintp)
        numbers = (config.head_width**-0.5, config.layer_norm_epsilon)
        self._shape = (config.layers, config.width, config.heads, *numbers)

    @staticmethod
    def available(config: GPTConfig) -> bool:
        """Whether the kernel does all that such a model does."""
        plain = not config.query_key_norm and config.query_scale == config.width_factor == 1.0
        return plain and NativePositions.available(config.head_width)

    def states(
        self, ids: Sequence[int], places: Sequence[int], positions: NativePositions
    ) -> Tensor:
        """The states ``(tokens, width)`` after one token each of several sequences.

        Args:
            ids, places: of each token, and where it stands in its sequence.
            positions: the same tokens, in this order.
        """
        tokens = np.array([ids, places], dtype=np.int64)
        states = torch.empty(len(ids), self._config.width)
        failed = self._call(
            *(self._layers.ctypes.data, *self._shape),
            *(*(table.data_ptr() for table in self._tables), self._final.ctypes.data),
            *(tokens[0].ctypes.data, tokens[1].ctypes.data, positions.table, len(ids)),
            *(positions.chunks, CHUNK, states.data_ptr()),
        )
        if failed:
            raise MemoryError(f"no memory for a step of {len(ids)} tokens")
        return states


_NORMS = ("attention_norm", "mlp_norm")
_MATRICES = ("attention.query_key_value", "attention.output", "mlp.0", "mlp.1")


def _addresses(block: nn.Module) -> list[int]:
    """As the kernel's ``Layer``."""
    addresses: list[int] = []
    for name in _NORMS:
        norm = block.get_submodule(name)
        assert isinstance(norm, NativeLayerNorm)
        addresses += norm.addresses
    for name in _MATRICES:
        matrix = block.get_submodule(name)
        assert isinstance(matrix, NativeLinear)
        addresses.append(matrix.address)
    return addresses
