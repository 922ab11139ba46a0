"""A GPT placed on this process and its fellows, ready to be trained.

One process holds the plain model. Several hold parts of it: layers by pipeline stage, matrices by
tensor-parallel rank, everything by FSDP. Whoever trains sees the same few methods either way.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from hyperclova.model.gpt import GPT, Attend, GPTConfig
from hyperclova.parallel.attention import causal_attention
from hyperclova.parallel.device import autocast, products_outrun_attention
from hyperclova.parallel.float8 import convert
from hyperclova.parallel.layout import Layout
from hyperclova.parallel.mesh import Grid
from hyperclova.parallel.norms import clip_gradients
from hyperclova.parallel.part import Objective, Part, Recompute
from hyperclova.parallel.pipeline import Pipeline, tie_gradients
from hyperclova.parallel.shard import materialise, shard_data
from hyperclova.parallel.tensor import shard_tensors
from hyperclova.tokens.order import key

TIED = "token_embedding.weight"
_CPU = torch.device("cpu")


def _no_objective(*_: object) -> Tensor:
    raise AssertionError("placed without an objective: not to be trained")


@dataclass
class Placed:
    """This process's share of a model.

    Gradients accumulate over calls of :meth:`train`; :meth:`finish` makes them the whole batch's.
    """

    config: GPTConfig
    parts: list[Part]
    device: torch.device
    dtype: torch.dtype
    """Of matrix products."""
    microbatch: int
    """Rows of one forward pass."""
    grid: Grid | None = None
    pipeline: Pipeline | None = None
    sync_each: bool = True
    """Sum gradients over the data-parallel devices after each microbatch, not after the last:
    more traffic, memory for one layer's whole gradient at a time."""
    parameters: dict[str, nn.Parameter] = field(init=False)
    """By the name in the whole :class:`GPT`. Where one process holds both copies of the tied
    embedding, the first stage's."""
    copies: list[nn.Parameter] = field(init=False, default_factory=list)
    """Copies of the tied embedding on the last stage, counted and saved elsewhere or above."""

    def __post_init__(self) -> None:
        self.parameters = {}
        for part in self.parts:
            for name, parameter in part.model.named_parameters():
                if name == TIED and part.last and not part.first:
                    self.copies.append(parameter)
                self.parameters.setdefault(name, parameter)

    @property
    def model(self) -> GPT:
        """The whole model, where one process holds it."""
        assert self.grid is None
        return self.parts[0].model

    @property
    def data_rank(self) -> int:
        return self.grid.data_rank if self.grid else 0

    @property
    def data_groups(self) -> int:
        return self.grid.layout.groups if self.grid else 1

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Every parameter an optimiser here must step, copies of the tied embedding included."""
        yield from self.parameters.items()
        known = {id(parameter) for parameter in self.parameters.values()}
        for copy in self.copies:
            if id(copy) not in known:
                yield TIED, copy

    @property
    def portion(self) -> int:
        """Rows that one call of :meth:`summed_loss` takes: a pipeline's schedule is made for the
        microbatches of a training batch."""
        return self.microbatch * (self.pipeline.microbatches if self.pipeline else 1)

    def train(self, windows: Tensor, divisor: Tensor, seed: tuple[int, int] = (0, 0)) -> Tensor:
        """Forward and backward over this process's rows of a batch.

        Args:
            windows: ``(rows, time + 1)`` int64; rows are a multiple of :attr:`microbatch`.
            divisor: a scalar, the targets of the whole batch.
            seed: of dropout. Masks depend on it and on the microbatch's place in the whole batch,
                so data-parallel groups and accumulation draw the same; in a pipeline they
                depend on the stages a process holds as well.

        Returns:
            This process's share of the batch's mean loss: their sum over :meth:`sum` is it.
        """
        self._mode(True)
        divisors = divisor.expand(len(windows))
        inputs, targets = windows[:, :-1], windows[:, 1:]
        first = self.data_rank * len(windows) // self.microbatch
        if self.pipeline is not None:
            self._seed(*seed, first, self.parts[0].layers)
            return self.pipeline.train(inputs, targets, divisors)
        total = torch.zeros((), device=self.device)
        (part,) = self.parts
        for number, start in enumerate(range(0, len(windows), self.microbatch), first):
            rows = slice(start, start + self.microbatch)
            self._seed(*seed, number)
            if isinstance(part, FSDPModule):
                last = rows.stop >= len(windows)
                part.set_requires_gradient_sync(last or self.sync_each)
                part.set_is_last_backward(last)
            with self._precision():
                loss = part(inputs[rows], targets[rows], divisors[rows])
            loss.backward()
            total += loss.detach()
        return total

    @torch.no_grad()
    def summed_loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Nats of this process's rows, ``(rows, time)``, in float64; sum them with :meth:`sum`.

        Under a pipeline the rows must be as many as a training batch's.
        """
        self._mode(False)
        if self.pipeline is not None:
            nats = self.pipeline.evaluate(inputs, targets).double()
            self._reshard()
            return nats
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        (part,) = self.parts
        for start in range(0, len(inputs), self.microbatch):
            rows = slice(start, start + self.microbatch)
            with self._precision():
                total += part(inputs[rows], targets[rows]).double()
        self._reshard()
        return total

    def finish(self) -> None:
        """After the last :meth:`train` of a step: make the gradients of tied copies one."""
        if self.pipeline is None or self.grid is None:
            return
        first = self.parts[0].model.token_embedding.weight.grad if self.parts[0].first else None
        last = self.parts[-1].model.token_embedding.weight.grad if self.parts[-1].last else None
        tie_gradients(first, last, self.grid)

    def clip(self, largest: float) -> Tensor:
        """Clip the whole model's gradient to a norm of ``largest``; returns its norm before."""
        known = {id(copy) for copy in self.copies}
        here = [p for _, p in self.trained() if p.grad is not None]
        return clip_gradients(
            [parameter.grad for parameter in here if parameter.grad is not None],
            [0.0 if id(parameter) in known else 1.0 for parameter in here],
            largest,
            everywhere=self.grid is not None,
        )

    def sum(self, value: Tensor) -> Tensor:
        """Add up what the data-parallel groups and the pipeline's stages have; in place."""
        if self.grid is not None:
            dist.all_reduce(value, group=self.grid.data_group)
            if self.pipeline is not None:
                dist.all_reduce(value, group=self.grid.pipeline_group)
        return value

    def sum_over_data(self, value: Tensor) -> Tensor:
        """Add up what the data-parallel groups have; in place."""
        if self.grid is not None:
            dist.all_reduce(value, group=self.grid.data_group)
        return value

    def _seed(self, *parts: int | str) -> None:
        if self.config.dropout:
            torch.manual_seed(key(*parts) >> 1)

    def _precision(self) -> AbstractContextManager[object]:
        # FSDP casts parameters itself; autocast is for the plain model.
        return autocast(self.device, self.dtype if self.grid is None else torch.float32)

    def _mode(self, train: bool) -> None:
        for part in self.parts:
            part.train(train)

    def _reshard(self) -> None:
        for part in self.parts:
            if isinstance(part, FSDPModule):
                part.reshard()


