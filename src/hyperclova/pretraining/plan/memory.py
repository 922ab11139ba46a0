"""Memory of one device by kind, at its worst moment of a step.

Everything follows from what :mod:`hyperclova.parallel` does: float32 master weights, gradients and
AdamW's two moments divided over the FSDP group; layers gathered in the precision of training;
activations as autograd keeps them. Symbols: ``d`` width, ``V`` vocabulary, ``t`` tensor-parallel
degree, ``s`` bytes of an activation, ``B`` tokens of a microbatch.
"""

import dataclasses
import math
from dataclasses import dataclass

from hyperclova.model.shape import GPTConfig
from hyperclova.parallel.layout import Layout
from hyperclova.pretraining.plan.assumptions import Assumptions
from hyperclova.pretraining.plan.gpu import Gpu
from hyperclova.pretraining.plan.tensors import Held, held
from hyperclova.pretraining.plan.workload import Setting, Workload


@dataclass(frozen=True)
class Memory:
    """Bytes on one device."""

    parameters: float
    """Float32 master weights, this device's shard."""
    gradients: float
    """Float32, this device's shard."""
    optimizer: float
    """AdamW's two moments, float32."""
    gathered: float
    """Weights in the precision of training while they are needed, and gradients not yet summed."""
    activations: float
    """What the backward pass needs of the forward pass, and what a pipeline receives into."""
    loss: float
    """Logits of a chunk, and the head's gradient."""
    buffers: float
    """Driver, libraries, collectives, and gaps between allocations."""

    @property
    def total(self) -> float:
        return math.fsum(vars(self).values())

    def in_gigabytes(self) -> dict[str, float]:
        return {
            field.name: round(getattr(self, field.name) / 1e9, 3)
            for field in dataclasses.fields(self)
        }


def kept_per_token(shape: GPTConfig, layout: Layout) -> float:
    """Elements that one layer keeps for the backward pass, per token of a microbatch.

    - ``none``: inputs of both LayerNorms (2 d), their results (2 d), query, key and value (3 d),
      attended values (d), the MLP's inner layer before and after GELU (8 d). Tensor parallelism
      divides all but the LayerNorms' results, which it gathers for the products; without sequence
      parallelism it doesn't divide their inputs either.
    - ``selective``: the layer's input and the results of the products and of attention; those of
      the two matrices that write to the residual stream are undivided.
    - ``full``: the layer's input.
    """
    d, t = shape.width, layout.tp
    stream = d / t if layout.sequence_parallel else d
    statistics = (4 + shape.heads / t) * 2
    if layout.recompute == "full":
        return stream
    if layout.recompute == "selective":
        return stream + 8 * d / t + 2 * d + statistics
    return 2 * stream + 2 * d + 12 * d / t + statistics


def in_flight(layout: Layout, pp_rank: int, microbatches: int) -> float:
    """Microbatches whose activations a pipeline rank holds at most, in units of all its layers.

    One-forward-one-backward: what comes before its first backward pass (Narayanan et al. 2021,
    §2.2). Interleaved: ``2 (p - rank - 1) + (v - 1) p + 1`` stages of ``v``. The zero-bubble
    schedules hold ``p`` on every rank, DualPipeV one stage more; GPipe and breadth-first hold
    all. The tests count the same in PyTorch's own schedules.
    """
    p, v = layout.pp, layout.stages_per_rank
    if p == 1:
        return 1.0
    if layout.schedule in ("gpipe", "looped-bfs"):
        return microbatches
    if layout.schedule == "1f1b":
        return min(microbatches, p - pp_rank)
    if layout.schedule in ("zero-bubble", "zero-bubble-v"):
        return min(microbatches, p)
    if layout.schedule == "dual-pipe-v":
        return min(microbatches, p + 0.5)
    stages = 2 * (p - pp_rank - 1) + (v - 1) * p + 1
    return min(microbatches, stages / v)


def memory(
    work: Workload, setting: Setting, gpu: Gpu, assumed: Assumptions, pp_rank: int
) -> Memory:
    """Of a device of pipeline rank ``pp_rank``."""
    shape, layout, size = work.shape, setting.layout, gpu.element_bytes
    here = held(shape, layout, pp_rank)
    stages = layout.stages_of(pp_rank)
    first, last = stages[0] == 0, stages[-1] == layout.stages - 1
    tokens = setting.microbatch_samples * work.sequence_length
    layers = sum(len(layout.layers_of(stage, shape.layers)) for stage in stages)
    alone = layout.processes == 1
    state = 0 if layout.offload else 4 * here.sharded

    # A process alone keeps the residual stream and LayerNorm in float32 (autocast).
    widening = shape.width * (4 - size) * 4 if alone else 0
    kept = kept_per_token(shape, layout) * size + (widening if layout.recompute == "none" else 0)
    # A layer at work: what it would keep without recomputing, and gradients on their way.
    whole = dataclasses.replace(layout, recompute="none")
    d, t = shape.width, layout.tp
    at_work = (8 * d / t + 2 * d) * size
    if layout.recompute != "none":
        at_work += kept_per_token(shape, whole) * size + widening
    microbatches = setting.microbatches(work)
    activations = tokens * (
        layers * kept * in_flight(layout, pp_rank, microbatches)
        + at_work
        + (d / t * size if first else 0)
        + (2 * d * size if last else 0)
    )
    if layout.pp > 1:  # PyTorch's stages receive every microbatch into a buffer of its own
        ends = (0 if first else 1) + (0 if last else 1) + 2 * (len(stages) - 1)
        stream = d / t if layout.sequence_parallel else d
        activations += ends * microbatches * tokens * stream * size

    loss = 0.0
    if last:
        vocabulary = shape.vocab_size / t
        rows = min(tokens, assumed.loss_chunk_rows(vocabulary))
        rounded = size if size < 4 else 0  # beside what is summed in float32
        loss = (rows * vocabulary + vocabulary * d) * (4 + rounded)
        loss += 2 * tokens * d * size

    gathered = _gathered(here, layout, size, alone)
    fixed = assumed.fixed_gb * 1e9
    gaps = assumed.fragmentation * (gathered + activations + loss)
    return Memory(state, state, 2 * state, gathered, activations, loss, fixed + gaps)


def _gathered(here: Held, layout: Layout, size: int, alone: bool) -> float:
    if alone:  # autocast keeps a copy of every matrix in the precision of training
        return 0.0 if size == 4 else size * (here.blocks + here.ends)
    if layout.pp > 1:
        # Whole for the step, with gradients of all microbatches summed in float32.
        return (size + 4) * (here.blocks + here.ends) + 4 * here.largest_block
    # Gradients of two layers on their way: as computed, as summed in float32.
    moving = 2 * (size + 4) * here.largest_block
    if layout.reshard:
        return size * (2 * here.largest_block + here.ends) + moving + (size + 4) * here.ends
    return (size + 4) * (here.blocks + here.ends) + moving
