"""Linear layers with 8-bit matrices on our own kernels."""

from typing import Literal

import torch
from torch import Tensor, nn

from hyperclova.inference.native.build import load

Activation = Literal["none", "gelu"]


class NativeInt8Linear(nn.Module):
    """``nn.Linear`` with integer products, as :class:`~hyperclova.inference.linear.Int8Linear`: one
    scale an output for the weights, one scale a row for the activations, 32-bit sums.

    One call quantises, multiplies and adds the bias; for few rows it takes about as long as the
    memory takes to give the weights.

    Args:
        weight: ``(outputs, inputs)``.
        bias: ``(outputs,)``.
        activation: applied to the result; ``gelu`` is the tanh form.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, activation: Activation = "none"
    ) -> None:
        super().__init__()
        library = load()
        assert library is not None
        self._call = library.int8_linear
        self._activate = int(activation == "gelu")
        weight = weight.detach().float()
        self._outputs, self._inputs = weight.shape
        scales = weight.abs().amax(1) / library.weight_limit()
        scales.clamp_min_(torch.finfo(torch.float32).tiny)
        quantized = (weight / scales[:, None]).round().to(torch.int8)
        panel = library.panel_outputs()
        more, wider = -self._outputs % panel, -self._inputs % 4
        quantized = nn.functional.pad(quantized, (0, wider, 0, more))
        # Panel by panel, groups of four inputs, all outputs of a panel: in the order of reading.
        self._weights = _aligned(
            quantized.view(-1, panel, quantized.shape[1] // 4, 4).transpose(1, 2)
        )
        self._zero = quantized.sum(1, dtype=torch.int32) * 128
        self._scales = nn.functional.pad(scales, (0, more))
        bias = torch.zeros(self._outputs) if bias is None else bias.detach().float()
        self._bias = nn.functional.pad(bias, (0, more))
        tensors = (self._weights, self._zero, self._scales, self._bias)
        self.addresses = tuple(each.data_ptr() for each in tensors)
        """Of packed weights, zero points, scales, bias: as kernels.c takes them."""

    @staticmethod
    def available() -> bool:
        """Whether there are kernels for this processor."""
        return load() is not None

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, self._inputs)
        if rows.stride(1) != 1 or rows.dtype != torch.float32:
            rows = rows.float().contiguous()
        product = rows.new_empty(*x.shape[:-1], self._outputs)
        failed = self._call(
            rows.data_ptr(),
            rows.shape[0],
            self._inputs,
            rows.stride(0),
            *self.addresses,
            self._activate,
            self._outputs,
            product.data_ptr(),
        )
        if failed:
            raise MemoryError(f"no memory for {rows.shape[0]} rows in 8 bits")
        return product


def _aligned(values: Tensor) -> Tensor:
    """A copy that begins where a cache line does; allocators promise it for large tensors only."""
    room = torch.empty(values.numel() + 64, dtype=torch.int8)
    begin = -room.data_ptr() % 64
    copy = room[begin : begin + values.numel()].view(values.shape)
    return copy.copy_(values)
