"""Linear layers whose products run in 8-bit floating point, on GPUs that have it.

Source: Micikevicius et al. 2022, "FP8 formats for deep learning" (arXiv:2209.05433): inputs and
weights in E4M3, gradients in E5M2, each tensor multiplied by a scale of its own before it is
rounded, so that its largest value becomes the format's largest. The scale is taken from the
tensor at hand (dynamic, one for a tensor). Weights, sums and optimiser state keep their precision.

The three products of a layer run in ``torch._scaled_mm``. PyTorch's CPU kernel of it is slow but
exact, which is what the tests use; on a GPU this has never been run.
"""

from typing import Any

import torch
from torch import Tensor, nn

from hyperclova.errors import UserError
from hyperclova.model.gpt import GPT, GPTConfig

FORWARD, BACKWARD = torch.float8_e4m3fn, torch.float8_e5m2
_ALIGNMENT = 16  # elements: what the kernels need of every dimension
_CAPABILITY = (8, 9)


def rounded(tensor: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A tensor in an 8-bit format, and the float32 scalar to multiply it by to have it back."""
    largest = torch.finfo(dtype).max
    scale = tensor.abs().amax().float().clamp_min(torch.finfo(torch.float32).tiny) / largest
    # Rounding may carry the largest value past the format's, which casting does not catch.
    return (tensor.float() / scale).clamp(-largest, largest).to(dtype), scale


def _product(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], dtype: torch.dtype) -> Tensor:
    """``a @ b.T`` of rounded matrices with rows along the common dimension, as kernels want it."""
    product: Tensor = torch._scaled_mm(
        a[0].contiguous(),
        b[0].contiguous().t(),
        scale_a=a[1],
        scale_b=b[1],
        out_dtype=dtype,
    )
    return product


def _turned(matrix: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return matrix[0].t(), matrix[1]


class _Float8Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
        inputs, matrix = rounded(x, FORWARD), rounded(weight, FORWARD)
        ctx.save_for_backward(*inputs, *matrix)
        ctx.dtypes = dtype, x.dtype, weight.dtype
        return _product(inputs, matrix, dtype)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor, None]:
        x, x_scale, weight, weight_scale = ctx.saved_tensors
        dtype, x_dtype, weight_dtype = ctx.dtypes
        gradient = rounded(outputs[0], BACKWARD)
        for_x = _product(gradient, _turned((weight, weight_scale)), dtype)
        for_weight = _product(_turned(gradient), _turned((x, x_scale)), dtype)
        return for_x.to(x_dtype), for_weight.to(weight_dtype), None


class Float8Linear(nn.Linear):
    """``nn.Linear`` with the same parameters and 8-bit products.

    Input ``(..., in_features)``; its rows, and both features, must be multiples of 16.
    """

    def forward(self, input: Tensor) -> Tensor:
        """``(..., out_features)``, in autocast's type if it is on, else the input's."""
        kind = input.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else input.dtype
        rows = input.flatten(0, -2)
        product: Tensor = _Float8Linear.apply(rows, self.weight, dtype)  # type: ignore[no-untyped-call]
        if self.bias is not None:
            product = product + self.bias.to(dtype)
        return product.view(*input.shape[:-1], self.out_features)


def convert(model: GPT) -> None:
    """Give every linear layer in the blocks of ``model`` 8-bit products; names don't change.

    Embedding and head keep theirs: the loss is most sensitive to them.
    """
    for block in model.blocks.values():
        for parent in block.modules():
            for name, child in list(parent.named_children()):
                if type(child) is nn.Linear:
                    with torch.device("meta"):
                        layer = Float8Linear(child.in_features, child.out_features)
                    layer.weight, layer.bias = child.weight, child.bias
                    setattr(parent, name, layer)


def check(device: torch.device, config: GPTConfig, rows: int, tensor_parallel: int) -> None:
    """Whether 8-bit layers can run here.

    Args:
        rows: tokens of a forward pass.

    Raises:
        UserError: no GPU that has the format, or sizes that its kernels don't take.
    """
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    if capability is None or capability < _CAPABILITY:
        here = (
            f"{device.type}"
            if capability is None
            else "a GPU of capability {}.{}".format(*capability)
        )
        raise UserError(
            f"recipe.float8: needs a GPU of compute capability 8.9 or newer (Ada, Hopper, "
            f"Blackwell), and this is {here}; set it to false"
        )
    check_sizes(config, rows, tensor_parallel)


def check_sizes(config: GPTConfig, rows: int, tensor_parallel: int) -> None:
    """The part of :func:`check` that does not depend on the device."""
    if tensor_parallel > 1:
        raise UserError("recipe.float8: does not go with layout.tp above 1; set one back")
    if config.width % _ALIGNMENT:
        raise UserError(f"recipe.float8: model.width {config.width} is not a multiple of 16")
    if rows % _ALIGNMENT:
        raise UserError(f"recipe.float8: training.microbatch_tokens {rows} is not a multiple of 16")
