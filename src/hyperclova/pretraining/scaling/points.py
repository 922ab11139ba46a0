"""What a ladder measured: every evaluation of every run, as one row each."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperclova.errors import UserError
from hyperclova.pretraining.metrics import read_metrics
from hyperclova.pretraining.scaling.config import run_directory

RECORD = "ladder.json"
"""Written into a ladder's directory before anything runs."""

RECENT = 0.1
"""Training loss is the mean over this share of the steps so far: single batches scatter."""


@dataclass(frozen=True)
class Point:
    """One evaluation."""

    size: str
    parameters: int
    """All, the tied embedding counted once."""
    non_embedding_parameters: int
    tokens: int
    flops: int
    """Of training up to here: forward and backward, output head and attention included."""
    finished: bool
    """Cooled down; else taken from a run at the constant learning rate."""
    training_loss: float
    """Nats per token, mean over the last tenth of the steps."""
    loss: float
    """Nats per token of the held-out text."""
    bits_per_byte: float
    """Of the same text."""


@dataclass(frozen=True)
class Ladder:
    """The points of a ladder, sizes ascending, and what they were measured on."""

    source: str
    vocabulary_size: int
    context_length: int
    points: tuple[Point, ...]

    @property
    def sizes(self) -> list[str]:
        """Names, by non-embedding parameters."""
        return list(dict.fromkeys(point.size for point in self.points))


def read_record(ladder: Path) -> dict[str, Any]:
    """What ``scaling run`` wrote down about a ladder.

    Raises:
        UserError: there is no ladder in the directory.
    """
    try:
        record: dict[str, Any] = json.loads((ladder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{ladder}: no ladder here; run 'hyperclova scaling run' first") from None
    return record


def read_ladder(directory: Path) -> Ladder:
    """All evaluations so far; a ladder that still runs can be read too.

    Raises:
        UserError: no ladder, or nothing measured yet.
    """
    record = read_record(directory)
    held_out = record["held_out"]
    # bits per byte = nats / (ln 2 · bytes): the same nats, shared out over other units.
    nats_per_token = math.log(2) * held_out["text_bytes"] / held_out["text_tokens"]
    points = []
    for size in record["sizes"]:
        for mark in (None, *size["marks"]):
            metrics = run_directory(directory, size["name"], mark) / "metrics.jsonl"
            if not metrics.exists():
                continue
            losses = _training_losses(directory, size, mark)
            last = max(losses, default=0)
            for evaluation in read_metrics(metrics, "evaluation"):
                step = evaluation["step"]
                if mark is not None and step < last:
                    continue
                points.append(
                    Point(
                        size["name"],
                        size["parameters"],
                        size["non_embedding_parameters"],
                        evaluation["tokens"],
                        evaluation["tokens"] * size["training_flops_per_token"],
                        mark is not None,
                        _recent_mean(losses, step),
                        evaluation["bits_per_byte"] * nats_per_token,
                        evaluation["bits_per_byte"],
                    )
                )
    if not points:
        raise UserError(f"{directory}: nothing is measured yet; let 'hyperclova scaling run' go on")
    return Ladder(
        held_out["source"],
        record["vocabulary_size"],
        record["configuration"]["training"]["sequence_length"],
        tuple(points),
    )


def _training_losses(directory: Path, size: dict[str, Any], mark: int | None) -> dict[int, float]:
    """Loss by step; a cooldown's only from its own steps, for before them the rate was another."""
    metrics = run_directory(directory, size["name"], mark) / "metrics.jsonl"
    return {record["step"]: record["loss"] for record in read_metrics(metrics, "train")}


def _recent_mean(losses: dict[int, float], step: int) -> float:
    first = step - max(1, round(RECENT * step))
    recent = [loss for at, loss in losses.items() if first < at <= step]
    return sum(recent) / len(recent)
