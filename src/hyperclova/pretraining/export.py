"""Checkpoint <-> model directory, lossless both ways."""

import json
from pathlib import Path

import torch

from hyperclova.configuration import build
from hyperclova.errors import UserError
from hyperclova.model import GPT, cost
from hyperclova.model.directory import load_model, save_model
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
    card = directory / "README.md"
    if not card.exists():
        card.write_text(_card(model, tokenizer, run), encoding="utf-8")


def load_run(run: Path, step: int | None = None) -> tuple[GPT, PretrainingConfig, int]:
    """The model of a pretraining run at ``step`` (None: the newest checkpoint).

    Raises:
        UserError: no run, or no such checkpoint there.
    """
    record_path = run / "run.json"
    try:
        record = json.loads(record_path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{record_path}: {error}; is {run} a pretraining run?") from None
    config = build(PretrainingConfig, _without_none(record["configuration"]), str(record_path))
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
    tokenizer = Tokenizer.load(config.data.tokenizer)
    model = GPT(config.model.shape(tokenizer.vocabulary_size), config.training.seed)
    checkpoint.load(checkpoint.path_of(checkpoints, chosen), model)
    return model.eval(), config, chosen


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
    model = load_model(directory)
    tokenizer = Tokenizer.load(directory)
    optimizer = build_optimizer(model, OptimizerSection(), learning_rate=0.0)
    for parameter in model.parameters():
        optimizer.state[parameter] = {
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
            "step": torch.zeros((), dtype=torch.float32),
        }
    state = checkpoint.TrainingState(0, 0, 0, tokenizer.fingerprint)
    return checkpoint.save(checkpoints, state, model, optimizer, keep=1)


def _without_none(tree: object) -> dict[str, object]:
    assert isinstance(tree, dict)
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in tree.items()
        if value is not None
    }


def _card(model: GPT, tokenizer: Tokenizer, run: Path | None) -> str:
    shape = model.config
    lines = [
        "---",
        "language: ko",
        "library_name: transformers",
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
