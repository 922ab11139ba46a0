"""The norm of a gradient that lies over many devices, and clipping by it."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate

from hyperclova.parallel.shard import local_part


@torch.no_grad()
def clip_gradients(
    gradients: Sequence[Tensor], shares: Sequence[float], largest: float, everywhere: bool
) -> Tensor:
    """Scale all gradients in place so that their common norm is at most ``largest``.

    Squares of what lies here are added up in one reduction over all processes, each tensor's
    divided by the number of processes that hold the same part: every process gets the same bits.

    Args:
        gradients: all that this process has a part of.
        shares: factor for each square besides; 0 for a copy that is counted elsewhere.
        everywhere: there are other processes, and they call this too.

    Returns:
        The norm of the whole model's gradient before clipping, a scalar on the device.
    """
    local = [local_part(gradient) for gradient in gradients]
    weights = torch.tensor(
        [share / _copies(gradient) for gradient, share in zip(gradients, shares, strict=True)],
        device=local[0].device,
    )
    norms = torch.stack(torch._foreach_norm(local))
    square = (norms.square() * weights).sum()
    if everywhere:
        dist.all_reduce(square)
    norm = square.sqrt()
    torch._foreach_mul_(local, (largest / (norm + 1e-6)).clamp(max=1.0))
    return norm


def _copies(tensor: Tensor) -> int:
    """How many processes of the tensor's mesh hold the same part of it."""
    copies = 1
    if isinstance(tensor, DTensor):
        for axis, placement in enumerate(tensor.placements):
            if isinstance(placement, Replicate):
                copies *= tensor.device_mesh.size(axis)
    return copies
