"""Pipeline parallelism: stages, schedules, and the embedding that both ends share.

The only importer of ``torch.distributed.pipelining``.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.pipelining import (
    PipelineStage,
    Schedule1F1B,
    ScheduleDualPipeV,
    ScheduleGPipe,
    ScheduleInterleaved1F1B,
    ScheduleInterleavedZeroBubble,
    ScheduleLoopedBFS,
    ScheduleZBVZeroBubble,
)
from torch.distributed.tensor import DTensor

from hyperclova.parallel.layout import Layout
from hyperclova.parallel.mesh import Grid
from hyperclova.parallel.part import Part

_SINGLE = {"gpipe": ScheduleGPipe, "1f1b": Schedule1F1B}
_MULTIPLE = {
    "interleaved-1f1b": ScheduleInterleaved1F1B,
    "looped-bfs": ScheduleLoopedBFS,
    "zero-bubble": ScheduleInterleavedZeroBubble,
    "zero-bubble-v": ScheduleZBVZeroBubble,
    "dual-pipe-v": ScheduleDualPipeV,
}


class Pipeline:
    """This process's stages under a schedule.

    Args:
        parts: the stages here, in the order of the model.
        shape: of the states between stages on one device, ``(batch, time, width)``.
        dtype: of those states.
    """

    def __init__(
        self,
        parts: list[Part],
        grid: Grid,
        microbatches: int,
        shape: tuple[int, int, int],
        tokens_shape: tuple[int, int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        layout = grid.layout
        tokens = torch.empty(tokens_shape, dtype=torch.int64, device="meta")
        states = torch.empty(shape, dtype=dtype, device="meta", requires_grad=True)
        loss = torch.empty((), dtype=torch.float32, device="meta", requires_grad=True)
        numbers = layout.stages_of(grid.pipeline_rank)
        self._stages = [
            PipelineStage(
                part,
                number,
                layout.stages,
                device,
                input_args=(tokens if part.first else states,),
                output_args=(loss if part.last else states,),
                group=grid.pipeline_group,
            )
            for part, number in zip(parts, numbers, strict=True)
        ]
        self.microbatches = microbatches
        self._schedule = self._build(layout, microbatches)
        self._holds_first, self._holds_last = parts[0].first, parts[-1].last

    def _build(self, layout: Layout, microbatches: int) -> Any:
        if layout.schedule in _SINGLE:
            kind: Any = _SINGLE[layout.schedule]
            return kind(self._stages[0], microbatches, loss_fn=_given, scale_grads=False)
        kind = _MULTIPLE[layout.schedule]
        return kind(self._stages, microbatches, loss_fn=_given, scale_grads=False)

    def run(self, inputs: Tensor, targets: Tensor, divisors: Tensor | None, train: bool) -> Tensor:
        """The sum of the microbatches' losses, on the last stage's process; elsewhere 0.

        Args:
            inputs: ``(rows, time)``; every process of the pipeline passes the same.
        """
        losses: list[Tensor] = []
        arguments = (inputs,) if self._holds_first else ()
        options: dict[str, Any] = {"return_outputs": False}
        if self._holds_last:
            # The schedule asks for a target of its own; the part has made the loss already.
            options |= {"targets": targets, "target": targets, "losses": losses}
            if divisors is not None:
                options["divisors"] = divisors
        (self._schedule.step if train else self._schedule.eval)(*arguments, **options)
        if not losses:
            return torch.zeros((), device=inputs.device)
        return torch.stack([loss.detach().float() for loss in losses]).sum()


def _given(loss: Tensor, _: Tensor) -> Tensor:
    """The last stage's output is the loss."""
    return loss


def tie_gradients(first: Tensor | None, last: Tensor | None, grid: Grid) -> None:
    """Give the embedding's two copies, on the first and the last stage, the sum of both gradients.

    Args:
        first: gradient of the copy on the first stage, if it is here; changed in place.
        last: of the copy on the last stage, if it is here; changed in place.
    """
    if first is not None and last is not None:
        a, b = _local(first), _local(last)
        a.add_(b)
        b.copy_(a)
        return
    mine = first if first is not None else last
    if mine is None:
        return
    local = _local(mine)
    group = grid.pipeline_group
    other = dist.get_global_rank(group, grid.layout.pp - 1 if first is not None else 0)
    received = torch.empty_like(local)
    exchange = [
        dist.P2POp(dist.isend, local.contiguous(), other, group),
        dist.P2POp(dist.irecv, received, other, group),
    ]
    for work in dist.batch_isend_irecv(exchange):
        work.wait()
    local.add_(received)


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
