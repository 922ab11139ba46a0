"""``hyperclova tokenizer``: train, use and compare tokenizers."""

import enum
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

application = typer.Typer(
    name="tokenizer", help="Train, use and compare tokenizers.", no_args_is_help=True
)


class Kind(enum.StrEnum):
    """What merges may look like."""

    MORPHEME = "morpheme"
    BYTE = "byte"
    CHARACTER = "character"


class Unit(enum.StrEnum):
    """What the morpheme analyser sees at once."""

    WORD = "word"
    SENTENCE = "sentence"


@application.command()
def train(
    files: Annotated[list[Path], typer.Argument(help="*.jsonl or *.txt, also .gz and .zst.")],
    output: Annotated[Path, typer.Option(help="Directory to write the tokenizer to.")],
    vocabulary_size: Annotated[
        int, typer.Option(help="Number of ids, the 256 bytes and control tokens included.")
    ] = 51_200,
    kind: Annotated[
        Kind, typer.Option(help="The paper's tokenizer, or one of its baselines.")
    ] = Kind.MORPHEME,
    unit: Annotated[Unit, typer.Option(help="What the analyser sees at once.")] = Unit.WORD,
    sample: Annotated[
        float | None, typer.Option(help="Megabytes of text to train on; default: all.")
    ] = None,
    balance: Annotated[
        bool, typer.Option("--balance", help="Give every source the same share of the sample.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Another seed samples other documents.")] = 0,
) -> None:
    """Train a tokenizer on Korean text."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from hyperclova.tokenizer.sample import sample_texts
    from hyperclova.tokenizer.train import train as train_tokenizer

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("reading")
        size = 0

        def watched() -> Iterator[str]:
            nonlocal size
            for count, text in enumerate(sample_texts(files, sample, seed, balance), start=1):
                size += len(text.encode("utf-8"))
                yield text
                if count % 64 == 0:
                    progress.update(task, description=f"{count:,} documents, {size / 1e6:,.1f} MB")
            progress.update(task, description=f"{size / 1e6:,.1f} MB read, merging")

        tokenizer = train_tokenizer(watched(), vocabulary_size, kind.value, unit.value)
    tokenizer.save(output)
    console.print(
        f"{output}: {tokenizer.vocabulary_size:,} ids from {size / 1e6:,.1f} MB, "
        f"fingerprint {tokenizer.fingerprint[:16]}",
        highlight=False,
    )