def place(
    config: GPTConfig,
    seed: int,
    layout: Layout,
    device: torch.device,
    dtype: torch.dtype,
    objective: Objective,
    sequence_length: int,
    microbatch: int,
    batch: int,
    compile: bool = False,
    draw: bool = True,
    documents: int | None = None,
    float8: bool = False,
) -> Placed:
    """Build this process's share of a model, with its first weights.

    Args:
        layout: resolved and checked.
        dtype: of matrix products; parameters are float32.
        objective: see :class:`Part`; called with the group of tensor-parallel devices.
        microbatch: rows of a forward pass.
        batch: rows of an optimiser step, over all processes.
        draw: False leaves everything on the meta device, to be measured.
        documents: see :class:`Part`.
        float8: 8-bit products (:mod:`hyperclova.parallel.float8`); not with tensor parallelism.
    """
    # It draws no dropout, and its loops are not for a compiler.
    suits = not config.dropout and not compile and products_outrun_attention(device, dtype)
    attend = causal_attention if suits else None
    if layout.processes == 1:
        with torch.device("cpu" if draw else "meta"):
            model = GPT(config, seed)
        if draw:
            model.to(device)
        if float8:
            convert(model)
        placed = alone(
            model, device, dtype, objective, microbatch, layout.recompute, documents, attend
        )
        if compile:
            _compile(placed.parts[0])
        return placed
    grid = Grid.build(layout, device)
    parts = []
    for stage in layout.stages_of(grid.pipeline_rank):
        first, last = stage == 0, stage == layout.stages - 1
        model = stage_of(config, layout, stage)
        if layout.tp > 1:
            shard_tensors(model, grid.tensor, layout.sequence_parallel)
        if float8:
            convert(model)
        part = Part(
            model,
            first,
            last,
            objective,
            layout.recompute,
            grid.tensor if layout.tp > 1 else None,
            layout.sequence_parallel,
            documents,
            attend,
        )
        if compile:
            _compile(part)
        reshard = layout.reshard and layout.pp == 1
        shard_data(part, grid.shards, dtype, reshard, layout.offload)
        if draw:
            home = torch.device("cpu") if layout.offload else device
            materialise(part, home, seed)
        parts.append(part)
    pipeline = None
    if layout.pp > 1:
        along = layout.tp if layout.tp > 1 and layout.sequence_parallel else 1
        shape = (microbatch, sequence_length // along, config.width)
        rows = (microbatch, sequence_length)
        microbatches = batch // layout.groups // microbatch
        pipeline = Pipeline(parts, grid, microbatches, shape, rows, dtype, device)
    return Placed(
        config, parts, device, dtype, microbatch, grid, pipeline, sync_each=layout.reshard
    )


def alone(
    model: GPT,
    device: torch.device = _CPU,
    dtype: torch.dtype = torch.float32,
    objective: Objective = _no_objective,
    microbatch: int = 1,
    recompute: Recompute = "none",
    documents: int | None = None,
    attend: Attend | None = None,
) -> Placed:
    """A model that this process has to itself."""
    part = Part(model, True, True, objective, recompute, documents=documents, attend=attend)
    return Placed(model.config, [part], device, dtype, microbatch)


def stage_of(config: GPTConfig, layout: Layout, stage: int) -> GPT:
    """A GPT on the meta device without the layers and ends that other stages hold."""
    with torch.device("meta"):
        model = GPT(config)
    kept = layout.layers_of(stage, config.layers)
    for layer in range(config.layers):
        if layer not in kept:
            del model.blocks[str(layer)]
    first, last = stage == 0, stage == layout.stages - 1
    missing = [
        *([] if first else ["position_embedding"]),
        *([] if last else ["final_norm"]),
        *([] if first or last else ["token_embedding"]),
    ]
    for name in missing:
        setattr(model, name, None)
    return model


def _compile(part: Part) -> None:
    """Compile each layer by itself: one compilation serves all of them."""
    for block in part.model.blocks.values():
        block.compile()
