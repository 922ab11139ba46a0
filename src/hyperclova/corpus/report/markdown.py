"""The report as Markdown, with the pictures beside it."""

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from hyperclova.corpus.report import numbers
from hyperclova.corpus.report.charts import PICTURES
from hyperclova.corpus.report.excerpts import CHANGED, Shown, Span
from hyperclova.corpus.report.figures import LANGUAGES, WRITING, Figures, occupied, shares
from hyperclova.corpus.report.table import Row

EXAMPLES = 2
"""Of each rule; the page has all."""

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~$])")


def render(figures: Figures, examples: Mapping[str, Sequence[Shown]]) -> str:
    """The report.

    Args:
        figures: everything it says.
        examples: by rule label.
    """
    return "\n".join(_lines(figures, examples)) + "\n"


def _lines(figures: Figures, examples: Mapping[str, Sequence[Shown]]) -> Iterator[str]:
    way = figures.funnel
    yield f"# {_text(figures.name)}: corpus report" if figures.name else "# Corpus report"
    yield ""
    yield (
        f"Of {numbers.count(way.documents_read)} documents read, "
        f"{numbers.count(way.documents_written)} were written: "
        f"{numbers.compact(way.characters_written)} characters, "
        f"{numbers.size(figures.table.total.bytes)}."
    )
    yield ""
    if figures.failures:
        yield f"**{len(figures.failures)} of {len(figures.checks)} sums do not agree:**"
        yield ""
        for check in figures.failures:
            limit = "at most " if check.at_most else ""
            yield (
                f"- {_text(check.what)}: expected {limit}{numbers.count(check.expected)}, "
                f"found {numbers.count(check.found)}"
            )
    else:
        yield f"All {len(figures.checks)} sums agree."
    yield from _composition(figures)
    yield from _funnel(figures)
    yield from _rules(figures, examples)
    yield from _lengths(figures)
    yield from _mix(figures)
    yield from _held_out(figures)
    yield from _inputs(figures)


def _composition(figures: Figures) -> Iterator[str]:
    table = figures.table
    yield from _heading("Composition", "composition")
    yield from _table(
        (
            "Source",
            "Documents",
            "Characters",
            "Bytes",
            "Tokens",
            f"Share of {table.share_of}",
            "HyperCLOVA: tokens",
            "share",
        ),
        [_row(row) for row in (*table.rows, table.total)],
    )
    yield ""
    if table.tokenizer:
        yield (
            f"Tokens of {_text(table.tokenizer)}, estimated from a sample of each source, ± "
            "standard error."
        )
    else:
        yield "The tokens were not counted."
    yield "HyperCLOVA: Kim et al. 2021, Table 1; its WikiEn and WikiJp are Wikipedia here."


def _row(row: Row) -> tuple[str, ...]:
    counted = row.tokens is not None and row.standard_error is not None
    return (
        _text(row.name),
        numbers.count(row.documents),
        numbers.count(row.characters),
        numbers.size(row.bytes),
        numbers.estimate(row.tokens or 0, row.standard_error or 0) if counted else "not counted",
        "–" if row.share is None else numbers.percent(row.share),
        "–" if row.paper_tokens is None else numbers.tokens(row.paper_tokens),
        "–" if row.paper_share is None else numbers.percent(row.paper_share),
    )


def _funnel(figures: Figures) -> Iterator[str]:
    way = figures.funnel
    yield from _heading("From read to written", "funnel")
    rows = [("**Read**", "", "", "", "", "", numbers.count(way.documents_read))]
    for stage in way.stages:
        for source, effect in sorted(stage.by_source.items()):
            if not (effect.changed or effect.dropped):
                continue
            rows.append(
                (
                    _code(stage.label),
                    _text(source),
                    numbers.count(effect.seen),
                    numbers.count(effect.changed),
                    numbers.count(effect.dropped),
                    numbers.count(effect.characters_removed),
                    "",
                )
            )
        total = stage.total
        rows.append(
            (
                f"**{_code(stage.label)}**",
                "**all**",
                numbers.count(total.seen),
                numbers.count(total.changed),
                numbers.count(total.dropped),
                numbers.count(total.characters_removed),
                numbers.count(stage.documents_left),
            )
        )
    rows.append(("**Written**", "", "", "", "", "", numbers.count(way.documents_written)))
    yield from _table(
        ("Rule", "Source", "Seen", "Changed", "Dropped", "Characters removed", "Left"), rows
    )
    yield ""
    yield "Sources that a rule left alone are in `report.json`."
    yield (
        f"Rules and further copies added {numbers.count(way.characters_added)} characters; "
        f"{numbers.count(way.copies)} documents are further copies."
    )


