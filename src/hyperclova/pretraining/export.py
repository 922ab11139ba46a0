"""Checkpoint <-> model directory, lossless both ways."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from hyperclova.configuration import build
from hyperclova.errors import UserError
from hyperclova.model import GPT, GPTConfig, cost
from hyperclova.model.directory import load_model, save_model, save_weights
from hyperclova.parallel.place import alone
from hyperclova.pretraining import checkpoint
from hyperclova.pretraining.config import OptimizerSection, PretrainingConfig
from hyperclova.pretraining.metrics import read_metrics
from hyperclova.pretraining.optimizer import build_optimizer
from hyperclova.tokenizer import Tokenizer


def export_model(
    model: GPT,
    tokenizer: Tokenizer,
    directory: Path,
    run: Path | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write weights, shape, tokenizer and a card, unless a card stands there already.

    Args:
        run: the pretraining run it came from, for the card.
        dtype: of the stored weights; anything but float32 rounds them.
    """
    save_model(model, directory, dtype, tokenizer.end_of_text_id)
    tokenizer.save(directory)
    _write_card(model.config, tokenizer, directory, run)


def _write_card(shape: GPTConfig, tokenizer: Tokenizer, directory: Path, run: Path | None) -> None:
    card = directory / "README.md"
    if not card.exists():
        card.write_text(_card(shape, tokenizer, run), encoding="utf-8")


def export_run(
    run: Path, directory: Path, step: int | None = None, dtype: torch.dtype = torch.float32
) -> int:
    """Write the model of a pretraining run, whatever its layout, as a model directory.

    Parameters are read from the checkpoint and written a file at a time, so a machine that could
    not hold the model can export it.

    Args:
        step: of the checkpoint; None: the newest.

    Returns:
        The checkpoint's step.

    Raises:
        UserError: no run, or no such checkpoint there.
    """
    config = read_configuration(run)
    path, step = _checkpoint_of(run, step)
    tokenizer = Tokenizer.load(config.data.tokenizer)
    shape = config.shape(tokenizer.vocabulary_size)
    with torch.device("meta"):
        shapes = {name: parameter.shape for name, parameter in GPT(shape).named_parameters()}

    def read(names: Sequence[str]) -> dict[str, Tensor]:
        tensors = {name: torch.empty(shapes[name]) for name in names}
        checkpoint.read_tensors(path, {"model": tensors}, alone=True)
        return tensors

    save_weights(shape, read, directory, dtype, tokenizer.end_of_text_id)
    tokenizer.save(directory)
    _write_card(shape, tokenizer, directory, run)
    return step


def read_configuration(run: Path) -> PretrainingConfig:
    """What a run was, or is, trained with.

    Raises:
        UserError: no run there.
    """
    path = run / "run.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {error}; is {run} a pretraining run?") from None
    return build(PretrainingConfig, _without_none(record["configuration"]), str(path))


def _checkpoint_of(run: Path, step: int | None) -> tuple[Path, int]:
    checkpoints = run / "checkpoints"
    available = checkpoint.steps(checkpoints)
    if not available:
        raise UserError(f"{checkpoints}: no whole checkpoint yet")
    chosen = available[-1] if step is None else step
    if chosen not in available:
        raise UserError(
            f"{checkpoints}: no checkpoint of step {chosen}; "
            f"there are {', '.join(map(str, available))}"
        )
    path = checkpoint.path_of(checkpoints, chosen)
    checkpoint.read_state(path)
    return path, chosen


def import_model(directory: Path, output: Path) -> Path:
    """A model directory as a checkpoint of step 0, to go on training from.

    Returns:
        The checkpoint's path in ``output/checkpoints``.

    Raises:
        UserError: not a readable model directory, or ``output`` holds checkpoints already.
    """
    checkpoints = output / "checkpoints"
    if checkpoint.steps(checkpoints):
        raise UserError(f"{output}: holds checkpoints already; choose another directory")
    placed = alone(load_model(directory))
    optimizer = build_optimizer(placed, OptimizerSection(), learning_rate=0.0)
    state = checkpoint.TrainingState(0, 0, 0, Tokenizer.load(directory).fingerprint)
    writer = checkpoint.Checkpoints(checkpoints, keep=1)
    path = writer.save(state, placed, optimizer)
    writer.close()
    return path


def _without_none(tree: object) -> dict[str, object]:
    assert isinstance(tree, dict)
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in tree.items()
        if value is not None
    }


def _card(shape: GPTConfig, tokenizer: Tokenizer, run: Path | None) -> str:
    lines = [
        "---",
        "language: ko",
        f"library_name: {'hyperclova' if shape.query_key_norm else 'transformers'}",
        "pipeline_tag: text-generation",
        "---",
        "",
        "# A Korean GPT",
        "",
        f"GPT-3's decoder with {cost.parameters(shape):,} parameters: {shape.layers} layers, width "
        f"{shape.width}, {shape.heads} heads, context {shape.context_length:,}.",
        "",
        f"Tokenizer: {tokenizer.vocabulary_size:,} tokens, fingerprint `{tokenizer.fingerprint}`. "
        "Use `hyperclova.tokenizer.Tokenizer`: `tokenizer.json` alone lacks the morpheme analyser "
        "and gives other ids for raw text.",
    ]
    if shape.query_key_norm:
        lines += [
            "",
            "Queries and keys pass a LayerNorm: `hyperclova` loads this model, not "
            "`transformers`, which knows no GPT-2 of this kind.",
        ]
    metrics = run / "metrics.jsonl" if run else None
    if metrics and metrics.exists():
        steps, evaluations = read_metrics(metrics, "train"), read_metrics(metrics, "evaluation")
        if steps:
            lines += [
                "",
                f"Trained on {steps[-1]['tokens']:,} tokens, last loss {steps[-1]['loss']:.4f}.",
            ]
        if evaluations:
            lines += [f"Held-out: {evaluations[-1]['bits_per_byte']:.4f} bits per byte."]
    return "\n".join(lines) + "\n"
