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

from hyperclova.parallel.layout import Layout
from hyperclova.parallel.mesh import Grid
from hyperclova.parallel.part import Part
from hyperclova.parallel.shard import local_part

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
        self.microbatches = microbatches
        self._parts, self._grid, self._device = parts, grid, device
        self._states = torch.empty(shape, dtype=dtype, device="meta", requires_grad=True)
        tokens = torch.empty(tokens_shape, dtype=torch.int64, device="meta")
        states = self._states
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
        self._schedule = self._build(layout, microbatches)

    def _build(self, layout: Layout, microbatches: int) -> Any:
        if layout.schedule in _SINGLE:
            kind: Any = _SINGLE[layout.schedule]
            return kind(self._stages[0], microbatches, loss_fn=_given, scale_grads=False)
        kind = _MULTIPLE[layout.schedule]
        return kind(self._stages, microbatches, loss_fn=_given, scale_grads=False)

    def train(self, inputs: Tensor, targets: Tensor, divisors: Tensor) -> Tensor:
        """Forward and backward of all microbatches, in the schedule's order.

        Args:
            inputs: ``(rows, time)``; every process of the pipeline passes the same.

        Returns:
            The sum of their losses on the last stage's process; elsewhere 0.
        """
        losses: list[Tensor] = []
        options: dict[str, Any] = {"return_outputs": False}
        if self._parts[-1].last:
            # The schedule asks for a target of its own; the part has made the loss already.
            options |= {"targets": targets, "target": targets, "losses": losses}
            options["divisors"] = divisors
        if self._parts[0].documents is not None:
            options["tokens"] = inputs
        self._schedule.step(*((inputs,) if self._parts[0].first else ()), **options)
        return self._sum(losses)

    def evaluate(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Forward alone, with the same arguments and result.

        Schedules are made for training; the ones shaped like a V can't do without a backward
        pass. Here every process takes its stages one after the other, each for all microbatches.
        """
        layout, group = self._grid.layout, self._grid.pipeline_group
        home = {stage: rank for rank in range(layout.pp) for stage in layout.stages_of(rank)}
        rank = self._grid.pipeline_rank
        rows = list(
            zip(inputs.chunk(self.microbatches), targets.chunk(self.microbatches), strict=True)
        )
        carried: list[Tensor] = []  # from the stage before, where that is here too
        sent, losses = [], []
        for part, stage in zip(self._parts, layout.stages_of(rank), strict=True):
            states: list[Tensor] = []
            for number, (tokens, wanted) in enumerate(rows):
                if part.first:
                    x = tokens
                elif home[stage - 1] == rank:
                    x = carried[number]
                else:
                    x = torch.empty_like(self._states, device=self._device, requires_grad=False)
                    dist.recv(x, dist.get_global_rank(group, home[stage - 1]), group)
                y = part(x, wanted if part.last else None, tokens=tokens)
                if part.last:
                    losses.append(y)
                elif home[stage + 1] == rank:
                    states.append(y)
                else:
                    y = y.contiguous()
                    to = dist.get_global_rank(group, home[stage + 1])
                    sent.append((dist.isend(y, to, group), y))  # kept until it has arrived
            carried = states
        for work, _ in sent:
            if work is not None:
                work.wait()
        return self._sum(losses)

    def _sum(self, losses: list[Tensor]) -> Tensor:
        if not losses:
            return torch.zeros((), device=self._device)
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
        a, b = local_part(first), local_part(last)
        a.add_(b)
        b.copy_(a)
        return
    mine = first if first is not None else last
    if mine is None:
        return
    local = local_part(mine)
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
