"""What a pretraining run is, as typed data. Batch sizes and durations are in tokens.

GPT-3's published values (Brown et al. 2020, Appendix B) stand in where the HyperCLOVA paper is
silent: betas 0.9 / 0.95, epsilon 1e-8, weight decay 0.1, clipping at 1.0.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hyperclova.configuration import at_least
from hyperclova.errors import UserError
from hyperclova.model.shape import GPTConfig
from hyperclova.model.sizes import size_named
from hyperclova.parallel.layout import Layout
from hyperclova.pretraining.ramp import Steps
from hyperclova.pretraining.recipe import RecipeSection


@dataclass(frozen=True)
class ModelSection:
    """The decoder's shape: one of the paper's sizes by name, or layers, width and heads."""

    size: str | None = None
    layers: int | None = None
    width: int | None = None
    heads: int | None = None
    context_length: int = 2048
    dropout: float = 0.0

    def __post_init__(self) -> None:
        own = (self.layers, self.width, self.heads)
        if self.size is not None and any(value is not None for value in own):
            raise ValueError("give either size or layers, width and heads")
        if self.size is None and any(value is None for value in own):
            raise ValueError("give size, or all of layers, width and heads")

    def shape(self, vocabulary_size: int) -> GPTConfig:
        """The model's configuration for a tokenizer of this size."""
        if self.size is not None:
            row = size_named(self.size)
            layers, width, heads = row.layers, row.width, row.heads
        else:
            layers, width, heads = self.layers or 0, self.width or 0, self.heads or 0
        return GPTConfig(
            vocabulary_size, self.context_length, layers, width, heads, dropout=self.dropout
        )


@dataclass(frozen=True)
class DataSection:
    """Token shards (the directory that ``hyperclova tokenize`` wrote) and their tokenizer."""

    directory: Path
    tokenizer: Path
    weights: dict[str, float] = field(default_factory=dict)
    """Share of each source among the samples; empty: as the sources are large."""


