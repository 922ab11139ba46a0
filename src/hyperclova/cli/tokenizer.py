"""``hyperclova tokenizer``: train, use and compare tokenizers."""

import enum
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hyperclova.tokenizer.compare import Measurement

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


Directory = Annotated[
    Path | None,
    typer.Option("--tokenizer", "-t", help="Tokenizer or model directory; default: our model's."),
]


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
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that analyse morphemes.")
    ] = os.cpu_count() or 1,
) -> None:
    """Train a tokenizer on Korean text."""
    from contextlib import ExitStack

    from rich.console import Console

    from hyperclova.cli.reading import reading
    from hyperclova.tokenizer.sample import sample_texts
    from hyperclova.tokenizer.train import train as train_tokenizer

    console = Console(stderr=True)
    size = 0
    with ExitStack() as shown:
        if sample:
            console.print("choosing the sample")
        show = shown.enter_context(reading(console))

        def watched() -> Iterator[str]:
            nonlocal size
            count = 0
            for count, text in enumerate(sample_texts(files, sample, seed, balance), start=1):
                size += len(text.encode("utf-8"))
                yield text
                if count % 64 == 0:
                    show("read", count, size)
            show("read", count, size)
            shown.close()
            console.print(f"{size / 1e6:,.1f} MB read; merging", highlight=False)
            shown.enter_context(console.status("merging"))

        tokenizer = train_tokenizer(
            watched(), vocabulary_size, kind.value, unit.value, workers=workers
        )
    tokenizer.save(output)
    console.print(
        f"{output}: {tokenizer.vocabulary_size:,} ids from {size / 1e6:,.1f} MB, "
        f"fingerprint {tokenizer.fingerprint[:16]}",
        highlight=False,
        soft_wrap=True,
    )


@application.command()
def encode(
    text: Annotated[str | None, typer.Argument(help="The text; default: standard input.")] = None,
    tokenizer: Directory = None,
    pieces: Annotated[
        bool, typer.Option("--pieces", help="One token a line: id, characters, text.")
    ] = False,
) -> None:
    """Print the ids of a text, separated by spaces."""
    from hyperclova.tokenizer import Tokenizer

    loaded = Tokenizer.load(tokenizer or _default())
    if text is None:
        text = _standard_input()
    if not pieces:
        typer.echo(" ".join(map(str, loaded.encode(text))))
        return
    encoding = loaded.encode_with_offsets(text)
    for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
        data = loaded.token_bytes(token)
        try:
            shown = repr(data.decode("utf-8"))
        except UnicodeDecodeError:  # part of a character
            shown = f"{data.hex(' ')} of {text[start:end]!r}"
        typer.echo(f"{token}\t{start}:{end}\t{shown}")


@application.command()
def decode(
    ids: Annotated[list[int] | None, typer.Argument(help="Ids; default: standard input.")] = None,
    tokenizer: Directory = None,
) -> None:
    """Print the text of ids, as it is and without a newline of our own."""
    from hyperclova.errors import UserError
    from hyperclova.tokenizer import Tokenizer

    loaded = Tokenizer.load(tokenizer or _default())
    if not ids:
        try:
            ids = [int(word) for word in _standard_input().split()]
        except ValueError as error:
            raise UserError(f"standard input: not ids: {error}") from None
    try:
        data = loaded.decode(ids).encode("utf-8")
    except ValueError as error:
        raise UserError(str(error)) from None
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


@application.command()
def compare(
    tokenizers: Annotated[list[Path], typer.Argument(help="Tokenizer directories.")],
    text: Annotated[list[Path], typer.Option(help="*.jsonl or *.txt, also .gz and .zst.")],
    sample: Annotated[
        float | None, typer.Option(help="Megabytes of text to compare on; default: all.")
    ] = None,
    balance: Annotated[
        bool, typer.Option("--balance", help="Give every source the same share of the sample.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Another seed samples other documents.")] = 1,
    without_analyser: Annotated[
        bool,
        typer.Option(
            "--without-analyser",
            help="Also measure what tokenizer.json alone, as other programs load it, makes of it.",
        ),
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="Directory for comparison.json and comparison.png.")
    ] = None,
) -> None:
    """Compare tokenizers on a text: length, unknown characters, speed."""
    import json

    from rich.console import Console

    from hyperclova.tokenizer import Tokenizer
    from hyperclova.tokenizer import compare as comparison
    from hyperclova.tokenizer.sample import sample_texts

    # Load everything first: a wrong directory should not cost a measurement.
    loaded = [(_name(path), Tokenizer.load(path)) for path in tokenizers]
    console = Console(stderr=True)
    with console.status("reading"):
        texts = list(sample_texts(text, sample, seed, balance))
    measurements = []
    for name, tokenizer in loaded:
        with console.status(f"measuring {name}"):
            measurements.append(comparison.measure(tokenizer, texts, name))
    _print(measurements)
    if without_analyser:
        for name, tokenizer in loaded:
            if tokenizer.kind == "morpheme":
                agreement = comparison.without_analyser(tokenizer, texts)
                typer.echo(
                    f"{name} without the analyser: {agreement.lines:.1%} of the lines have the "
                    f"same ids, span F1 {agreement.spans:.3f}"
                )
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        rows = [measurement.to_mapping() for measurement in measurements]
        content = json.dumps(rows, ensure_ascii=False, indent=2) + "\n"
        (output / "comparison.json").write_text(content, encoding="utf-8")
        comparison.draw(measurements, output / "comparison.png")
        console.print(f"{output}: comparison.json and comparison.png", highlight=False)


def _print(measurements: "list[Measurement]") -> None:
    from rich.console import Console
    from rich.table import Table

    first = measurements[0]
    table = Table(
        title=(
            f"{first.documents:,} documents, {first.characters:,} characters, "
            f"{first.bytes / 1e6:,.2f} MB; one thread, processor time"
        ),
        title_justify="left",
    )
    table.add_column("tokenizer")
    for heading in (
        "ids",
        "tokens/\ncharacter",
        "bytes/\ntoken",
        "OOV",
        "exact",
        "MB/s\ncold",
        "MB/s\nnew text",
        "MB/s\nrepeated",
    ):
        table.add_column(heading, justify="right")
    for m in measurements:
        new = "–" if m.new_text_rate is None else f"{m.new_text_rate:.2f}"
        table.add_row(
            m.name,
            f"{m.vocabulary_size:,}",
            f"{m.tokens_per_character:.4f}",
            f"{m.bytes_per_token:.3f}",
            f"{m.unknown_rate:.3%}",
            f"{m.exact:.1%}",
            f"{m.cold_rate:.2f}",
            new,
            f"{m.repeated_rate:.2f}",
        )
    console = Console()
    if not console.is_terminal:  # a file or a pipe has no 80 columns
        console = Console(width=160)
    console.print(table)


def _name(path: Path) -> str:
    return path.absolute().name


def _default() -> Path:
    from hyperclova import directories

    return directories.default_model()


def _standard_input() -> str:
    from hyperclova.errors import UserError

    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"standard input: not UTF-8 at byte {error.start}; convert it with iconv"
        ) from None
