"""Linear layers for inference: matrices packed once for the processor's kernels.

All kinds compute every row by itself: what a row gives does not depend, to the last bit, on the
rows beside it. That is why the same seed gives the same text alone and in a batch, and why a
prompt read in pieces is the prompt read at once. It holds by construction for matrices in 8 bits,
as sums of integers are exact, and for our own kernels, which sum in one order; for
:class:`PackedLinear` it was measured.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hyperclova.errors import UserError
from hyperclova.inference.native.linear import NativeFloatLinear, NativeInt8Linear, NativeLinear
from hyperclova.inference.native.norm import NativeLayerNorm
from hyperclova.inference.protocol import Precision
from hyperclova.model.gpt import MLP
from hyperclova.parallel.device import bfloat16_in_hardware

_ROWS_HINT = 8  # oneDNN chooses a blocking for this many rows; others run with it, too


class PackedLinear(nn.Module):
    """``nn.Linear`` on a CPU in float32 or bfloat16, its matrix in oneDNN's blocked layout.

    For bfloat16, and where our own kernels are not (:class:`NativeFloatLinear`). Faster than the
    default path for the few rows of a decoding step (twice as fast at 4 to 16 rows on an AVX2
    machine).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(
            weight.detach().contiguous(), _ROWS_HINT
        )
        self._bias = None if bias is None else bias.detach()

    @staticmethod
    def available(weight: Tensor) -> bool:
        """Whether this torch and this matrix allow packing."""
        return (
            torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
            and hasattr(torch.ops.mkldnn, "_linear_pointwise")
            and weight.device.type == "cpu"
            and (
                weight.dtype == torch.float32
                or (weight.dtype == torch.bfloat16 and bfloat16_in_hardware(weight.device))
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        rows = x.shape[-2]
        padding = _padded(rows) - rows
        if padding:
            x = functional.pad(x, (0, 0, 0, padding))
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._packed, self._bias, "none", [], ""
        )
        return product[..., :rows, :] if padding else product


def _padded(rows: int) -> int:
    """The number of rows that are computed for ``rows``.

    oneDNN compiles kernels for each number of rows and keeps them. For five matrices and all
    numbers up to 576 they took 1.4 GB, for these 35 numbers 0.1 GB, and compiling cost more time
    than the rows that nobody needs.

    Never a single row: with AVX-512 and more than about 2,000 inputs oneDNN sums one row in another
    order than two and more. A second one costs no time, as both wait for the same weights.
    """
    if rows <= 16:  # a decoding step
        return max(2, rows)
    step = 16 if rows <= 256 else 64
    return -(-rows // step) * step


class Int8Linear(nn.Module):
    """``nn.Linear`` with integer products: weights and activations in 8 bits, sums in 32.

    On torch's kernels, for where our own are not (:class:`NativeInt8Linear`).

    Weights are symmetric with one scale an output, activations symmetric with one scale a row:
    ``y = s_x * s_w * (q_w @ q_x) + b``. A row's scale is its own largest magnitude, so rows do
    not influence each other, unlike dynamic quantisation with one scale for the whole batch.

    Without VNNI instructions the kernel adds pairs of products in 16 bits, which hold
    ``255 * 63 * 2`` but not ``255 * 127 * 2``; the weights then have 7 bits.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """
        Raises:
            UserError: this torch has no integer kernels for this processor.
        """
        super().__init__()
        if not self.available():
            raise UserError(
                "precision int8 needs torch's fbgemm kernels, which this processor or build does "
                "not have; use precision float32"
            )
        limit = 127 if _has_vnni() else 63
        weight = weight.detach().float()
        scales = (weight.abs().amax(1) / limit).clamp_min(torch.finfo(torch.float32).tiny)
        quantized = (weight / scales[:, None]).round().to(torch.int8)
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        stored = torch._make_per_channel_quantized_tensor(quantized, scales.double(), zeros, 0)
        engine = torch.backends.quantized.engine
        torch.backends.quantized.engine = "fbgemm"
        try:
            self._packed = torch.ops.quantized.linear_prepack(stored, None)
        finally:
            torch.backends.quantized.engine = engine
        self._bias = None if bias is None else bias.detach().float()

    @staticmethod
    def available() -> bool:
        """Whether this torch has integer kernels for this processor."""
        return "fbgemm" in torch.backends.quantized.supported_engines

    def forward(self, x: Tensor) -> Tensor:
        largest = x.abs().amax(-1, keepdim=True)
        largest.clamp_min_(torch.finfo(torch.float32).tiny)
        product: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            x / largest, 1 / 127, 128, self._packed
        )
        if self._bias is None:
            return product.mul_(largest)
        return torch.addcmul(self._bias, product, largest)


def _has_vnni() -> bool:
    return bool(torch.cpu._is_vnni_supported())


Kind = type[PackedLinear] | type[Int8Linear] | type[NativeFloatLinear] | type[NativeInt8Linear]


def kind_for(precision: Precision, device: torch.device) -> Kind:
    """The fastest kind that there is here."""
    if precision == "int8":
        return NativeInt8Linear if NativeInt8Linear.available() else Int8Linear
    ours = precision == "float32" and device.type == "cpu" and NativeFloatLinear.available()
    return NativeFloatLinear if ours else PackedLinear


def int8_available() -> bool:
    """Whether this machine can multiply with matrices in 8 bits."""
    return NativeInt8Linear.available() or Int8Linear.available()


def pack(module: nn.Module, kind: Kind) -> None:
    """Replace every linear layer below ``module`` by its packed form, where that is possible; for
    our own kernels also what stands beside them."""
    ours = kind if issubclass(kind, NativeLinear) else None
    for name, child in module.named_children():
        if isinstance(child, MLP) and ours is not None:
            first = ours(child.expand.weight, child.expand.bias, "gelu")
            second = ours(child.contract.weight, child.contract.bias)
            setattr(module, name, nn.Sequential(first, second))
        elif isinstance(child, nn.LayerNorm) and ours is not None:
            if child.bias is not None:  # else one of queries and keys
                setattr(module, name, NativeLayerNorm(child))
        elif not isinstance(child, nn.Linear):
            pack(child, kind)
        elif kind is not PackedLinear or PackedLinear.available(child.weight):
            setattr(module, name, kind(child.weight, child.bias))
