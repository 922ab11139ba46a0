"""What a ladder of sizes is: the ordinary sections of a pretraining run, and what differs.

Every size runs at a constant learning rate (after warm-up). At marks that double, a copy of it
branches off and is cooled down: the finished run of that many tokens. So one long run gives
finished runs of several lengths, at a fraction of their cost, and no point is taken from the
middle of a cosine that was made for a longer run. Source: Hägele et al. 2024, "Scaling laws and
compute-optimal training beyond fixed training durations" (arXiv:2405.18392).
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from hyperclova.configuration import at_least
from hyperclova.model import GPTConfig, cost
from hyperclova.pretraining.config import (
    CheckpointSection,
    DataSection,
    EvaluationSection,
    LoggingSection,
    ModelSection,
    OptimizerSection,
    PretrainingConfig,
    TrainingSection,
)


@dataclass(frozen=True)
class Size:
    """One rung: a shape, and how far it is trained."""

    layers: int
    width: int
    heads: int
    tokens: int | None = None
    """At the constant rate; None: ``training.tokens``."""

    @property
    def name(self) -> str:
        return f"{self.layers}x{self.width}"


@dataclass(frozen=True)
class RateSection:
    """Rate of a width: ``optimizer.learning_rate`` times (``reference_width`` / width)^``power``.

    That is the peak: what a run keeps to between its warm-up and its cooldowns.
    """

    reference_width: int
    power: float

    def __post_init__(self) -> None:
        at_least(self, 1, "reference_width")


@dataclass(frozen=True)
class MarksSection:
    """Where runs branch off to be cooled down: ``first_tokens``, twice that, and so on."""

    first_tokens: int
    cooldown: float = 0.2
    """Tokens of a cooldown over the tokens before it."""

    def __post_init__(self) -> None:
        at_least(self, 1, "first_tokens")
        if not 0 < self.cooldown <= 1:
            raise ValueError(f"cooldown is {self.cooldown}; it must be above 0 and at most 1")


@dataclass(frozen=True)
class MeasureSection:
    """What text the loss is measured on, how much of it, and how often."""

    source: str = "wiki"
    """Source of the held-out shards; the paper's is an encyclopedia."""
    tokens: int = 65_536
    between_marks: int = 4
    """Evaluations from one mark to the next, that at the mark included."""

    def __post_init__(self) -> None:
        at_least(self, 1, "tokens", "between_marks")


@dataclass(frozen=True)
class LadderConfig:
    """A whole ladder. ``optimizer`` holds for the reference width; its ``final_ratio`` is where
    cooldowns end. ``training.tokens`` is how far a size runs that doesn't say otherwise."""

    directory: Path
    data: DataSection
    optimizer: OptimizerSection
    rate: RateSection
    training: TrainingSection
    marks: MarksSection
    sizes: tuple[Size, ...]
    measure: MeasureSection = field(default_factory=MeasureSection)
    checkpoint: CheckpointSection = field(default_factory=CheckpointSection)

    def __post_init__(self) -> None:
        if self.optimizer.learning_rate is None:
            raise ValueError("optimizer.learning_rate is missing: the peak at the reference width")
        names = [size.name for size in self.sizes]
        if len(set(names)) < max(2, len(names)):
            raise ValueError("sizes: a ladder needs two or more, all different in layers or width")
        batch = self.training.batch_tokens
        if self.marks.first_tokens % batch:
            raise ValueError(
                f"marks.first_tokens {self.marks.first_tokens} is not a multiple of "
                f"training.batch_tokens {batch}"
            )
        if self.cooldown_tokens(self.marks.first_tokens) < batch:
            raise ValueError("marks: the first cooldown is shorter than one batch")
        for size in self.sizes:
            if not self.marks_of(size):
                raise ValueError(f"sizes: {size.name} ends before marks.first_tokens")

    def marks_of(self, size: Size) -> list[int]:
        """Tokens at which this size branches off, ascending; it ends with the last."""
        end = size.tokens or self.training.tokens
        marks = [self.marks.first_tokens]
        while 2 * marks[-1] <= end:
            marks.append(2 * marks[-1])
        return [mark for mark in marks if mark <= end]

    def cooldown_tokens(self, mark: int) -> int:
        """Of the branch at ``mark``, in whole batches."""
        batch = self.training.batch_tokens
        return round(self.marks.cooldown * mark / batch) * batch

    def learning_rate(self, size: Size) -> float:
        assert self.optimizer.learning_rate is not None
        scale = (self.rate.reference_width / size.width) ** self.rate.power
        return float(self.optimizer.learning_rate * scale)

    def shape(self, size: Size, vocabulary_size: int) -> GPTConfig:
        return self._model(size).shape(vocabulary_size)

    def _model(self, size: Size) -> ModelSection:
        return ModelSection(
            layers=size.layers,
            width=size.width,
            heads=size.heads,
            context_length=self.training.sequence_length,
        )


