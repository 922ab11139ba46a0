"""The pictures of a report as PNG files, for the Markdown and for slides.

The page draws the same figures itself, so that they follow its width and its colours.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hyperclova.corpus.report import numbers
from hyperclova.corpus.report.figures import (
    LANGUAGES,
    WRITING,
    Comparison,
    Figures,
    occupied,
    shares,
)
from hyperclova.durable import writing
from hyperclova.style import ACCENT, INK, LINE, MUTED, PAPER, chart

PICTURES = {
    "composition": "Share of each source, next to the paper's corpus",
    "funnel": "What is left of the documents and characters read after each rule",
    "lengths": "Documents by length, as read and as written",
    "mix": "Languages and scripts, as read and as written",
}
"""File names without the suffix, and what the pictures show."""

_COLOURS = (ACCENT, "#e6c996", "#b1bbca", "#c8cfd9", "#d8dde4", "#e4e7ec", "#eef0f3")
PALETTE = {
    name: colour
    for names in (LANGUAGES, WRITING)
    for name, colour in zip(names, _COLOURS, strict=False)
}
"""Of languages and scripts: the page's, in its light colours."""


def draw(figures: Figures, directory: Path) -> None:
    """Write every picture of :data:`PICTURES`; the same figures give the same bytes."""
    _composition(figures, directory / "composition.png")
    _funnel(figures, directory / "funnel.png")
    _lengths(figures.comparisons, directory / "lengths.png")
    _mix(figures.total, directory / "mix.png")


def _save(figure: Any, path: Path) -> None:
    with writing(path) as file:  # without matplotlib's version the bytes depend on figures alone
        figure.savefig(file, format="png", metadata={"Software": None})


def _bare(axis: Any) -> None:
    axis.set_xticks([])
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _composition(figures: Figures, path: Path) -> None:
    rows = figures.table.rows
    with chart(7.2, 0.9 + 0.42 * len(rows)) as (figure, axis):
        places = range(len(rows))
        ours = [row.share or 0.0 for row in rows]
        theirs = [row.paper_share or 0.0 for row in rows]
        axis.barh([place - 0.17 for place in places], ours, height=0.3, color=ACCENT)
        axis.barh([place + 0.17 for place in places], theirs, height=0.3, color=LINE)
        for place, row in zip(places, rows, strict=True):
            for share, offset, colour in ((row.share, -0.17, INK), (row.paper_share, 0.17, MUTED)):
                if share is not None:
                    _note(axis, numbers.percent(share), share, place + offset, colour)
        axis.set_yticks(places, [row.name for row in rows])
        axis.set_xlim(0, 1.14 * max([*ours, *theirs, 0.01]))
        axis.invert_yaxis()
        axis.set_title(f"Share of {figures.table.share_of}: this corpus in green, paper in grey")
        _bare(axis)
        _save(figure, path)


def _note(axis: Any, text: str, x: float, y: float, colour: str, size: float = 8) -> None:
    axis.annotate(
        text,
        (x, y),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        color=colour,
        fontsize=size,
    )


def _funnel(figures: Figures, path: Path) -> None:
    way = figures.funnel
    rows = [("read", way.documents_read, way.characters_read, "")]
    for stage in way.stages:
        dropped = f"−{numbers.count(stage.total.dropped)}" if stage.total.dropped else ""
        rows.append((stage.label, stage.documents_left, stage.characters_left, dropped))
    with chart(7.2, 0.9 + 0.3 * len(rows)) as (figure, axis):
        most_documents = max([*(row[1] for row in rows), 1])
        most_characters = max([*(row[2] for row in rows), 1])
        for place, (_, documents, characters, dropped) in enumerate(rows):
            share = documents / most_documents
            axis.barh(place - 0.1, share, height=0.42, color=ACCENT)
            axis.barh(place + 0.24, characters / most_characters, height=0.12, color=MUTED)
            _note(axis, numbers.count(documents), share, place - 0.1, INK)
            axis.annotate(dropped, (1.3, place), va="center", ha="right", color=MUTED, fontsize=8)
        axis.set_yticks(range(len(rows)), [row[0] for row in rows])
        axis.set_xlim(0, 1.3)
        axis.invert_yaxis()
        axis.set_title("Documents left after each rule (thin: characters), and dropped by it")
        _bare(axis)
        _save(figure, path)


def _lengths(comparisons: Sequence[Comparison], path: Path) -> None:
    bins = occupied(comparisons)
    columns = 3
    rows = -(-len(comparisons) // columns)
    with chart(7.2, 0.4 + 1.5 * rows, rows=rows, columns=columns) as (figure, axes):
        panels = list(axes.flat)
        for axis, comparison in zip(panels, comparisons, strict=False):
            before = [comparison.before.lengths[index] for index in bins]
            after = [comparison.after.lengths[index] for index in bins]
            axis.bar(list(bins), after, width=0.86, align="edge", color=ACCENT)
            if bins:
                edges = [*bins, bins.stop]
                axis.stairs(before, edges, color=MUTED, linewidth=1)
                ticks = [index for index in bins if index % 4 == 0]
                axis.set_xticks(ticks, [numbers.compact(2**tick) for tick in ticks], fontsize=8)
            else:
                axis.set_xticks([])
            axis.set_yticks([])
            axis.spines["left"].set_visible(False)
            axis.tick_params(length=0)
            name = "all" if comparison.source == "total" else comparison.source
            read, written = comparison.before.documents, comparison.after.documents
            axis.set_title(f"{name}: {numbers.count(read)} → {numbers.count(written)}", fontsize=9)
        for axis in panels[len(comparisons) :]:
            axis.set_axis_off()
        figure.supxlabel(
            "characters a document; grey line: read, green: written", fontsize=8, color=MUTED
        )
        _save(figure, path)


def _mix(total: Comparison, path: Path) -> None:
    bars: list[tuple[str, Mapping[str, int], Sequence[str]]] = [
        ("documents read", total.before.languages, LANGUAGES),
        ("written", total.after.languages, LANGUAGES),
        ("characters read", total.before.scripts, WRITING),
        ("written", total.after.scripts, WRITING),
    ]
    with chart(7.2, 2.4) as (figure, axis):
        places = (0.0, 0.8, 2.0, 2.8)
        for place, (_, counts, names) in zip(places, bars, strict=True):
            left = 0.0
            for name, _, share in shares(counts, names):
                colour = PALETTE.get(name, LINE)
                axis.barh(place, share, left=left, height=0.6, color=colour)
                if share >= 0.14:
                    axis.annotate(
                        f"{name} {100 * share:.0f} %",
                        (left, place),
                        xytext=(4, 0),
                        textcoords="offset points",
                        va="center",
                        fontsize=8,
                        color=PAPER if colour == ACCENT else INK,
                    )
                left += share
        axis.set_yticks(places, [bar[0] for bar in bars])
        axis.set_xlim(0, 1)
        axis.invert_yaxis()
        axis.set_title("Documents by language, characters by script")
        _bare(axis)
        _save(figure, path)
