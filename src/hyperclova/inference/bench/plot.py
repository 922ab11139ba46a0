"""What was measured, as a picture: throughput, time to first token, time between tokens."""

from collections.abc import Sequence
from pathlib import Path

from hyperclova import style
from hyperclova.errors import UserError
from hyperclova.inference.bench.report import Summary

FORMATS = (".png", ".svg", ".pdf")


def check(path: Path) -> None:
    """Refuse, before anything is measured, a picture that could not be drawn afterwards.

    Raises:
        UserError: its ending is none of a picture that we can draw.
        ModuleNotFoundError: matplotlib is not installed.
    """
    if path.suffix not in FORMATS:
        raise UserError(f"{path}: a plot's file must end in {', '.join(FORMATS)}")
    import matplotlib  # noqa: F401


def draw(summaries: Sequence[Summary], path: Path, title: str) -> None:
    """Three panels over the load; the file's ending says which format.

    Args:
        summaries: of one run: all closed loop, or all open.
        title: what was measured, a few words.
    """
    open_loop = summaries[0].rate is not None
    loads = [each.rate if each.rate is not None else each.concurrency for each in summaries]
    places = range(len(summaries))  # evenly spaced: loads usually double
    with style.chart(10, 3.4, columns=3) as (figure, (throughput, first, between)):
        values = [each.output_tokens_per_second for each in summaries]
        bars = throughput.bar(places, values, color=style.ACCENT, width=0.6)
        throughput.bar_label(bars, fmt="%.0f", color=style.MUTED, fontsize=8)
        throughput.set_title("output tokens a second")
        for axes, name, what in (
            (first, "time_to_first_token", "time to first token, ms"),
            (between, "inter_token_latency", "time between tokens, ms"),
        ):
            for kind, colour in (
                ("p99", style.DANGER),
                ("p95", style.AMBER),
                ("p50", style.ACCENT),
            ):
                found = [
                    (place, 1000 * getattr(spread, kind))
                    for place, each in zip(places, summaries, strict=True)
                    if (spread := getattr(each, name)) is not None
                ]
                axes.plot(*zip(*found, strict=True), "o-", color=colour, markersize=4, label=kind)
            axes.set_title(what)
            axes.set_ylim(bottom=0)
        between.legend(frameon=False, fontsize=8)
        for axes in (throughput, first, between):
            axes.set_xticks(places, [f"{load:g}" for load in loads])
            axes.set_xlabel("requests a second" if open_loop else "clients at once")
            axes.grid(axis="y")
            axes.set_axisbelow(True)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, color=style.MUTED)
        figure.savefig(path)