@dataclass(frozen=True)
class OptimizerSection:
    """AdamW or Muon, with linear warm-up and a cosine down to a fraction of the peak."""

    name: Literal["adamw", "muon"] = "adamw"
    """``adamw`` is the paper's; ``muon`` orthogonalises the updates of the blocks' matrices and
    leaves the rest to AdamW."""
    learning_rate: float | None = None
    """Peak. None takes the paper's (Table 2) for a model given by size."""
    warmup_tokens: int = 0
    final_ratio: float = 0.1
    """Last learning rate over the peak (the paper: 1/10)."""
    beta1: float = 0.9
    beta2: float = 0.95
    momentum: float = 0.95
    """Of Muon's matrices, in place of beta1."""
    epsilon: float = 1e-8
    weight_decay: float = 0.1
    """On matrices and embeddings only."""
    clip: float = 1.0
    """Largest norm of the whole gradient."""

    def __post_init__(self) -> None:
        for name in ("beta1", "beta2", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be from 0 to below 1")


@dataclass(frozen=True)
class TrainingSection:
    """How long, in what portions, and in what precision."""

    tokens: int
    batch_tokens: int
    """Tokens per optimiser step, over all microbatches."""
    microbatch_tokens: int
    """Tokens per forward pass of a data-parallel group: bounds memory, does not change the
    result."""
    sequence_length: int
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        at_least(self, 1, "tokens", "batch_tokens", "microbatch_tokens", "sequence_length")
        if self.microbatch_tokens % self.sequence_length:
            raise ValueError(
                f"microbatch_tokens {self.microbatch_tokens} is not a multiple of "
                f"sequence_length {self.sequence_length}"
            )
        if self.batch_tokens % self.microbatch_tokens:
            raise ValueError(
                f"batch_tokens {self.batch_tokens} is not a multiple of "
                f"microbatch_tokens {self.microbatch_tokens}"
            )

    @property
    def steps(self) -> int:
        """Without ramps; see :attr:`PretrainingConfig.steps`."""
        return max(1, self.tokens // self.batch_tokens)

    @property
    def batch_samples(self) -> int:
        return self.batch_tokens // self.sequence_length

    @property
    def microbatch_samples(self) -> int:
        return self.microbatch_tokens // self.sequence_length


@dataclass(frozen=True)
class CheckpointSection:
    every_steps: int = 200
    keep: int = 2
    """How many of the newest to keep."""
    permanent_every_steps: int = 0
    """Besides, keep the checkpoints of these steps' multiples for good; 0: none. A multiple of
    ``every_steps``."""

    def __post_init__(self) -> None:
        at_least(self, 1, "every_steps", "keep")
        if self.permanent_every_steps % self.every_steps:
            raise ValueError(
                f"permanent_every_steps {self.permanent_every_steps} is not a multiple of "
                f"every_steps {self.every_steps}"
            )


@dataclass(frozen=True)
class EvaluationSection:
    every_steps: int = 200
    """After a checkpoint of the same step, never before it. 0: only at the end."""
    tokens: int = 65_536
    """Of the held-out shards; 0 turns evaluation off."""


@dataclass(frozen=True)
class SamplesSection:
    """Continuations written at intervals, to read how the model is coming along."""

    every_steps: int = 0
    prompts: tuple[str, ...] = ("옛날 옛적에", "오늘 날씨가", "이 영화는")
    max_tokens: int = 40
    temperature: float = 0.7


@dataclass(frozen=True)
class GuardSection:
    """Which steps are not applied. One whose loss or gradient is not finite never is."""

    spikes: float = 0.0
    """Skip also a step whose loss or gradient norm lies so many standard deviations above the
    mean; 0: none (OLMo-core uses 6)."""
    window: int = 128
    """Steps that mean and deviation are taken over."""
    patience: int = 10
    """So many skipped steps in a row end the run."""

    def __post_init__(self) -> None:
        if self.spikes < 0:
            raise ValueError(f"spikes is {self.spikes}; it must not be negative")
        at_least(self, 4, "window")
        at_least(self, 1, "patience")


@dataclass(frozen=True)
class WatchdogSection:
    """In runs of several processes: when one hangs or is slow."""

    hang_seconds: float = 600.0
    """A run that has not gone on for so long is ended with status 76; 0: never."""
    slow_seconds: float = 3600.0
    """The same for what takes longer than a step: the first one, saving, evaluating."""
    straggler_steps: int = 100
    """Compare the processes' speeds every so many steps; 0: never."""

    def __post_init__(self) -> None:
        for name in ("hang_seconds", "straggler_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must not be negative")
        if self.slow_seconds < self.hang_seconds:
            raise ValueError(
                f"slow_seconds {self.slow_seconds} is less than hang_seconds {self.hang_seconds}"
            )


@dataclass(frozen=True)
class LoggingSection:
    every_steps: int = 10
    tensorboard: bool = False


@dataclass(frozen=True)
class PretrainingConfig:
    """A whole run. ``directory`` gets configuration, metrics, checkpoints and the model."""

    directory: Path
    model: ModelSection
    data: DataSection
    optimizer: OptimizerSection
    training: TrainingSection
    layout: Layout = field(default_factory=Layout)
    """How the model lies over the processes that ``torchrun`` starts."""
    recipe: RecipeSection = field(default_factory=RecipeSection)
    checkpoint: CheckpointSection = CheckpointSection()
    guard: GuardSection = GuardSection()
    watchdog: WatchdogSection = WatchdogSection()
    evaluation: EvaluationSection = EvaluationSection()
    samples: SamplesSection = SamplesSection()
    logging: LoggingSection = LoggingSection()

    def __post_init__(self) -> None:
        if self.training.sequence_length > self.model.context_length:
            raise ValueError(
                f"training.sequence_length {self.training.sequence_length} is longer than "
                f"model.context_length {self.model.context_length}"
            )
        training = self.training
        self.recipe.check(
            training.batch_tokens, training.microbatch_tokens, training.sequence_length
        )

    def shape(self, vocabulary_size: int) -> GPTConfig:
        """The model's shape for a tokenizer of this size, with what the recipe adds to it."""
        return dataclasses.replace(
            self.model.shape(vocabulary_size),
            query_key_norm=self.recipe.query_key_norm,
            base=self.recipe.base,
        )

    @property
    def steps(self) -> Steps:
        """The run's steps, ramps included."""
        training, recipe = self.training, self.recipe
        return Steps(
            training.tokens,
            training.batch_tokens,
            training.sequence_length,
            recipe.batch_ramp,
            recipe.sequence_ramp,
        )

    @property
    def peak_learning_rate(self) -> float:
        """Raises UserError if neither the configuration nor Table 2 says."""
        if self.optimizer.learning_rate is not None:
            return self.optimizer.learning_rate
        if self.model.size is not None:
            return size_named(self.model.size).learning_rate
        raise UserError("optimizer.learning_rate is missing (only model.size implies one)")
