"""The difference of two builds as tables for the terminal."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hyperclova.corpus.difference import Change, Difference, DocumentChanges, EffectChange

if TYPE_CHECKING:
    from rich.console import RenderableType


def render(difference: Difference) -> "RenderableType":
    """For the terminal."""
    from rich.console import Group

    parts: list[RenderableType] = []
    if difference.same_documents:
        parts.append("Both builds wrote the same documents.")
    else:
        parts += _render_sources(difference)
        parts += _render_documents(difference.documents)
    parts += _render_changes("Configuration", difference.config)
    parts += _render_changes("Versions", difference.versions)
    parts += _render_effects(difference.effects)
    return Group(*parts)


def _render_sources(difference: Difference) -> "Iterator[RenderableType]":
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Written, first → second", title_justify="left", box=None, padding=(0, 2))
    table.add_column("source")
    for name in ("documents", "change", "characters", "change", "MB", "change"):
        table.add_column(name, justify="right")
    for row in difference.sources:
        cells = []
        for one, two, scale, form in (
            (row.first.documents, row.second.documents, 1, ",.0f"),
            (row.first.characters, row.second.characters, 1, ",.0f"),
            (row.first.bytes, row.second.bytes, 1e6, ",.2f"),
        ):
            cells += [format(two / scale, form), _change(one / scale, two / scale, form)]
        table.add_row(Text(row.source), *cells, style="bold" if row.source == "total" else None)
    yield table


def _change(first: float, second: float, form: str) -> str:
    return "" if first == second else format(second - first, f"+{form}").replace("-", "−")


def _render_documents(documents: DocumentChanges) -> "Iterator[RenderableType]":
    from rich.table import Table
    from rich.text import Text

    table = Table(title="\nDocuments", title_justify="left", box=None, padding=(0, 2))
    table.add_column("")
    table.add_column("count", justify="right")
    table.add_column("for example", overflow="ellipsis", no_wrap=True)
    table.add_row("in both", f"{documents.shared:,}", "")
    for name, kind in (
        ("only in the first", documents.only_first),
        ("only in the second", documents.only_second),
        ("text changed", documents.text_changed),
        ("split changed", documents.split_changed),
    ):
        table.add_row(name, f"{kind.count:,}", Text("  ".join(kind.examples)))
    yield table


def _render_changes(title: str, changes: Sequence[Change]) -> "Iterator[RenderableType]":
    from rich.table import Table
    from rich.text import Text

    if not changes:
        yield f"\n{title}: the same."
        return
    table = Table(title=f"\n{title}", title_justify="left", box=None, padding=(0, 2))
    for name in ("", "first", "second"):
        table.add_column(name, overflow="fold")
    for change in changes:
        table.add_row(
            Text(change.name),
            *(
                Text("–" if value is None else str(value))
                for value in (change.first, change.second)
            ),
        )
    yield table


def _render_effects(effects: Sequence[EffectChange]) -> "Iterator[RenderableType]":
    from rich.table import Table
    from rich.text import Text

    if not effects:
        yield "\nEvery rule did the same."
        return
    table = Table(
        title="\nRules that did something else, first → second",
        title_justify="left",
        box=None,
        padding=(0, 2),
    )
    table.add_column("rule")
    for name in ("dropped", "changed", "characters removed"):
        table.add_column(name, justify="right")
    for row in effects:
        cells = (
            " → ".join(
                "–" if effect is None else f"{getattr(effect, name):,}"
                for effect in (row.first, row.second)
            )
            for name in ("dropped", "changed", "characters_removed")
        )
        table.add_row(Text(row.label), *cells)
    yield table