def _rules(figures: Figures, examples: Mapping[str, Sequence[Shown]]) -> Iterator[str]:
    yield from _heading("The rules")
    yield (
        "Examples are chosen at random and masked like a corpus. `[-…-]` was removed, `{+…+}` "
        "written; what `anonymise` replaced is shown by its shape."
    )
    for rule in figures.rules:
        yield ""
        yield f"### {_code(rule.label)}"
        yield ""
        if rule.description.text:
            yield _prose(rule.description.text)
            yield ""
        for setting in rule.description.settings:
            default = "" if setting.given else " (default)"
            yield f"- {_code(setting.name)}: {_code(setting.value)}{default}"
        for example in examples.get(rule.label, ())[:EXAMPLES]:
            yield from _example(example)


def _example(example: Shown) -> Iterator[str]:
    yield ""
    about = [example.outcome, example.source, _text(example.title), _code(example.id)]
    yield " · ".join(filter(None, [*about, _text(example.reason)]))
    yield ""
    if example.outcome == "dropped":
        yield from _fence(_marked(example.before, "[-", "-]"))
    else:
        before = _marked(example.before, "[-", "-]")
        after = _marked(example.after, "{+", "+}")
        yield from _fence(f"{before}\n→\n{after}")


def _lengths(figures: Figures) -> Iterator[str]:
    yield from _heading("Lengths", "lengths")
    names = ["all" if row.source == "total" else row.source for row in figures.comparisons]
    yield from _table(
        ("Characters from", *map(_text, names)),
        [
            (
                numbers.count(2**index if index else 0),
                *(
                    f"{numbers.count(row.before.lengths[index])} → "
                    f"{numbers.count(row.after.lengths[index])}"
                    for row in figures.comparisons
                ),
            )
            for index in occupied(figures.comparisons)
        ],
    )


def _mix(figures: Figures) -> Iterator[str]:
    yield from _heading("Languages and scripts", "mix")
    rows = []
    for row in figures.comparisons:
        for when, volume in (("read", row.before), ("written", row.after)):
            mixes = (shares(volume.languages, LANGUAGES), shares(volume.scripts, WRITING))
            cells = (
                ", ".join(f"{name} {numbers.percent(share)}" for name, _, share in mix)
                for mix in mixes
            )
            rows.append((_text("all" if row.source == "total" else row.source), when, *cells))
    yield from _table(("Source", "", "Documents by language", "Characters by script"), rows)


def _held_out(figures: Figures) -> Iterator[str]:
    yield from _heading("Held out and kept out")
    yield from _table(
        ("Source", "Documents written", "Held out"),
        [
            (_text(row.source), numbers.count(row.documents), numbers.count(row.held_out))
            for row in (*figures.held_out, figures.held_out_total)
        ],
    )
    if figures.decontamination:
        yield ""
        yield from _table(
            ("Evaluation set", "Documents seen", "Dropped", "Characters removed"),
            [
                (
                    _text(name),
                    numbers.count(stage.total.seen),
                    numbers.count(stage.total.dropped),
                    numbers.count(stage.total.characters_removed),
                )
                for name, stage in figures.decontamination
            ],
        )


def _inputs(figures: Figures) -> Iterator[str]:
    yield from _heading("Inputs")
    total = figures.inputs_total
    rows = [
        (
            _code(item["path"]),
            numbers.size(item["bytes"]),
            numbers.count(item["documents"]),
            numbers.count(item["quarantined"]),
        )
        for item in figures.inputs
    ]
    rows.append(
        (
            "**Total**",
            numbers.size(total["bytes"]),
            numbers.count(total["documents"]),
            numbers.count(total["quarantined"]),
        )
    )
    yield from _table(("Input", "Bytes", "Documents", "Quarantined"), rows)
    yield ""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(figures.versions.items()))
    yield f"Made with {_text(versions)}."


def _heading(title: str, picture: str | None = None) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""
    if picture:
        yield f"![{PICTURES[picture]}]({picture}.png)"
        yield ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table; every column but the first is set to the right."""
    yield f"| {' | '.join(head)} |"
    yield f"|---|{'---:|' * (len(head) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _text(text: str) -> str:
    """``text`` on one line, meaning nothing to Markdown or HTML."""
    return _text_run(" ".join(text.split()))


def _prose(text: str) -> str:
    """Like :func:`_text`, but `` `code` `` is code."""
    parts = text.split("`")
    return "".join(_code(part) if n % 2 else _text_run(part) for n, part in enumerate(parts))


def _text_run(text: str) -> str:
    return html.escape(_SPECIAL.sub(r"\\\1", text), quote=False)


def _code(text: str) -> str:
    """``text`` as code on one line, whatever backticks and bars it has."""
    text = " ".join(text.split()).replace("|", "\\|")
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    gap = " " if longest else ""
    return f"{fence}{gap}{text}{gap}{fence}" if text else ""


def _fence(text: str) -> Iterator[str]:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}text"
    yield text
    yield fence


def _marked(spans: Sequence[Span], start: str, end: str) -> str:
    parts: list[str] = []
    inside = False
    for span in spans:
        changed = CHANGED in span.marks
        if changed != inside:
            parts.append(start if changed else end)
            inside = changed
        parts.append(span.text)
    if inside:
        parts.append(end)
    return "".join(parts)
