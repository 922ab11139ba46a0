"""The laws of a ladder, how sure they are, and what they say of the sizes left out.

**Uncertainty.** The intervals of the joint law and of the law in parameters come from a residual
bootstrap: the fit's own residuals, made as wide as the unknowns fitted demand, are drawn again
and added to the fitted losses, and the law is fitted anew. They cover how the finished runs
scatter about a law of this form. They do not cover another seed, another held-out text, badly
chosen learning rates, or another form of law. How sure the law in compute is, see
:mod:`~hyperclova.pretraining.scaling.frontier`.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from hyperclova.errors import UserError
from hyperclova.pretraining.scaling.frontier import fit_frontier, last_points
from hyperclova.pretraining.scaling.laws import (
    Array,
    JointLaw,
    fit_joint_law,
    fit_power_law,
    refit_joint_law,
)
from hyperclova.pretraining.scaling.points import Ladder, Point
from hyperclova.pretraining.scaling.results import (
    COUNTS,
    MEASURES,
    ComputeFit,
    Count,
    Fit,
    Interval,
    JointFit,
    Law,
    LossFits,
    Measure,
    ParameterFit,
    Prediction,
)

LEVEL = 0.9
"""Of all intervals."""


def fit(ladder: Ladder, hold_out: int = 1, bootstrap: int = 1000, seed: int = 0) -> Fit:
    """Fit every law to all sizes but the largest ``hold_out``, and predict these.

    Raises:
        UserError: fewer than two sizes would be left.
    """
    sizes = ladder.sizes
    fitted = sizes[: len(sizes) - hold_out]
    if len(fitted) < 2:
        raise UserError(
            f"{len(sizes)} sizes are measured and {hold_out} held out; two or more must be left"
        )
    random = np.random.default_rng(seed)
    losses = tuple(_fit_loss(ladder, measure, fitted, bootstrap, random) for measure in MEASURES)
    return Fit(ladder, tuple(fitted), tuple(sizes[len(fitted) :]), losses, bootstrap, LEVEL)


def _fit_loss(
    ladder: Ladder,
    measure: Measure,
    fitted: Sequence[str],
    bootstrap: int,
    random: np.random.Generator,
) -> LossFits:
    inside = [point for point in ladder.points if point.size in fitted]
    outside = [point for point in ladder.points if point.size not in fitted]
    joint: list[JointFit] = []
    by_parameters: list[ParameterFit] = []
    predictions: list[Prediction] = []
    missing: list[str] = []

    def attempt(what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except ValueError as reason:
            missing.append(f"{what}: {reason}")

    for count in COUNTS:

        def fit_joint(count: Count = count) -> None:
            found, predicted = _joint(inside, outside, measure, count, bootstrap, random)
            joint.append(found)
            predictions.extend(predicted)

        def fit_parameters(count: Count = count) -> None:
            found, predicted = _parameters(inside, outside, measure, count, bootstrap, random)
            by_parameters.append(found)
            predictions.extend(predicted)

        attempt(f"joint law, {count}", fit_joint)
        attempt(f"law in parameters, {count}", fit_parameters)
    compute: list[ComputeFit] = []
    for finished in (True, False):

        def fit_compute(finished: bool = finished) -> None:
            found = fit_frontier(inside, measure, finished)
            compute.append(found)
            predictions.extend(
                _prediction("compute", None, measure, point, found.law(point.flops), None)
                for point in last_points(outside, finished)
            )

        runs = "finished runs" if finished else "constant learning rate"
        attempt(f"law in compute, {runs}", fit_compute)
    predictions += _without_law(inside, outside, measure)
    return LossFits(
        measure,
        tuple(joint),
        tuple(by_parameters),
        tuple(compute),
        tuple(predictions),
        tuple(missing),
    )


def _columns(points: Sequence[Point], measure: Measure, count: Count) -> tuple[Array, Array, Array]:
    return (
        np.array([getattr(point, count) for point in points], np.float64),
        np.array([point.tokens for point in points], np.float64),
        np.array([getattr(point, measure) for point in points], np.float64),
    )


def _joint(
    inside: Sequence[Point],
    outside: Sequence[Point],
    measure: Measure,
    count: Count,
    bootstrap: int,
    random: np.random.Generator,
) -> tuple[JointFit, list[Prediction]]:
    finished = [point for point in inside if point.finished]
    parameters, tokens, loss = _columns(finished, measure, count)
    law = fit_joint_law(parameters, tokens, loss)
    fitted = np.log(law(parameters, tokens))
    residuals = np.log(loss) - fitted
    drawn = _drawn(residuals, 5, (bootstrap, len(loss)), random)
    again = refit_joint_law(law, parameters, tokens, np.exp(fitted + drawn))
    intervals = {name: _interval([getattr(other, name) for other in again]) for name in asdict(law)}
    intervals["optimal_exponent"] = _interval([_optimal(other) for other in again])
    found = JointFit(
        count,
        law,
        intervals,
        _optimal(law),
        float(np.sqrt(np.mean(residuals**2))),
        len(finished),
    )
    # A run to come scatters about the law as the others do.
    scatter = _drawn(residuals, 5, (bootstrap,), random)
    predictions = []
    for point in (point for point in outside if point.finished):
        size = getattr(point, count)
        spread = [
            float(other(size, point.tokens) * np.exp(noise))
            for other, noise in zip(again, scatter, strict=True)
        ]
        predictions.append(
            _prediction("joint", count, measure, point, law(size, point.tokens), _interval(spread))
        )
    return found, predictions


def _optimal(law: JointLaw) -> float:
    return law.beta / max(law.alpha + law.beta, 1e-12)


def _parameters(
    inside: Sequence[Point],
    outside: Sequence[Point],
    measure: Measure,
    count: Count,
    bootstrap: int,
    random: np.random.Generator,
) -> tuple[ParameterFit, list[Prediction]]:
    """At the most tokens for which every size has a finished run."""
    sizes = {point.size for point in (*inside, *outside)}
    finished = [point for point in (*inside, *outside) if point.finished]
    common = [
        tokens
        for tokens in {point.tokens for point in finished}
        if {point.size for point in finished if point.tokens == tokens} == sizes
    ]
    if not common:
        raise ValueError("no number of tokens at which every size has a finished run")
    tokens = max(common)
    parameters, _, loss = _columns(
        [point for point in inside if point.finished and point.tokens == tokens], measure, count
    )
    law = fit_power_law(parameters, loss)
    fitted = np.log(law(parameters))
    residuals = np.log(loss) - fitted
    drawn = _drawn(residuals, 2, (bootstrap, len(loss)), random)
    # Lines through all the columns at once; exponents are slopes turned round.
    slopes, heights = np.polyfit(np.log(parameters), (fitted + drawn).T, 1)
    found = ParameterFit(count, tokens, law, _interval(-slopes))
    scatter = _drawn(residuals, 2, (bootstrap,), random)
    predictions = []
    for point in (p for p in outside if p.finished and p.tokens == tokens):
        size = getattr(point, count)
        predictions.append(
            _prediction(
                "parameters",
                count,
                measure,
                point,
                law(size),
                _interval(np.exp(heights + slopes * np.log(size) + scatter)),
            )
        )
    return found, predictions


def _without_law(
    inside: Sequence[Point], outside: Sequence[Point], measure: Measure
) -> list[Prediction]:
    """What one would say without any law: as good as the next smaller size at as many tokens."""
    largest = max(point.non_embedding_parameters for point in inside)
    known = {
        point.tokens: getattr(point, measure)
        for point in inside
        if point.finished and point.non_embedding_parameters == largest
    }
    return [
        _prediction("none", None, measure, point, known[point.tokens], None)
        for point in outside
        if point.finished and point.tokens in known
    ]


def _prediction(
    law: Law,
    count: Count | None,
    measure: Measure,
    point: Point,
    predicted: float,
    interval: Interval | None,
) -> Prediction:
    measured = getattr(point, measure)
    return Prediction(
        law=law,
        size=point.size,
        tokens=point.tokens,
        flops=point.flops,
        finished=point.finished,
        measured=measured,
        predicted=float(predicted),
        error=float(predicted) / measured - 1,
        count=count,
        interval=interval,
    )


def _drawn(
    residuals: Array, unknowns: int, shape: tuple[int, ...], random: np.random.Generator
) -> Array:
    """Residuals drawn with replacement, widened by ``sqrt(n / (n - unknowns))`` and centred."""
    widening = np.sqrt(len(residuals) / max(1, len(residuals) - unknowns))
    return random.choice((residuals - residuals.mean()) * widening, shape)


def _interval(values: Any) -> Interval:
    low, high = np.quantile(np.asarray(values), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
