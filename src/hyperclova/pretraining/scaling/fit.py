"""The laws of a ladder, how sure they are, and what they say of the sizes left out.

**Uncertainty.** The intervals of the joint law and of the law in parameters come from a residual
bootstrap: the fit's own residuals, made as wide as the unknowns fitted demand, are drawn again
and added to the fitted losses, and the law is fitted anew. They cover how the finished runs
scatter about a law of this form. They do not cover another seed, another held-out text, badly
chosen learning rates, or another form of law. The law in compute is taken along an envelope of
curves, whose points are not independent: its range is that of fits with one size left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from hyperclova.errors import UserError
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
GRID = 48
"""Values of compute at which the envelope is read off."""


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
    compute: ComputeFit | None = None
    try:
        compute = _compute(inside, measure)
    except ValueError as reason:
        missing.append(f"law in compute: {reason}")
    if compute is not None:
        predictions += [
            _prediction("compute", None, measure, point, compute.law(point.flops), None)
            for point in _ends(outside)
        ]
    return LossFits(
        measure, tuple(joint), tuple(by_parameters), tuple(predictions), tuple(missing), compute
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


def _compute(inside: Sequence[Point], measure: Measure) -> ComputeFit:
    curves = {
        name: [point for point in inside if point.size == name and not point.finished]
        for name in dict.fromkeys(point.size for point in inside)
    }
    flops, loss, sizes = _envelope(curves, measure)
    law = fit_power_law(flops, loss)
    exponents = []
    for left_out in curves if len(curves) > 2 else ():
        fewer = {name: points for name, points in curves.items() if name != left_out}
        x, y, _ = _envelope(fewer, measure)
        exponents.append(fit_power_law(x, y).exponent)
    bounds = (min(exponents), max(exponents)) if exponents else None
    return ComputeFit(law, tuple(flops.tolist()), tuple(loss.tolist()), tuple(sizes), bounds)


def _envelope(curves: dict[str, list[Point]], measure: Measure) -> tuple[Array, Array, list[str]]:
    """The smallest loss of any size at each compute that two sizes or more have come to.

    Between evaluations, loss is read off straight lines in the logarithms. A value that is not
    below all at less compute is left out: there the best curve has ended, and the next best is
    no frontier.
    """
    every = sorted(point.flops for points in curves.values() for point in points)
    if not every:
        raise ValueError("nothing is measured at the constant learning rate")
    kept: list[tuple[float, float, str]] = []
    lowest = np.inf
    for flops in np.geomspace(every[0], every[-1], GRID):
        here = []
        for name, points in curves.items():
            x = np.array([point.flops for point in points], np.float64)
            if len(x) and x[0] <= flops * (1 + 1e-12) and flops <= x[-1] * (1 + 1e-12):
                y = np.log([getattr(point, measure) for point in points])
                here.append((float(np.exp(np.interp(np.log(flops), np.log(x), y))), name))
        if len(here) >= 2 and min(here)[0] < lowest:
            lowest, best = min(here)
            kept.append((float(flops), lowest, best))
    if len(kept) < 3:
        raise ValueError("the runs of different sizes hardly meet at the same compute")
    return (
        np.array([row[0] for row in kept]),
        np.array([row[1] for row in kept]),
        [row[2] for row in kept],
    )


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


def _ends(points: Sequence[Point]) -> list[Point]:
    """The last point of each size at the constant rate."""
    last: dict[str, Point] = {}
    for point in points:
        if not point.finished:
            last[point.size] = point
    return list(last.values())


def _drawn(
    residuals: Array, unknowns: int, shape: tuple[int, ...], random: np.random.Generator
) -> Array:
    """Residuals drawn with replacement, widened by ``sqrt(n / (n - unknowns))`` and centred."""
    widening = np.sqrt(len(residuals) / max(1, len(residuals) - unknowns))
    return random.choice((residuals - residuals.mean()) * widening, shape)


def _interval(values: Any) -> Interval:
    low, high = np.quantile(np.asarray(values), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
