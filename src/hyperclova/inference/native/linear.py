"""Linear layers on our own kernels."""

import ctypes
from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from hyperclova.inference.native.build import load

Activation = Literal["none", "gelu"]


class _Matrix(ctypes.Structure):
    """``Matrix`` of kernels.h."""

    _fields_: ClassVar = [
        *((name, ctypes.c_void_p) for name in ("product", "weights", "bias", "scale", "zero")),
        *(("inputs", ctypes.c_long), ("outputs", ctypes.c_long), ("activate", ctypes.c_int)),
    ]


class NativeLinear(nn.Module, ABC):
    """``nn.Linear`` on a kernel: one call multiplies, adds the bias and applies the activation.

    For few rows it takes about as long as the memory takes to give the weights.

    Args:
        weight: ``(outputs, inputs)``.
        bias: ``(outputs,)``.
        activation: applied to the result; ``gelu`` is the tanh form.
    """

    _kernel: ClassVar[str]

    def __init__(
        self, weight: Tensor, bias: Tensor | None, activation: Activation = "none"
    ) -> None:
        super().__init__()
        library = load()
        assert library is not None
        self._call = getattr(library, self._kernel)
        weight = weight.detach().float()
        self._outputs, self._inputs = weight.shape
        panel = library.panel_outputs()
        bias = torch.zeros(self._outputs) if bias is None else bias.detach().float()
        self._held = {
            "bias": nn.functional.pad(bias, (0, -self._outputs % panel)),
            **self._pack(weight, panel, library),
        }
        self._matrix = _Matrix(
            product=ctypes.cast(self._call, ctypes.c_void_p).value,
            inputs=self._inputs,
            outputs=self._outputs,
            activate=activation == "gelu",
            **{name: held.data_ptr() for name, held in self._held.items()},
        )
        self.address = ctypes.addressof(self._matrix)
        """Of the matrix as kernels.h has it."""

    @abstractmethod
    def _pack(self, weight: Tensor, panel: int, library: ctypes.CDLL) -> dict[str, Tensor]:
        """What the kernel reads, by its names in kernels.h, for ``weight (outputs, inputs)``,
        float32, and ``panel`` outputs that are computed together."""

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
            *(self.address, rows.data_ptr(), rows.shape[0], rows.stride(0), product.data_ptr())
        )
        if failed:
            raise MemoryError(f"no memory for a product of {rows.shape[0]} rows")
        return product


class NativeFloatLinear(NativeLinear):
    """In float32."""

    _kernel = "float32_product"

    def _pack(self, weight: Tensor, panel: int, library: ctypes.CDLL) -> dict[str, Tensor]:
        outputs, inputs = weight.shape
        whole, rest = divmod(outputs, panel)
        packed = _aligned((whole + (rest > 0), inputs, panel), torch.float32)
        # Panel by panel, input by input, all outputs of a panel: in the order of reading.
        by_output = packed.transpose(1, 2)
        by_output[:whole] = weight[: whole * panel].reshape(whole, panel, inputs)
        if rest:
            by_output[whole, :rest] = weight[whole * panel :]
            by_output[whole, rest:] = 0
        return {"weights": packed}


class NativeInt8Linear(NativeLinear):
    """With integer products, as :class:`~hyperclova.inference.linear.Int8Linear`: one scale an
    output for the weights, one scale a row for the activations, 32-bit sums."""

    _kernel = "int8_product"

    def _pack(self, weight: Tensor, panel: int, library: ctypes.CDLL) -> dict[str, Tensor]:
        scales = weight.abs().amax(1) / library.weight_limit()
        scales.clamp_min_(torch.finfo(torch.float32).tiny)
        quantized = (weight / scales[:, None]).round().to(torch.int8)
        more, wider = -len(weight) % panel, -weight.shape[1] % 4
        quantized = nn.functional.pad(quantized, (0, wider, 0, more))
        # Panel by panel, groups of four inputs, all outputs of a panel: in the order of reading.
        ordered = quantized.view(-1, panel, quantized.shape[1] // 4, 4).transpose(1, 2)
        return {
            "weights": _aligned(ordered.shape, torch.int8).copy_(ordered),
            "scale": nn.functional.pad(scales, (0, more)),
            "zero": quantized.sum(1, dtype=torch.int32) * 128,
        }


def _aligned(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Room that begins where a cache line does; allocators promise it for large tensors only."""
    size = torch.Size(shape).numel() * dtype.itemsize
    room = torch.empty(size + 64, dtype=torch.int8)
    begin = -room.data_ptr() % 64
    return room[begin : begin + size].view(dtype).view(shape)
