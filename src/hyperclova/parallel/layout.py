"""How a model lies over devices, as typed data: three lines of a run's configuration.

The world's ranks form a grid with the axes ``pp × replicas × shards × tp``, the last one fastest:
the ranks of a tensor-parallel group, which talk most, are neighbours.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from hyperclova.configuration import at_least
from hyperclova.errors import UserError
from hyperclova.model.shape import GPTConfig

ScheduleName = Literal[
    "gpipe",
    "1f1b",
    "interleaved-1f1b",
    "looped-bfs",
    "zero-bubble",
    "zero-bubble-v",
    "dual-pipe-v",
]

_SINGLE = ("gpipe", "1f1b")
_V_SHAPED = ("zero-bubble-v", "dual-pipe-v")


@dataclass(frozen=True)
class Layout:
    """Degrees of parallelism; their product is the number of processes.

    Raises:
        ValueError: a degree below 1, or degrees and schedule that contradict each other.
    """

    dp: int | None = None
    """Groups that train on different data (FSDP: parameters, gradients and optimiser state are
    divided among them). None: as many as the processes allow."""
    tp: int = 1
    """Devices among which each matrix is divided (Shoeybi et al. 2019)."""
    pp: int = 1
    """Groups of devices among which the layers are divided."""
    replicas: int = 1
    """Of the ``dp`` groups, how many hold a whole copy between them (HSDP): ``dp / replicas``
    groups share one copy. More copies, less traffic between far nodes."""
    sequence_parallel: bool = True
    """Within a tensor-parallel group, divide the residual stream along the sequence (Korthikanti
    et al. 2022, §4.2.2): less memory for the same traffic."""
    schedule: ScheduleName = "1f1b"
    """In which order the stages of a pipeline work on microbatches."""
    stages_per_rank: int = 1
    """Stages each pipeline rank holds; more than 1 with schedules that interleave, 2 with those
    shaped like a V."""
    recompute: Literal["none", "selective", "full"] = "none"
    """Activations computed again in the backward pass: ``full`` keeps a layer's input alone,
    ``selective`` also the results of matrix products and attention."""
    reshard: bool = True
    """Give up gathered parameters after each layer's forward pass and gather them again for its
    backward pass. A pipeline never does: it would gather for every microbatch."""
    offload: bool = False
    """Keep parameters and optimiser state in the host's memory."""

    def __post_init__(self) -> None:
        at_least(self, 1, "tp", "pp", "replicas", "stages_per_rank")
        if self.dp is not None:
            at_least(self, 1, "dp")
            if self.dp % self.replicas:
                raise ValueError(f"dp {self.dp} is not a multiple of replicas {self.replicas}")
        if self.pp > 1:
            wanted = 1 if self.schedule in _SINGLE else 2
            if self.schedule in _V_SHAPED and self.stages_per_rank != 2:
                raise ValueError(f"schedule {self.schedule} needs stages_per_rank 2")
            if wanted == 1 and self.stages_per_rank != 1:
                raise ValueError(f"schedule {self.schedule} needs stages_per_rank 1")
        elif self.stages_per_rank != 1:
            raise ValueError(f"stages_per_rank is {self.stages_per_rank} without a pipeline")

    @property
    def stages(self) -> int:
        return self.pp * self.stages_per_rank

    @property
    def shards(self) -> int:
        """Groups among which one copy of the parameters is divided."""
        return self.groups // self.replicas

    @property
    def groups(self) -> int:
        """``dp`` of a resolved layout."""
        assert self.dp is not None, "resolve the layout first"
        return self.dp

    @property
    def processes(self) -> int:
        """The world this resolved layout is for."""
        return self.groups * self.tp * self.pp

    @property
    def is_v_shaped(self) -> bool:
        return self.pp > 1 and self.schedule in _V_SHAPED

    def resolve(self, processes: int) -> "Layout":
        """This layout with ``dp`` filled in.

        Raises:
            UserError: the degrees do not multiply to ``processes``.
        """
        inner = self.tp * self.pp
        dp = self.dp if self.dp is not None else max(1, processes // inner)
        if dp * inner != processes:
            raise UserError(
                f"layout: dp {dp} × tp {self.tp} × pp {self.pp} = {dp * inner} processes, but "
                f"there are {processes}: change layout.dp, .tp or .pp, or start {dp * inner} with "
                "torchrun"
            )
        if dp % self.replicas:
            raise UserError(
                f"layout.replicas: {self.replicas} does not divide the {dp} data-parallel groups"
            )
        return dataclasses.replace(self, dp=dp)

    def stages_of(self, pp_rank: int) -> tuple[int, ...]:
        """Which stages a pipeline rank holds, in the order of the model."""
        if self.is_v_shaped:
            return (pp_rank, self.stages - 1 - pp_rank)
        return tuple(range(pp_rank, self.stages, self.pp))

    def layers_of(self, stage: int, layers: int) -> range:
        """Which layers a stage holds: equally many, the earlier stages one more if need be.

        The last stage also has the output head, so it is never one of those with one more.
        """
        each, more = divmod(layers, self.stages)
        start = stage * each + min(stage, more)
        return range(start, start + each + (stage < more))

    def check(
        self, shape: GPTConfig, sequence_length: int, batch_samples: int, microbatch_samples: int
    ) -> None:
        """Whether a resolved layout can hold this model and divide these batches.

        Args:
            sequence_length: tokens of a sample.
            batch_samples: of an optimiser step, over all processes.
            microbatch_samples: of one forward pass of one data-parallel group.

        Raises:
            UserError: naming the field that has to change.
        """
        for name, size in (("heads", shape.heads), ("vocabulary", shape.vocab_size)):
            if size % self.tp:
                raise UserError(f"layout.tp: {self.tp} does not divide the model's {name} {size}")
        if self.tp > 1 and self.sequence_parallel and sequence_length % self.tp:
            raise UserError(
                f"layout.tp: {self.tp} does not divide training.sequence_length {sequence_length}; "
                "change one, or set layout.sequence_parallel=false"
            )
        if self.stages > shape.layers:
            raise UserError(
                f"layout.pp: {self.stages} stages for {shape.layers} layers; use fewer stages"
            )
        if batch_samples % (self.groups * microbatch_samples):
            raise UserError(
                f"training.batch_tokens: {batch_samples} sequences can't be divided among "
                f"{self.groups} data-parallel groups in microbatches of {microbatch_samples}"
            )
        microbatches = batch_samples // self.groups // microbatch_samples
        fewest = self.stages if self.schedule in (*_SINGLE, "dual-pipe-v") else self.pp
        if self.pp > 1 and microbatches < fewest:
            raise UserError(
                f"training.batch_tokens: schedule {self.schedule} needs at least {fewest} "
                f"microbatches, not {microbatches}; use a larger batch or smaller microbatches"
            )
        if self.pp > 1 and self.stages_per_rank > 1 and microbatches % self.pp:
            raise UserError(
                f"training.batch_tokens: {microbatches} microbatches are not a multiple of "
                f"layout.pp {self.pp}, which schedule {self.schedule} needs"
            )
        if self.tp > 1 and shape.dropout:
            raise UserError(
                "model.dropout: with layout.tp above 1 dropout would differ between the devices "
                "of a group; set it to 0"
            )
