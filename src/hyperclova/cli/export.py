"""``hyperclova export``: checkpoints <-> model directories."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class WeightType(StrEnum):
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


def export(
    source: Annotated[Path, typer.Argument(help="A pretraining run, or a model directory.")],
    output: Annotated[Path, typer.Argument(help="Model directory to write, or run to begin.")],
    step: Annotated[
        int | None, typer.Option(help="Checkpoint of a run; the newest by default.")
    ] = None,
    weights: Annotated[
        WeightType, typer.Option(help="Type of the stored weights; float32 is lossless.")
    ] = WeightType.FLOAT32,
) -> None:
    """Turn a run's checkpoint into a model directory, or a model directory into a checkpoint."""
    import rich
    import torch

    from hyperclova.errors import UserError
    from hyperclova.pretraining.export import export_run, import_model

    if (source / "run.json").exists():
        chosen = export_run(source, output, step, getattr(torch, weights.value))
        rich.print(f"step {chosen} of {source} -> model directory {output}")
    elif (source / "config.json").exists():
        rich.print(f"{source} -> checkpoint {import_model(source, output)}")
    else:
        raise UserError(f"{source}: neither a pretraining run (run.json) nor a model directory")
