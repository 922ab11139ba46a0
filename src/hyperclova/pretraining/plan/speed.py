"""How long an optimiser step takes: work, traffic that does not hide behind it, and waiting."""

import dataclasses
import math
from dataclasses import dataclass

from hyperclova.parallel.layout import Layout
from hyperclova.pretraining.plan.assumptions import Assumptions
from hyperclova.pretraining.plan.compute import SPLIT_BACKWARD, Device, Passes
from hyperclova.pretraining.plan.gpu import Gpu
from hyperclova.pretraining.plan.tensors import Held, held
from hyperclova.pretraining.plan.traffic import Wires
from hyperclova.pretraining.plan.workload import Setting, Workload


@dataclass(frozen=True)
class StepTime:
    """Seconds of a step on the slowest device; their sum is the step."""

    work: float
    """Products, attention and element-wise work of its layers, once forward and backward."""
    head: float
    """Output head, loss and embedding."""
    recompute: float
    """Forward passes done again."""
    tensor_traffic: float
    """Of tensor parallelism, not hidden."""
    data_traffic: float
    """Of FSDP and replicas, not hidden."""
    pipeline_traffic: float
    bubble: float
    """Waiting for the pipeline to fill and to empty."""
    optimizer: float
    other: float
    """Host, slower fellows."""

    @property
    def total(self) -> float:
        return math.fsum(vars(self).values())


def bubble_share(layout: Layout) -> float:
    """Idle time over the time of one microbatch on one rank.

    ``p - 1`` for GPipe and 1F1B, ``(p - 1) / v`` where each rank holds ``v`` stages (Narayanan et
    al. 2021, §2.2). With the backward pass split, a third of that where forward, input and weight
    gradients take alike (Qi et al. 2023, §2.3). The tests run PyTorch's own schedules in
    simulation and find the same.
    """
    share = (layout.pp - 1) / layout.stages_per_rank
    return share / 3 if layout.schedule in SPLIT_BACKWARD else share


@dataclass(frozen=True)
class _Rank:
    """One pipeline rank on one microbatch, in seconds."""

    work: float
    head: float
    recompute: float
    tensor_traffic: float
    data_traffic: float

    @property
    def total(self) -> float:
        return self.work + self.head + self.recompute + self.tensor_traffic + self.data_traffic