@dataclass(frozen=True)
class Stage:
    """One call of ``pretrain``: a size up to a mark, or the cooldown that branches off there."""

    size: Size
    mark: int
    pretraining: PretrainingConfig
    branch_of: Path | None = None
    """Directory of the run whose checkpoints a cooldown begins with."""

    @property
    def name(self) -> str:
        if self.branch_of is None:
            return f"{self.size.name} to {self.mark:,} tokens"
        return f"{self.size.name} cooled down from {self.mark:,} tokens"


CONSTANT, COOLED = "constant", "cooled"


def run_directory(ladder: Path, size: str, mark: int | None) -> Path:
    """Of the run at the constant rate, or of the cooldown from ``mark``."""
    return ladder / size / (CONSTANT if mark is None else f"{COOLED}-{mark}")


def data_directory(ladder: Path) -> Path:
    """The ladder's own view of the token shards: all to train on, one source held out."""
    return ladder / "data"


def stages(config: LadderConfig) -> list[Stage]:
    """All of a ladder, smallest size first, in the order in which it has to run."""
    result = []
    for size in sorted(config.sizes, key=lambda size: non_embedding(config.shape(size, 1))):
        constant = run_directory(config.directory, size.name, None)
        earlier = 0
        for mark in config.marks_of(size):
            steps = (mark - earlier) // config.training.batch_tokens
            every = max(1, steps // config.measure.between_marks)
            result += [
                Stage(size, mark, _constant(config, size, constant, mark, every)),
                Stage(size, mark, _cooled(config, size, mark), branch_of=constant),
            ]
            earlier = mark
    return result


def _constant(
    config: LadderConfig, size: Size, directory: Path, tokens: int, every: int
) -> PretrainingConfig:
    optimizer = replace(config.optimizer, learning_rate=config.learning_rate(size), final_ratio=1.0)
    return _pretraining(config, size, directory, optimizer, tokens, every)


def _cooled(config: LadderConfig, size: Size, mark: int) -> PretrainingConfig:
    # The branch starts at the mark, where its warm-up ends: all that follows is the way down.
    optimizer = replace(
        config.optimizer, learning_rate=config.learning_rate(size), warmup_tokens=mark
    )
    directory = run_directory(config.directory, size.name, mark)
    tokens = mark + config.cooldown_tokens(mark)
    return _pretraining(config, size, directory, optimizer, tokens, every=0)


def _pretraining(
    config: LadderConfig,
    size: Size,
    directory: Path,
    optimizer: OptimizerSection,
    tokens: int,
    every: int,
) -> PretrainingConfig:
    return PretrainingConfig(
        directory=directory,
        model=config._model(size),
        data=replace(config.data, directory=data_directory(config.directory)),
        optimizer=optimizer,
        training=replace(config.training, tokens=tokens),
        # Two, so that a run killed before its last evaluation has one to go back to.
        checkpoint=replace(config.checkpoint, keep=max(2, config.checkpoint.keep)),
        evaluation=EvaluationSection(every_steps=every, tokens=config.measure.tokens),
        logging=LoggingSection(every_steps=1),
    )


def non_embedding(shape: GPTConfig) -> int:
    """Parameters of the blocks and the last LayerNorm: all but token and position embedding.

    The output head is the token embedding and doesn't count either, as in Kaplan et al. 2020.
    """
    return cost.parameters(shape) - (shape.vocab_size + shape.context_length) * shape.width
