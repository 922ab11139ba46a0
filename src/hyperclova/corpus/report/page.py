"""The report as one page that needs nothing but itself: no network, no scripts."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from hyperclova.corpus.report import numbers
from hyperclova.corpus.report.excerpts import CHANGED, INVISIBLE, MASKED, Shown, Span
from hyperclova.corpus.report.figures import (
    LANGUAGES,
    WRITING,
    Comparison,
    Figures,
    occupied,
    shares,
)

FEW = 100
"""Inputs listed on the page; ``report.json`` has them all."""

_NAMES = {
    "ko": "Korean",
    "mixed": "mixed",
    "en": "English",
    "ja": "Japanese",
    "zh": "Chinese",
    "none": "no letters",
    "hangul": "Hangul",
    "latin": "Latin",
    "han": "Han",
    "kana": "kana",
    "digit": "digits",
    "space": "space",
    "other": "other",
}
_CODE = re.compile(r"`([^`]+)`")
_WIDTH, _HEIGHT, _TOP = 240.0, 84.0, 6.0


def render(figures: Figures, examples: Mapping[str, Sequence[Shown]]) -> str:
    """The page.

    Args:
        figures: everything it says.
        examples: by rule label.
    """
    few = sorted(figures.inputs, key=lambda item: -item["quarantined"])[:FEW]
    bins = occupied(figures.comparisons)
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            figures=figures,
            examples=examples,
            few_inputs=[item for item in figures.inputs if item in few][:FEW],
            anchors={rule.label: f"rule-{n}" for n, rule in enumerate(figures.rules, start=1)},
            bins=[(index, *_bounds(index)) for index in bins],
            histograms=[_histogram(row, bins) for row in figures.comparisons],
            mixes=[
                _mix("Documents by language", figures, "languages", LANGUAGES),
                _mix("Characters by script", figures, "scripts", WRITING),
            ],
            config=json.dumps(figures.config, ensure_ascii=False, indent=2),
            numbers=numbers,
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": numbers.count,
        "compact": numbers.compact,
        "size": numbers.size,
        "percent": numbers.percent,
        "prose": _prose,
        "excerpt": _excerpt,
    }
    return environment


def _prose(text: str) -> Markup:
    """Escaped text whose `` `code` `` is set as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


def _excerpt(spans: Sequence[Span], change: str) -> Markup:
    """An excerpt; what differs is set in the element ``change``, ``del`` or ``ins``."""
    parts = []
    for span in spans:
        part = escape(span.text)
        if INVISIBLE in span.marks:
            part = Markup('<span class="invisible">{}</span>').format(span.text)
        if MASKED in span.marks:
            part = Markup("<mark>{}</mark>").format(part)
        if CHANGED in span.marks:
            part = Markup(f"<{change}>{{}}</{change}>").format(part)
        parts.append(part)
    return Markup("").join(parts)


@dataclass(frozen=True)
class _Bar:
    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class _Histogram:
    """One small multiple, in units of its view box."""

    comparison: Comparison
    bars: tuple[_Bar, ...]
    """Written."""
    line: str
    """Read, as the points of a polyline."""
    ticks: tuple[tuple[float, str], ...]
    means: tuple[str, str]
    """Characters a document, before and after."""


def _histogram(comparison: Comparison, bins: range) -> _Histogram:
    before, after = comparison.before.lengths, comparison.after.lengths
    top = max([*(max(before[i], after[i]) for i in bins), 1])
    step = _WIDTH / max(1, len(bins))
    bars, points = [], []
    for place, index in enumerate(bins):
        low, high = _bounds(index)
        height = _HEIGHT * after[index] / top
        x = place * step
        bars.append(
            _Bar(
                x=round(x + 0.5, 2),
                y=round(_TOP + _HEIGHT - height, 2),
                width=round(step - 1, 2),
                height=round(height, 2),
                title=f"{low} to {high} characters: {numbers.count(before[index])} read, "
                f"{numbers.count(after[index])} written",
            )
        )
        level = round(_TOP + _HEIGHT * (1 - before[index] / top), 2)
        points += [f"{x:.2f},{level}", f"{x + step:.2f},{level}"]
    ticks = tuple(
        (round(place * step, 2), numbers.compact(2**index))
        for place, index in enumerate(bins)
        if index % 4 == 0 and place * step < _WIDTH - 16
    )
    return _Histogram(
        comparison,
        tuple(bars),
        " ".join(points),
        ticks,
        (_mean(comparison.before), _mean(comparison.after)),
    )


def _mean(volume: object) -> str:
    documents, characters = getattr(volume, "documents", 0), getattr(volume, "characters", 0)
    return numbers.count(characters / documents) if documents else "–"


def _bounds(index: int) -> tuple[str, str]:
    return numbers.count(2**index if index else 0), numbers.count(2 ** (index + 1) - 1)


@dataclass(frozen=True)
class _Mix:
    """Stacked bars: how something is shared out among languages or scripts."""

    title: str
    names: tuple[tuple[str, int], ...]
    """With the numbers of their colours."""
    rows: tuple[tuple[str, int, tuple[tuple[str, int, int, float], ...]], ...]
    """Label, total and parts: name, number of the colour, count, share."""


def _mix(title: str, figures: Figures, what: str, order: Sequence[str]) -> _Mix:
    rows = [("All, read", getattr(figures.total.before, what))]
    rows.append(("All, written", getattr(figures.total.after, what)))
    rows += [
        (row.source, getattr(row.after, what))
        for row in figures.comparisons[1:]
        if row.after.documents
    ]
    present = [name for name in order if any(counts.get(name) for _, counts in rows)]
    present += sorted({name for _, counts in rows for name in counts} - set(order))
    colours = {name: order.index(name) if name in order else len(order) for name in present}
    return _Mix(
        title,
        tuple((_NAMES.get(name, name), colours[name]) for name in present),
        tuple(
            (
                label,
                sum(counts.values()),
                tuple(
                    (_NAMES.get(name, name), colours[name], count, share)
                    for name, count, share in shares(counts, order)
                ),
            )
            for label, counts in rows
        ),
    )