class Speed:
    """Predicts steps of one workload on one kind of device."""

    def __init__(self, work: Workload, gpu: Gpu, assumed: Assumptions) -> None:
        self._work, self._gpu, self._assumed = work, gpu, assumed
        self._device, self._wires = Device(gpu, assumed), Wires(gpu, assumed)

    def step(self, setting: Setting) -> StepTime:
        layout, assumed = setting.layout, self._assumed
        microbatches = setting.microbatches(self._work)
        layer, head, embedding = self._costs(setting)
        ranks = [
            self._rank(setting, pp_rank, layer, head, embedding)
            for pp_rank in sorted({0, layout.pp // 2, layout.pp - 1})
        ]
        slowest = max(ranks, key=lambda rank: rank.total)
        mean = sum(rank.total for rank in ranks) / len(ranks)
        here = held(self._work.shape, layout, 0)
        once = self._data_traffic_once(setting, here)
        optimizer = self._optimizer(setting, here)
        sends = self._sends(setting) * microbatches
        bubble = bubble_share(layout) * mean if layout.pp > 1 else 0.0
        before = StepTime(
            work=slowest.work * microbatches,
            head=slowest.head * microbatches,
            recompute=slowest.recompute * microbatches,
            tensor_traffic=slowest.tensor_traffic * microbatches,
            data_traffic=slowest.data_traffic * microbatches + once,
            pipeline_traffic=sends,
            bubble=bubble,
            optimizer=optimizer,
            other=0.0,
        )
        servers = math.ceil(layout.processes / self._gpu.per_node)
        waiting = assumed.slowdown_per_doubling * math.log2(servers) * before.total
        return dataclasses.replace(before, other=assumed.step_seconds + waiting)

    def _costs(self, setting: Setting) -> tuple[Passes, float, float]:
        device, work = self._device, self._work
        layer = device.layer(work, setting)
        host = self._assumed.host_seconds
        backward = layer.backward
        if setting.layout.pp > 1 and setting.layout.schedule in SPLIT_BACKWARD:
            backward *= 1 + self._assumed.split_overhead
        layer = Passes(max(layer.forward, host), max(backward, 2 * host))
        return layer, device.head(work, setting), device.embedding(work, setting)

    def _rank(
        self, setting: Setting, pp_rank: int, layer: Passes, head: float, embedding: float
    ) -> _Rank:
        layout, shape = setting.layout, self._work.shape
        stages = layout.stages_of(pp_rank)
        layers = sum(len(layout.layers_of(stage, shape.layers)) for stage in stages)
        ends = (embedding if stages[0] == 0 else 0.0) + (
            head if stages[-1] == layout.stages - 1 else 0.0
        )
        again = {"none": 0.0, "full": layer.forward, "selective": self._again(setting)}
        recompute = again[layout.recompute]
        traffic = self._tensor_traffic(setting)
        data = self._data_traffic(setting, layer, recompute)
        return _Rank(
            layers * (layer.forward + layer.backward),
            ends,
            layers * recompute,
            layers * traffic,
            layers * data,
        )

    def _again(self, setting: Setting) -> float:
        """Selective recomputation: the element-wise work of the forward pass."""
        layout, d = setting.layout, self._work.shape.width
        tokens = setting.microbatch_samples * self._work.sequence_length
        stream = d / layout.tp if layout.sequence_parallel else d
        factor = self._device.eager(self._work, setting) * self._gpu.element_bytes
        return self._device.elementwise(tokens * factor * (10 * stream + 8 * d / layout.tp))

    def _tensor_traffic(self, setting: Setting) -> float:
        """Of one layer: two gathers and two reduce-scatters forward, as many backward, and those
        of the forward pass again where it is computed again (all but the last where selective)."""
        layout = setting.layout
        if layout.tp == 1:
            return 0.0
        tokens = setting.microbatch_samples * self._work.sequence_length
        size = tokens * self._work.shape.width * self._gpu.element_bytes
        once = self._wires.gather(self._wires.tensor(layout), size)
        count = 8 + {"none": 0, "selective": 3, "full": 4}[layout.recompute]
        return once * count * (1 - self._assumed.tensor_overlap)

    def _block_bytes(self, setting: Setting) -> float:
        return held(self._work.shape, setting.layout, 0).largest_block

    def _data_traffic(self, setting: Setting, layer: Passes, recompute: float) -> float:
        """Of one layer and microbatch, what does not hide behind the layer before or after.

        Without a pipeline weights are gathered for the forward pass, and where they are given up
        after it also for the backward pass, when gradients are summed as well.
        """
        layout = setting.layout
        if layout.pp > 1 or layout.shards == 1:
            return 0.0
        wires, size = self._wires, self._gpu.element_bytes
        group, elements = wires.shards(layout), self._block_bytes(setting)
        gather = wires.gather(group, elements * size)
        if layout.offload:
            gather += elements / layout.shards * 4 / (self._gpu.host_gb_s * 1e9)
        summed = 0.0
        if layout.reshard:
            summed = wires.gather(group, elements * 4)
            summed += wires.reduce(wires.replicas(layout), elements * 4 / layout.shards)
            if layout.offload:
                summed += elements / layout.shards * 4 / (self._gpu.host_gb_s * 1e9)
        backward = summed + (gather if layout.reshard else 0.0)
        return self._exposed(gather, layer.forward) + self._exposed(
            backward, layer.backward + recompute
        )

    def _exposed(self, traffic: float, work: float) -> float:
        """What traffic beside work adds to it."""
        assumed = self._assumed
        hidden = min(traffic, assumed.overlap * work)
        return traffic - hidden + assumed.interference * hidden

    def _data_traffic_once(self, setting: Setting, here: Held) -> float:
        """Once a step: the first gather and the last sum, behind which nothing can hide; in a
        pipeline, and where gradients are summed once, all of it."""
        layout, wires = setting.layout, self._wires
        if layout.processes == 1:
            return 0.0
        group, size = wires.shards(layout), self._gpu.element_bytes
        replicas = wires.replicas(layout)

        def summed(elements: float) -> float:
            return wires.gather(group, elements * 4) + wires.reduce(
                replicas, elements * 4 / layout.shards
            )

        if layout.pp > 1:
            whole = here.blocks + here.ends
            tied = wires.send(layout, here.ends / layout.shards * 4)
            return wires.gather(group, whole * size) + summed(whole) + tied
        ends = wires.gather(group, here.ends * size) + summed(here.ends)
        first = wires.gather(group, here.largest_block * size) + summed(here.largest_block)
        if layout.reshard:
            ends *= setting.microbatches(self._work)
            return ends + first
        # The sum of all layers hides behind the last backward pass as far as it can.
        return ends + first + summed(here.blocks) * (1 - self._assumed.overlap)

    def _sends(self, setting: Setting) -> float:
        """Between stages, of one microbatch: states forward, their gradients backward."""
        layout = setting.layout
        if layout.pp == 1:
            return 0.0
        tokens = setting.microbatch_samples * self._work.sequence_length
        stream = self._work.shape.width / (layout.tp if layout.sequence_parallel else 1)
        once = self._wires.send(layout, tokens * stream * self._gpu.element_bytes)
        return 2 * layout.stages_per_rank * once * (1 - self._assumed.pipeline_overlap)

    def _optimizer(self, setting: Setting, here: Held) -> float:
        if setting.layout.offload:  # the host steps, from its own memory, a share for each device
            return 40 * here.sharded / (self._gpu.host_gb_s * 1e9)
        return self._device.optimizer(here.sharded)
