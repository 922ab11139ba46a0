"""Which parameters one device holds, counted exactly as :mod:`hyperclova.parallel` divides them."""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from hyperclova.model.shape import GPTConfig
from hyperclova.parallel.layout import Layout


@dataclass(frozen=True)
class Parameter:
    """A parameter of the whole model."""

    name: str
    shape: tuple[int, ...]
    divided: int | None = None
    """The dimension that tensor parallelism divides."""

    def in_tensor_group(self, tp: int) -> tuple[int, ...]:
        """Its shape on one device of a tensor-parallel group."""
        return tuple(
            size // tp if dimension == self.divided else size
            for dimension, size in enumerate(self.shape)
        )

    def elements(self, layout: Layout) -> int:
        """On the device with the most: FSDP divides rows, the first devices get one more."""
        rows, *rest = self.in_tensor_group(layout.tp)
        return math.ceil(rows / layout.shards) * math.prod(rest)


def block_parameters(shape: GPTConfig, layer: int) -> Iterator[Parameter]:
    """Of one layer, in the order of the model."""
    d, prefix = shape.width, f"blocks.{layer}."
    yield Parameter(prefix + "attention_norm.weight", (d,))
    yield Parameter(prefix + "attention_norm.bias", (d,))
    yield Parameter(prefix + "attention.query_key_value.weight", (3 * d, d), 0)
    yield Parameter(prefix + "attention.query_key_value.bias", (3 * d,), 0)
    if shape.query_key_norm:
        yield Parameter(prefix + "attention.query_norm.weight", (shape.head_width,))
        yield Parameter(prefix + "attention.key_norm.weight", (shape.head_width,))
    yield Parameter(prefix + "attention.output.weight", (d, d), 1)
    yield Parameter(prefix + "attention.output.bias", (d,))
    yield Parameter(prefix + "mlp_norm.weight", (d,))
    yield Parameter(prefix + "mlp_norm.bias", (d,))
    yield Parameter(prefix + "mlp.expand.weight", (4 * d, d), 0)
    yield Parameter(prefix + "mlp.expand.bias", (4 * d,), 0)
    yield Parameter(prefix + "mlp.contract.weight", (d, 4 * d), 1)
    yield Parameter(prefix + "mlp.contract.bias", (d,))


def end_parameters(shape: GPTConfig, first: bool, last: bool) -> Iterator[Parameter]:
    """Of the stages at the ends; the embedding is tied, so a stage that is both has it once."""
    if first or last:
        yield Parameter("token_embedding.weight", (shape.vocab_size, shape.width), 0)
    if first:
        yield Parameter("position_embedding.weight", (shape.context_length, shape.width))
    if last:
        yield Parameter("final_norm.weight", (shape.width,))
        yield Parameter("final_norm.bias", (shape.width,))


@dataclass(frozen=True)
class Held:
    """Elements on one device of a pipeline rank."""

    sharded: int
    """What it keeps: its shard of every parameter."""
    blocks: int
    """All its layers, gathered within the FSDP group but still divided by tensor parallelism."""
    largest_block: int
    """One such layer."""
    ends: int
    """Embeddings and final norm, gathered likewise."""


@functools.lru_cache(maxsize=4096)
def held(shape: GPTConfig, layout: Layout, pp_rank: int) -> Held:
    """What a device of pipeline rank ``pp_rank`` of a resolved layout holds."""
    sharded = blocks = ends = 0
    one = list(block_parameters(shape, 0))
    block = sum(math.prod(each.in_tensor_group(layout.tp)) for each in one)
    block_shard = sum(each.elements(layout) for each in one)
    for stage in layout.stages_of(pp_rank):
        layers = len(layout.layers_of(stage, shape.layers))
        blocks += layers * block
        sharded += layers * block_shard
        for each in end_parameters(shape, stage == 0, stage == layout.stages - 1):
            ends += math.prod(each.in_tensor_group(layout.tp))
            sharded += each.elements(layout)
    return Held(sharded, blocks, block, ends)
