"""The picture, in the form of the paper's Figure 1: loss over compute, a curve for each size."""

from pathlib import Path
from typing import Any

from hyperclova.pretraining.scaling.points import Ladder, Point
from hyperclova.pretraining.scaling.report import short
from hyperclova.pretraining.scaling.results import MEASURES, Fit, LossFits, Measure
from hyperclova.style import ACCENT, AMBER, INK, MUTED, TINT, chart

_TITLES: dict[Measure, str] = {
    "training_loss": "training loss, nats per token",
    "loss": "held-out loss ({source}), nats per token",
}


def plot(fit: Fit, path: Path) -> None:
    """Write the figure; the suffix of ``path`` chooses its format.

    Left training loss, right held-out loss. Lines are the runs at the constant learning rate,
    dots the finished runs, the band their frontier over the sizes fitted; the broken line is the
    law in compute along it, drawn on to the compute of the size held out (another colour). Rings
    are what the joint law predicted for that size's finished runs, with their intervals.
    """
    with chart(9.6, 4.2, columns=2) as (figure, panels):
        for axes, measure in zip(panels, reversed(MEASURES), strict=True):
            _draw(axes, fit, fit.of(measure))
            axes.set_title(_TITLES[measure].format(source=fit.ladder.source))
        figure.savefig(path)


def _draw(axes: Any, fit: Fit, fits: LossFits) -> None:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    ramp = LinearSegmentedColormap.from_list("sizes", ["#7fc4a0", ACCENT, "#063d2a"])
    sizes = fit.ladder.sizes
    for number, size in enumerate(sizes):
        held_out = size in fit.held_out_sizes
        color = AMBER if held_out else ramp(number / max(1, len(sizes) - 1))
        curve, dots = _points(fit.ladder, size)
        axes.plot(*_columns(curve, fits.measure), color=color, linewidth=1.2)
        axes.plot(*_columns(dots, fits.measure), "o", color=color, markersize=3.5)
        first = min((*curve, *dots), key=lambda point: point.flops)
        axes.annotate(
            short(first.non_embedding_parameters) + (" (held out)" if held_out else ""),
            (first.flops, getattr(first, fits.measure)),
            xytext=(0, 4 if number % 2 else 12),  # neighbours at two heights
            textcoords="offset points",
            color=AMBER if held_out else MUTED,
            fontsize=8,
            ha="left",
        )
    _draw_law(axes, fit, fits)
    rings = [
        prediction
        for prediction in fits.predictions
        if prediction.law == "joint" and prediction.count == "non_embedding_parameters"
    ]
    for ring in rings:
        if ring.interval is not None:
            axes.plot([ring.flops] * 2, ring.interval, color=INK, linewidth=0.8)
        axes.plot(ring.flops, ring.predicted, "o", color=INK, fillstyle="none", markersize=6)
    axes.set(xscale="log", yscale="log", xlabel="compute, FLOP")
    axes.margins(x=0.08, y=0.08)
    axes.grid(axis="y")
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.1f}"))


def _draw_law(axes: Any, fit: Fit, fits: LossFits) -> None:
    found = next((compute for compute in fits.compute if compute.finished), None)
    if found is None:
        return
    axes.plot(found.flops, found.loss, color=TINT, linewidth=7, zorder=0)
    end = max(point.flops for point in fit.ladder.points)
    reach = (found.flops[0], end)
    law = found.law
    axes.plot(reach, [law(flops) for flops in reach], "--", color=MUTED, linewidth=1)
    axes.annotate(
        f"(C / {law.scale:.1e})^−{law.exponent:.3f}",
        (end, law(end)),
        xytext=(0, -4),
        textcoords="offset points",
        color=MUTED,
        fontsize=8,
        ha="right",
        va="top",
    )


def _points(ladder: Ladder, size: str) -> tuple[list[Point], list[Point]]:
    own = [point for point in ladder.points if point.size == size]
    return [p for p in own if not p.finished], [p for p in own if p.finished]


def _columns(points: list[Point], measure: Measure) -> tuple[list[int], list[float]]:
    return [point.flops for point in points], [getattr(point, measure) for point in points]
