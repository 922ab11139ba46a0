"""``hyperclova plan``: which layouts fit on so many GPUs, and how long each would take."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hyperclova.pretraining.plan.search import Plan, Planner


def plan(
    model: Annotated[
        str,
        typer.Argument(
            help="A size of the paper's Table 2, or all of them: all; or a pretraining TOML."
        ),
    ],
    gpus: Annotated[int, typer.Option(min=1, help="How many GPUs.")] = 8,
    gpu: Annotated[
        str, typer.Option(help="a100-80gb, h100-80gb, b200 …; this-cpu measures this processor.")
    ] = "a100-80gb",
    tokens: Annotated[
        int | None, typer.Option(min=1, help="To train on: 150 billion, or what the TOML says.")
    ] = None,
    batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Of an optimiser step: 2,097,152, or the TOML's.")
    ] = None,
    sequence_length: Annotated[
        int | None, typer.Option(min=1, help="Tokens of a sample: 2,048, or the TOML's.")
    ] = None,
    vocabulary: Annotated[
        int | None, typer.Option(min=1, help="51,200, or the TOML's tokenizer's.")
    ] = None,
    price: Annotated[
        float | None, typer.Option(min=0, help="Dollars per GPU and hour; a typical one if none.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many layouts to show.")] = 5,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON, for machines.")
    ] = False,
    as_toml: Annotated[
        bool, typer.Option("--toml", help="Print the best plan's sections of a pretraining TOML.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Option(help="Draw time and memory of each: .png, .svg or .pdf.")
    ] = None,
) -> None:
    """Plan a pretraining run: layouts that fit, memory, speed, days, energy, cost; best first."""
    from hyperclova.model.sizes import SIZES
    from hyperclova.pretraining.plan.gpu import gpu_named
    from hyperclova.pretraining.plan.report import print_plans
    from hyperclova.pretraining.plan.search import Planner, to_toml
    from hyperclova.pretraining.plan.workload import changed, workload_named

    assumed = None
    if gpu == "this-cpu":
        from hyperclova.pretraining.plan.calibrate import cpu_assumptions, this_cpu

        device, assumed = this_cpu(), cpu_assumptions()
    else:
        device = gpu_named(gpu)
    found: list[Plan] = []
    refused: dict[str, str] = {}
    for name in SIZES if model == "all" else [model]:
        work, setting = workload_named(name, vocabulary)
        planner = Planner(
            changed(work, tokens, batch_tokens, sequence_length), device, gpu, assumed, price
        )
        if model == "all":
            found += _best_or_reason(planner, gpus, name, refused)
        else:
            found += planner.best(gpus, top)
            if setting is not None:
                found += planner.as_configured(setting, gpus)
    if picture is not None:
        from hyperclova.pretraining.plan.picture import draw

        draw(found, picture)
    if as_json:
        import json

        sys.stdout.write(json.dumps({"plans": [each.to_json() for each in found]}, indent=2) + "\n")
    elif as_toml:
        sys.stdout.write(to_toml(found[0]))
    else:
        print_plans(found, refused)


def _best_or_reason(
    planner: "Planner", gpus: int, name: str, refused: dict[str, str]
) -> "list[Plan]":
    from hyperclova.errors import UserError

    try:
        return planner.best(gpus, 1)
    except UserError as error:
        refused[name] = str(error)
        return []
