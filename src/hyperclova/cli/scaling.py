"""``hyperclova scaling``: a ladder of small sizes, the laws it obeys, the picture."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from hyperclova.pretraining.scaling.config import LadderConfig

application = typer.Typer(
    name="scaling",
    help="Scaling laws: train a ladder of sizes, fit, predict, draw.",
    no_args_is_help=True,
)


@application.command()
def run(
    config: Annotated[Path, typer.Argument(help="TOML file, see configs/scaling/.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Changes to it: section.key=value", metavar="[SECTION.KEY=VALUE]..."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; all cores by default.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be trained and stop.")
    ] = False,
) -> None:
    """Train a ladder; the same command goes on where it stopped."""
    from rich.console import Console

    from hyperclova import configuration
    from hyperclova.pretraining.scaling.config import LadderConfig

    resolved = configuration.load(LadderConfig, config, overrides or [])
    console = Console()
    if dry_run:
        _print_plan(resolved, console)
        return

    import torch

    from hyperclova.pretraining.loop import Interrupted
    from hyperclova.pretraining.scaling import run as ladder

    if threads:
        torch.set_num_threads(threads)

    def announce(name: str) -> None:
        console.rule(name)

    try:
        ladder.run(resolved, ladder.LadderWatcher(console), announce)
    except Interrupted as stop:
        console.print(f"{stop}; the same command goes on", markup=False, soft_wrap=True)
        sys.exit(stop.exit_status)
    console.print(f"ladder: {resolved.directory}", markup=False, soft_wrap=True)


@application.command()
def fit(
    ladder: Annotated[
        Path, typer.Argument(help="Directory of a ladder, or a scaling.json to fit anew.")
    ],
    output: Annotated[
        Path | None, typer.Option(help="JSON to write; default: scaling.json of the ladder.")
    ] = None,
    hold_out: Annotated[
        int, typer.Option(min=0, help="How many of the largest sizes to predict, not to fit.")
    ] = 1,
    bootstrap: Annotated[int, typer.Option(min=10, help="Fits behind each interval.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    json: Annotated[
        bool, typer.Option("--json", help="Print all as JSON, for machines, and nothing else.")
    ] = False,
) -> None:
    """Fit the laws to the smaller sizes and predict the larger."""
    from rich.console import Console

    from hyperclova.pretraining.scaling import fit as fitting
    from hyperclova.pretraining.scaling.points import read_ladder
    from hyperclova.pretraining.scaling.report import report
    from hyperclova.pretraining.scaling.results import FILE, Fit

    measured = Fit.load(ladder).ladder if ladder.is_file() else read_ladder(ladder)
    found = fitting.fit(measured, hold_out, bootstrap, seed)
    output = output or (ladder if ladder.is_file() else ladder / FILE)
    found.save(output)
    if json:
        sys.stdout.write(output.read_text(encoding="utf-8"))
        return
    console = Console()
    for part in report(found):
        console.print(part, highlight=False, soft_wrap=isinstance(part, str))
    console.print(str(output), markup=False, highlight=False, soft_wrap=True)


@application.command()
def plot(
    ladder: Annotated[
        Path, typer.Argument(help="Directory of a ladder that is fitted, or its scaling.json.")
    ],
    output: Annotated[
        Path | None, typer.Option(help="Picture to write; default: scaling.png beside the fit.")
    ] = None,
) -> None:
    """Draw loss over compute in the form of the paper's Figure 1."""
    from hyperclova.pretraining.scaling.plot import plot as draw
    from hyperclova.pretraining.scaling.results import FILE, Fit

    path = ladder if ladder.is_file() else ladder / FILE
    output = output or path.with_suffix(".png")
    draw(Fit.load(path), output)
    sys.stdout.write(f"{output}\n")


def _print_plan(config: "LadderConfig", console: "Console") -> None:
    from rich.table import Table

    from hyperclova.model import cost
    from hyperclova.pretraining.scaling.config import non_embedding
    from hyperclova.tokenizer import Tokenizer

    vocabulary = Tokenizer.load(config.data.tokenizer).vocabulary_size
    length = config.training.sequence_length
    table = Table("size", "N", "N total", "rate", "tokens", "finished runs", "FLOP")
    total = 0.0
    for size in config.sizes:
        shape = config.shape(size, vocabulary)
        marks = config.marks_of(size)
        trained = marks[-1] + sum(map(config.cooldown_tokens, marks))
        flops = trained * cost.training_flops_per_token(shape, length)
        total += flops
        table.add_row(
            size.name,
            f"{non_embedding(shape):,}",
            f"{cost.parameters(shape):,}",
            f"{config.learning_rate(size):.2e}",
            f"{marks[-1]:,}",
            str(len(marks)),
            f"{flops:.1e}",
        )
    console.print(table)
    console.print(f"{total:.1e} FLOP in all, measuring not counted", highlight=False)
