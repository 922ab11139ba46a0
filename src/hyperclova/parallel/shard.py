"""Fully sharded data parallelism (FSDP2) over a part, and the weights' first values."""

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
)
from torch.distributed.tensor import DTensor, distribute_tensor

from hyperclova.model.init import initial
from hyperclova.parallel.part import Part


def shard_data(
    part: Part, mesh: DeviceMesh, dtype: torch.dtype, reshard: bool, offload: bool
) -> None:
    """Divide parameters, gradients and optimiser state over ``mesh``; compute in ``dtype``.

    Gradients are summed over the devices in float32, not averaged: the loss is divided by the
    targets of the whole batch already.
    """
    options = {
        "mesh": mesh,
        "reshard_after_forward": reshard,
        "mp_policy": MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32),
        "offload_policy": CPUOffloadPolicy(pin_memory=mesh.device_type != "cpu")
        if offload
        else OffloadPolicy(),
    }
    for block in part.model.blocks.values():
        fully_shard(block, **options)  # type: ignore[call-overload]
    # The ends are needed until the backward pass begins.
    fully_shard(part, **{**options, "reshard_after_forward": False})  # type: ignore[call-overload]
    for module in part.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo has no scaled sum


@torch.no_grad()
def materialise(part: Part, device: torch.device, seed: int) -> None:
    """Give memory and first values to a part on the meta device.

    Each parameter is drawn whole, by name, and cut: a device mesh's own random numbers differ
    between layouts, these don't. The peak is one parameter.
    """
    part.to_empty(device=device)
    config = part.model.config
    for name, parameter in part.model.named_parameters():
        whole = initial(name, parameter.shape, config.layers, seed, config.matrix_factor)
        copy_whole(parameter, whole)


def local_part(tensor: Tensor) -> Tensor:
    """What of a tensor, divided or not, is on this process; changing it changes the tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def copy_whole(parameter: Tensor, whole: Tensor) -> None:
    """Write a whole tensor, the same on every process, into a parameter divided or not."""
    if not isinstance(parameter, DTensor):
        parameter.copy_(whole)
        return
    local = parameter.to_local()
    mesh, placements = parameter.device_mesh, parameter.placements
    cut = distribute_tensor(whole.to(local.device), mesh, placements, src_data_rank=None)
    local.copy_(cut.to_local())
