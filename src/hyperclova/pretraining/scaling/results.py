"""What a fit found: laws, intervals, predictions; and how it is written down."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from hyperclova import configuration
from hyperclova.durable import write_json
from hyperclova.errors import UserError
from hyperclova.pretraining.scaling.laws import JointLaw, PowerLaw
from hyperclova.pretraining.scaling.points import Ladder

FILE = "scaling.json"

Count = Literal["non_embedding_parameters", "parameters"]
COUNTS: tuple[Count, ...] = ("non_embedding_parameters", "parameters")
Law = Literal["joint", "parameters", "compute", "none"]
"""``none``: the loss of the largest size fitted, after the same tokens; laws are to beat it."""
Measure = Literal["loss", "training_loss"]
MEASURES: tuple[Measure, ...] = ("loss", "training_loss")

LEVEL = 0.9
"""Of all intervals."""
Interval = tuple[float, float]


@dataclass(frozen=True)
class JointFit:
    """The joint law over one way of counting parameters."""

    count: Count
    law: JointLaw
    intervals: dict[str, Interval]
    """Of the law's five numbers, and of ``optimal_exponent``."""
    optimal_exponent: float
    """``beta / (alpha + beta)``: the best number of parameters grows as compute to this power."""
    root_mean_square: float
    """Of the differences of log losses on the runs it was fitted to."""
    runs: int


@dataclass(frozen=True)
class ParameterFit:
    """Loss over parameters after the same number of tokens."""

    count: Count
    tokens: int
    law: PowerLaw
    exponent_interval: Interval


@dataclass(frozen=True)
class ComputeFit:
    """Loss over compute, along the frontier of all sizes fitted."""

    finished: bool
    """From finished runs; else from those at the constant learning rate."""
    law: PowerLaw
    flops: tuple[float, ...]
    loss: tuple[float, ...]
    """The frontier."""
    sizes: tuple[str, ...]
    """Which size is the best there."""
    exponent_range: Interval | None = None
    """Smallest and largest with one size left out; None if too few sizes remain."""


@dataclass(frozen=True)
class Prediction:
    """A run of a size that no law has seen, against a law."""

    law: Law
    size: str
    tokens: int
    flops: int
    finished: bool
    measured: float
    predicted: float
    error: float
    """Predicted over measured, less one."""
    count: Count | None = None
    """None for the law in compute."""
    interval: Interval | None = None


@dataclass(frozen=True)
class LossFits:
    """All that was fitted to one measure of loss. What could not be fitted is absent."""

    measure: Measure
    joint: tuple[JointFit, ...]
    parameters: tuple[ParameterFit, ...]
    compute: tuple[ComputeFit, ...]
    predictions: tuple[Prediction, ...]
    missing: tuple[str, ...]
    """Why what is absent is absent."""


@dataclass(frozen=True)
class Fit:
    """The laws of a ladder, and the ladder."""

    ladder: Ladder
    fitted_sizes: tuple[str, ...]
    held_out_sizes: tuple[str, ...]
    losses: tuple[LossFits, ...]
    bootstrap: int
    level: float
    """Of all intervals."""

    def of(self, measure: Measure) -> LossFits:
        return next(fits for fits in self.losses if fits.measure == measure)

    def save(self, path: Path) -> None:
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> "Fit":
        """Raises UserError if the file is absent or not what :meth:`save` wrote."""
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; run 'hyperclova scaling fit' first") from None
        except ValueError as error:
            raise UserError(f"{path}: not valid JSON: {error}") from None
        return configuration.build(cls, _without_nulls(tree), str(path))


def _without_nulls(value: Any) -> Any:
    """What is null in JSON is the default here."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
