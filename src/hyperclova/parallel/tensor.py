"""Tensor and sequence parallelism: which matrix is divided how, one line for each.

Megatron's division (Shoeybi et al. 2019, §3): the first matrix of attention and of the MLP by
columns (whole heads), the second by rows, the embedding by vocabulary. With sequence parallelism
(Korthikanti et al. 2022, §4.2.2) the residual stream between them lies divided along the
sequence, so that each pair of collectives is a gather and a reduce-scatter.
"""

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import (
    DTensor,
    Partial,
    Placement,
    Replicate,
    Shard,
    distribute_module,
)
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)

from hyperclova.model.gpt import GPT


class Replicated(ParallelStyle):
    """Every device holds the whole module and computes it; the result may be divided after."""

    def __init__(self, output: Placement | None = None) -> None:
        super().__init__()
        self.output = output or Replicate()

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        def prepare_input(module: nn.Module, inputs: tuple[Tensor], mesh: DeviceMesh) -> DTensor:
            return DTensor.from_local(inputs[0], mesh, [Replicate()], run_check=False)

        def prepare_output(module: nn.Module, output: DTensor, mesh: DeviceMesh) -> Tensor:
            return output.redistribute(placements=[self.output]).to_local()

        return distribute_module(module, device_mesh, None, prepare_input, prepare_output)  # type: ignore[arg-type]


def shard_tensors(model: GPT, mesh: DeviceMesh, sequence_parallel: bool) -> None:
    """Divide the parameters of ``model`` (or of the part of it that is here) over ``mesh``.

    Afterwards inputs and outputs of its submodules are plain tensors again: the residual stream
    ``(batch, time, width)``, or ``(batch, time / devices, width)`` with sequence parallelism.
    """
    stream: Placement = Shard(1) if sequence_parallel else Replicate()
    norm: ParallelStyle = Replicated()
    if sequence_parallel:
        norm = SequenceParallel(use_local_output=True)
    block: dict[str, ParallelStyle] = {
        "attention_norm": norm,
        "attention.query_key_value": ColwiseParallel(input_layouts=stream),
        "attention.output": RowwiseParallel(output_layouts=stream),
        "mlp_norm": norm,
        "mlp.expand": ColwiseParallel(input_layouts=stream),
        "mlp.contract": RowwiseParallel(output_layouts=stream),
    }
    if model.config.query_key_norm:
        # (batch, time, heads, head_width): one gain for all heads, of which each device has some.
        of_heads = SequenceParallel(sequence_dim=2, use_local_output=True)
        block |= {"attention.query_norm": of_heads, "attention.key_norm": of_heads}
    for each in model.blocks.values():
        parallelize_module(each, mesh, block)
    ends: dict[str, ParallelStyle] = {
        "token_embedding": RowwiseParallel(input_layouts=Replicate(), output_layouts=stream),
        "position_embedding": Replicated(stream),
        "final_norm": norm,
    }
    present = {name: style for name, style in ends.items() if getattr(model, name) is not None}
    parallelize_module(model, mesh, present)


def gather_states(
    states: Tensor, weight: Tensor, mesh: DeviceMesh, sequence_parallel: bool
) -> tuple[Tensor, Tensor, dist.ProcessGroup]:
    """What a vocabulary-parallel loss takes.

    Args:
        states: after the final norm, as :func:`shard_tensors` leaves the residual stream.
        weight: the head, divided by vocabulary.

    Returns:
        States ``(batch, time, width)`` whose gradients are summed over the devices, this device's
        rows of the head, and the group that holds the others.
    """
    stream: Placement = Shard(1) if sequence_parallel else Replicate()
    whole = DTensor.from_local(states, mesh, [stream], run_check=False)
    gathered = whole.redistribute(placements=[Replicate()]).to_local(grad_placements=[Partial()])
    assert isinstance(weight, DTensor)
    return gathered, weight.to_local(), mesh.get_group()
