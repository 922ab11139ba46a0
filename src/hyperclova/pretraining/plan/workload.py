"""What is to be trained, apart from where."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from hyperclova import configuration
from hyperclova.errors import UserError
from hyperclova.model.shape import GPTConfig
from hyperclova.model.sizes import size_named
from hyperclova.parallel.layout import Layout
from hyperclova.pretraining.config import PretrainingConfig

VOCABULARY = 51_200
"""Of the shipped configurations; the paper does not say how many."""


@dataclass(frozen=True)
class Workload:
    """A model and its batches."""

    name: str
    shape: GPTConfig
    sequence_length: int = 2048
    batch_tokens: int = 2_097_152
    """Of one optimiser step, over all devices."""
    tokens: int = 150_000_000_000
    compiled: bool = True

    def __post_init__(self) -> None:
        if self.batch_tokens % self.sequence_length:
            raise UserError(
                f"a batch of {self.batch_tokens} tokens is not a multiple of the sequence length "
                f"{self.sequence_length}: change --batch-tokens or --sequence-length"
            )

    @property
    def batch_samples(self) -> int:
        return self.batch_tokens // self.sequence_length


@dataclass(frozen=True)
class Setting:
    """A resolved layout and how large its microbatches are."""

    layout: Layout
    microbatch_samples: int

    def microbatches(self, work: Workload) -> int:
        """Of one data-parallel group in one step."""
        return work.batch_samples // (self.layout.groups * self.microbatch_samples)


def workload_named(model: str, vocabulary: int | None = None) -> tuple[Workload, Setting | None]:
    """What a size of Table 2 by name, or a pretraining TOML by path, asks for.

    Returns:
        The workload, and of a TOML the setting it has, its layout not yet resolved.

    Raises:
        UserError: neither a size nor a file, or the file is wrong.
    """
    if not model.endswith(".toml"):
        size = size_named(model)
        shape = GPTConfig(vocabulary or VOCABULARY, 2048, size.layers, size.width, size.heads)
        return Workload(model, shape), None
    config = configuration.load(PretrainingConfig, Path(model))
    training = config.training
    shape = config.shape(vocabulary or _vocabulary(config.data.tokenizer))
    work = Workload(
        config.model.size or Path(model).stem,
        shape,
        training.sequence_length,
        training.batch_tokens,
        training.tokens,
        training.compile,
    )
    return work, Setting(config.layout, training.microbatch_samples)


def _vocabulary(tokenizer: Path) -> int:
    """Of the tokenizer if it is there already."""
    try:
        text = (tokenizer / "tokenizer.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return VOCABULARY
    tree = json.loads(text)
    added = {token["id"] for token in tree.get("added_tokens", [])}
    return len(set(tree["model"]["vocab"].values()) | added)


def changed(
    work: Workload,
    tokens: int | None = None,
    batch_tokens: int | None = None,
    sequence_length: int | None = None,
) -> Workload:
    """The workload with what is given in place of its own."""
    length = sequence_length or work.sequence_length
    context = max(work.shape.context_length, length)
    return dataclasses.replace(
        work,
        shape=dataclasses.replace(work.shape, context_length=context),
        tokens=tokens or work.tokens,
        batch_tokens=batch_tokens or work.batch_tokens,
        sequence_length=length,
    )
