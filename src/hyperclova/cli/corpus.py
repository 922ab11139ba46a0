"""``hyperclova corpus``: raw documents -> a training set one can defend."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hyperclova.cli import corpus_quality

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

application = typer.Typer(
    name="corpus", help="Clean, deduplicate, anonymise and mix documents.", no_args_is_help=True
)

application.command("train-quality")(corpus_quality.train_quality)

_Config = Annotated[Path, typer.Argument(help="What to build: configs/corpus/*.toml")]
_Overrides = Annotated[
    list[str] | None, typer.Argument(help="Changes to the configuration: output=… seed=1")
]


@application.command()
def build(
    config: _Config,
    overrides: _Overrides = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = os.cpu_count() or 1,
    cluster: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler, instead of processes here.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Tokenizer directory, to estimate tokens for the report.")
    ] = None,
    fresh: Annotated[bool, typer.Option(help="Throw away what an earlier build left.")] = False,
    keep_work: Annotated[bool, typer.Option(help="Keep intermediate files.")] = False,
) -> None:
    """Build a corpus and its report. Run it again to go on after an interruption."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from hyperclova import configuration
    from hyperclova.corpus.account import Counter
    from hyperclova.corpus.build import build as run
    from hyperclova.corpus.config import CorpusConfig
    from hyperclova.corpus.report import write_report

    settings = configuration.load(CorpusConfig, config, overrides or ())
    counter = None
    if tokenizer is not None:
        from hyperclova.tokenizer import Tokenizer

        loaded = Tokenizer.load(tokenizer)
        counter = Counter(
            f"{tokenizer.name}, {loaded.vocabulary_size:,} tokens",
            lambda texts: [len(ids) for ids in loaded.encode_batch(texts)],
        )
    console = Console()
    with Progress(
        TextColumn("{task.description:>13}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as bar:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total)

        run(
            settings,
            workers=workers,
            cluster=cluster,
            fresh=fresh,
            keep_work=keep_work,
            counter=counter,
            progress=show,
        )
    report = write_report(settings.output)
    _summarise(settings.output, console)
    console.print(f"report: {report}", soft_wrap=True)


def _summarise(output: Path, console: "Console") -> None:
    """A table of what went in and what came out, by source."""
    from rich.console import Console as WideConsole
    from rich.filesize import decimal
    from rich.table import Table

    from hyperclova.corpus.record import Record
    from hyperclova.corpus.tally import Volume

    tally = Record.load(output).tally
    table = Table("source", "documents read", "read", "documents written", "written", "kept")
    for column in table.columns[1:]:
        column.justify = "right"
    for source in sorted(tally.before):
        before, after = tally.before[source], tally.after.get(source, Volume())
        table.add_row(
            source,
            f"{before.documents:,}",
            decimal(before.bytes),
            f"{after.documents:,}",
            decimal(after.bytes),
            f"{after.bytes / before.bytes:.1%}" if before.bytes else "",
        )
    if not console.is_terminal:
        console = WideConsole(width=120)
    console.print(table)


@application.command()
def explain(
    file: Annotated[str, typer.Argument(help="A file of documents.")],
    identifier: Annotated[str, typer.Option("--id", help="The document's id.")],
    config: Annotated[Path, typer.Option(help="The build's configuration.")] = Path(
        "configs/corpus/demo.toml"
    ),
) -> None:
    """Show what each rule thinks of one document."""
    from rich.console import Console
    from rich.table import Table

    from hyperclova import configuration
    from hyperclova.corpus.config import CorpusConfig
    from hyperclova.corpus.explain import explain as run
    from hyperclova.corpus.explain import find_document, find_dropped

    settings = configuration.load(CorpusConfig, config)
    document = find_document(file, identifier, settings)
    table = Table("rule", "outcome", "measure", "reason")
    result = document
    for opinion in run(document, settings):
        measure = opinion.verdict.measure
        table.add_row(
            opinion.label,
            opinion.outcome,
            "" if measure is None else f"{measure:.3g}",
            opinion.verdict.reason,
        )
        result = opinion.verdict.document or result
    console = Console()
    console.print(table)
    for record in find_dropped(settings.output, identifier):
        console.print(
            f"the build in {settings.output} dropped it: {record['rule']}: {record['reason']}",
            markup=False,
        )
    if result.text != document.text:
        console.rule("before")
        console.print(document.text[:2000], markup=False)
        console.rule("after")
        console.print(result.text[:2000], markup=False)


@application.command()
def diff(
    first: Annotated[Path, typer.Argument(help="Output directory of a build.")],
    second: Annotated[Path, typer.Argument(help="Output directory of another.")],
    json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Compare two builds: configuration, figures, documents."""
    import orjson
    from rich.console import Console

    from hyperclova.corpus.difference import compare, to_mapping
    from hyperclova.corpus.difference_table import render

    difference = compare(first, second)
    if json:
        typer.echo(orjson.dumps(to_mapping(difference), option=orjson.OPT_INDENT_2).decode())
    else:
        Console().print(render(difference))
