"""Initial weights: GPT-2's distribution, drawn independently of any device layout.

Matrices and embeddings are normal with standard deviation 0.02; the two matrices of a block that
write to the residual path are scaled by ``1 / sqrt(2 * layers)`` (GPT-2, §2.3); biases are zero,
LayerNorm gains one.

Each parameter has a generator of its own, seeded from (seed, name). So the draw does not depend
on which other parameters this process holds, and a sharded model is the whole model, sliced.
"""

import hashlib
import math

import torch
from torch import Tensor, nn

STANDARD_DEVIATION = 0.02
_RESIDUAL = ("attention.output.weight", "mlp.contract.weight")


@torch.no_grad()
def initialise(model: nn.Module, layers: int, seed: int, matrix_factor: float = 1.0) -> None:
    """Draw the weights of ``model`` in place; parameters on the meta device are left alone.

    Args:
        matrix_factor: of the deviation of the blocks' matrices (:attr:`GPTConfig.matrix_factor`).
    """
    for name, parameter in model.named_parameters():
        if not parameter.is_meta:
            parameter.copy_(initial(name, parameter.shape, layers, seed, matrix_factor))


def initial(
    name: str, shape: torch.Size, layers: int, seed: int, matrix_factor: float = 1.0
) -> Tensor:
    """The whole parameter called ``name`` in :class:`GPT`, float32 on the CPU."""
    if len(shape) == 1:
        return torch.full(shape, 1.0 if name.endswith("norm.weight") else 0.0)
    deviation = STANDARD_DEVIATION
    if name.endswith(_RESIDUAL):
        deviation /= math.sqrt(2 * layers)
    if name.startswith("blocks."):
        deviation *= matrix_factor
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return torch.empty(shape).normal_(0.0, deviation, generator=generator)
