"""``hyperclova tokenize``: documents -> token shards."""

import os
from pathlib import Path
from typing import Annotated

import typer


def tokenize(
    inputs: Annotated[list[Path], typer.Argument(help="Documents: .jsonl, .jsonl.gz, .jsonl.zst")],
    tokenizer: Annotated[Path, typer.Option(help="Tokenizer directory.")],
    output: Annotated[Path, typer.Option(help="Directory that gets train/ and held-out/.")],
    held_out: Annotated[
        float, typer.Option(help="Share of documents held out, by a hash of their id.")
    ] = 0.01,
    keep_out: Annotated[
        list[Path] | None,
        typer.Option(
            help="Text files of evaluation examples, one a line; documents that share "
            "eight words in a row with one are left out."
        ),
    ] = None,
    title: Annotated[bool, typer.Option(help="Write titles before texts.")] = True,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = os.cpu_count() or 1,
) -> None:
    """Tokenize documents in parallel. Run it again to go on after an interruption."""
    from rich.console import Console
    from rich.table import Table

    from hyperclova.cli.reading import reading
    from hyperclova.corpus.split import HELD_OUT, TRAIN
    from hyperclova.tokens.tokenize import Job
    from hyperclova.tokens.tokenize import tokenize as run

    job = Job(
        tuple(inputs),
        tokenizer,
        output,
        held_out=held_out,
        keep_out=tuple(keep_out or ()),
        title=title,
        workers=workers,
    )
    console = Console()
    with reading(console) as show:
        receipts = run(job, lambda path, documents, size: show(path.name, documents, size))
    table = Table(
        "file", "train tokens", "held-out tokens", "bytes per token", "contaminated", "empty"
    )
    for receipt in receipts:
        tokens = sum(receipt.tokens.values())
        table.add_row(
            Path(receipt.input).name,
            f"{receipt.tokens.get(TRAIN, 0):,}",
            f"{receipt.tokens.get(HELD_OUT, 0):,}",
            f"{sum(receipt.text_bytes.values()) / tokens:.2f}" if tokens else "",
            f"{receipt.contaminated:,}",
            f"{receipt.empty:,}",
        )
    if not console.is_terminal:
        console = Console(width=120)  # a file or pipe has no width of its own to cut columns to
    console.print(table)
