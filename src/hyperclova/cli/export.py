"""``hyperclova export``: checkpoints <-> model directories, and models for other engines."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from hyperclova.errors import UserError
from hyperclova.inference.exports import ForeignEngine, WeightType, check_weights


def export(
    source: Annotated[Path, typer.Argument(help="A pretraining run, or a model directory.")],
    output: Annotated[
        Path, typer.Argument(help="Model directory (for gguf: file) to write, or run to begin.")
    ],
    engine: Annotated[
        ForeignEngine | None,
        typer.Option("--for", help="Write what this engine loads.", show_default=False),
    ] = None,
    step: Annotated[
        int | None, typer.Option(help="Checkpoint of a run; the newest by default.")
    ] = None,
    weights: Annotated[
        WeightType,
        typer.Option(
            help="Type of the stored weights; float32 is lossless. The integers: int… are "
            "CTranslate2's, q8_0 is GGUF's."
        ),
    ] = WeightType.FLOAT32,
) -> None:
    """Turn a run's checkpoint into a model directory, or a model directory into a checkpoint.

    With --for: turn either into what another engine loads.
    """
    import rich
    import torch

    check_weights(engine, weights)
    is_run = (source / "run.json").exists()
    if not is_run and not (source / "config.json").exists():
        raise UserError(f"{source}: neither a pretraining run (run.json) nor a model directory")
    if step is not None and not is_run:
        raise UserError(f"{source}: --step chooses a checkpoint of a run; this is no run")
    if engine is not None:
        _export_for(engine, source, is_run, output, step, weights)
        rich.print(f"{source} -> {output}, for {engine}, weights in {weights}")
    elif is_run:
        from hyperclova.pretraining.export import export_run

        chosen = export_run(source, output, step, getattr(torch, weights))
        rich.print(f"step {chosen} of {source} -> model directory {output}")
    else:
        from hyperclova.pretraining.export import import_model

        rich.print(f"{source} -> checkpoint {import_model(source, output)}")


def _export_for(
    engine: ForeignEngine,
    source: Path,
    is_run: bool,
    output: Path,
    step: int | None,
    weights: WeightType,
) -> None:
    from hyperclova.inference.exports import export_for

    if not is_run:
        export_for(engine, source, output, weights)
        return
    from hyperclova.pretraining.export import export_run

    output.parent.mkdir(parents=True, exist_ok=True)
    # Beside the output, where there is room for weights.
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f"{output.name}.") as folder:
        directory = Path(folder) / source.resolve().name
        export_run(source, directory, step)
        export_for(engine, directory, output, weights)
