"""The law in compute: along the frontier, the smallest loss of any size at each compute.

It is taken twice. Once from the finished runs, which is what so much compute can buy; once from
the evaluations on the way of the runs at the constant learning rate, which are many and close
together but higher, for none of them was cooled down.

Where the best size's runs end before another has overtaken it, the frontier ends too: what comes
then is the next best of those that happen to go on, and trained longer the first would beat it.
The points of a frontier are read off the same few curves and are not independent, so instead of
an interval there is the range of the exponents with one size left out.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from hyperclova.pretraining.scaling.laws import Array, fit_power_law
from hyperclova.pretraining.scaling.points import Point
from hyperclova.pretraining.scaling.results import ComputeFit, Measure

GRID = 48
"""Values of compute at which the frontier is read off."""

Frontier = tuple[Array, Array, list[str]]


def fit_frontier(points: Sequence[Point], measure: Measure, finished: bool) -> ComputeFit:
    """Raises ValueError if the frontier is too short, or the loss does not fall."""
    curves = {
        name: [p for p in points if p.size == name and p.finished == finished]
        for name in dict.fromkeys(point.size for point in points)
    }
    flops, loss, sizes = frontier(curves, measure)
    law = fit_power_law(flops, loss)
    exponents = []
    for left_out in curves:
        fewer = {name: curve for name, curve in curves.items() if name != left_out}
        try:
            exponents.append(fit_power_law(*frontier(fewer, measure)[:2]).exponent)
        except ValueError:  # too little is left to say anything without this size
            continue
    bounds = (min(exponents), max(exponents)) if exponents else None
    return ComputeFit(
        finished, law, tuple(flops.tolist()), tuple(loss.tolist()), tuple(sizes), bounds
    )


def frontier(curves: Mapping[str, Sequence[Point]], measure: Measure) -> Frontier:
    """Compute, smallest loss there, and whose it is, up to the end of the best size's runs.

    Between evaluations, loss is read off straight lines in the logarithms.

    Raises:
        ValueError: it has fewer than three values.
    """
    every = sorted(point.flops for points in curves.values() for point in points)
    kept: list[tuple[float, float, str]] = []
    best: str | None = None
    for flops in np.unique(np.geomspace(every[0], every[-1], GRID)) if every else ():
        here = {}
        for name, points in curves.items():
            x = np.array([point.flops for point in points], np.float64)
            if len(x) and x[0] <= flops * (1 + 1e-12) and flops <= x[-1] * (1 + 1e-12):
                y = np.log([getattr(point, measure) for point in points])
                here[name] = float(np.exp(np.interp(np.log(flops), np.log(x), y)))
        if best is not None and best not in here:
            break
        best = min(here, key=here.__getitem__)
        kept.append((float(flops), here[best], best))
    if len(kept) < 3:
        raise ValueError("the best size's runs end before another has overtaken it")
    return (
        np.array([row[0] for row in kept]),
        np.array([row[1] for row in kept]),
        [row[2] for row in kept],
    )


def last_points(points: Sequence[Point], finished: bool) -> list[Point]:
    """Of each size, the one with the most tokens."""
    last: dict[str, Point] = {}
    for point in points:
        if point.finished == finished:
            last[point.size] = max(point, last.get(point.size, point), key=lambda p: p.tokens)
    return list(last.values())
