"""Train a ladder through the ordinary ``pretrain``, one stage after another.

What is done stays done: the same call goes on where a killed ladder stopped, inside a run by the
run's own checkpoints. A stage is done when its last evaluation is in its metrics.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from hyperclova.configuration import to_mapping
from hyperclova.corpus.split import HELD_OUT, TRAIN
from hyperclova.durable import write_json
from hyperclova.errors import UserError
from hyperclova.model import cost
from hyperclova.pretraining import checkpoint
from hyperclova.pretraining.live import LineWatcher
from hyperclova.pretraining.loop import pretrain
from hyperclova.pretraining.metrics import read_metrics
from hyperclova.pretraining.reports import Progress, Watcher
from hyperclova.pretraining.scaling.config import (
    LadderConfig,
    Stage,
    data_directory,
    non_embedding,
    stages,
)
from hyperclova.pretraining.scaling.points import RECORD, read_record
from hyperclova.tokenizer import Tokenizer
from hyperclova.tokens.batches import held_out_windows
from hyperclova.tokens.shards import open_shards


class LadderWatcher(LineWatcher):
    """A line for each evaluation; of the steps only one in a hundred."""

    def step(self, progress: Progress) -> None:
        if progress.step % 100 == 0:
            super().step(progress)

    def saved(self, step: int, path: Path) -> None:
        pass


def run(
    config: LadderConfig,
    watcher: Watcher | None = None,
    announce: Callable[[str], None] = lambda line: None,
) -> None:
    """Train every stage that isn't done yet.

    Args:
        config: the ladder; sizes may be added and lengthened between calls, all else stays.
        watcher: sees every run; None prints lines.
        announce: gets the name of each stage before it begins.

    Raises:
        UserError: the directory holds another ladder, or there is no held-out shard of
            ``measure.source``; and what ``pretrain`` raises.
        Interrupted: asked to stop; the run in hand is saved.
    """
    watcher = watcher or LadderWatcher(Console())
    tokenizer = Tokenizer.load(config.data.tokenizer)
    _claim(config)
    _lay_out_data(config)
    write_json(config.directory / RECORD, _record(config, tokenizer))
    for stage in stages(config):
        if not _done(stage):
            announce(stage.name)
            _train(stage, watcher)


def _train(stage: Stage, watcher: Watcher) -> None:
    run = stage.pretraining
    checkpoints = run.directory / "checkpoints"
    if stage.branch_of is not None and not checkpoints.exists():
        _branch(stage.branch_of / "checkpoints", checkpoints)
    whole = checkpoint.steps(checkpoints)
    if whole and whole[-1] >= run.training.steps:
        # Killed between the last checkpoint and its evaluation: go back and come again.
        if stage.branch_of is not None:
            shutil.rmtree(run.directory)
            _branch(stage.branch_of / "checkpoints", checkpoints)
        else:
            shutil.rmtree(checkpoint.path_of(checkpoints, whole[-1]))
    pretrain(run, watcher, resume=True)
    assert _done(stage), "a run ends with an evaluation"


def _branch(source: Path, target: Path) -> None:
    """Copy a run's checkpoints; what carries the name ``target`` is whole."""
    partial = target.with_name(target.name + ".incomplete")
    if partial.exists():
        shutil.rmtree(partial)
    partial.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, partial, ignore=shutil.ignore_patterns("*.incomplete"))
    partial.rename(target)


def _done(stage: Stage) -> bool:
    """Whether the run stands at the stage's end or beyond, evaluated."""
    path = stage.pretraining.directory / "metrics.jsonl"
    if not path.exists():
        return False
    last = stage.pretraining.training.steps
    return any(record["step"] == last for record in read_metrics(path, "evaluation"))


def _claim(config: LadderConfig) -> None:
    path = config.directory / RECORD
    if not path.exists():
        config.directory.mkdir(parents=True, exist_ok=True)
        return
    before, now = read_record(config.directory)["configuration"], to_mapping(config)
    for key in now:
        # Sizes may be added; what each did is in its own directory.
        if key not in ("sizes", "directory") and before.get(key) != now[key]:
            changed = _first_difference(key, before.get(key), now[key])
            raise UserError(
                f"{path}: the ladder there has another {changed}; "
                "choose another directory, or the same configuration to go on"
            )


def _first_difference(name: str, before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in now:
            if before.get(key) != now[key]:
                return _first_difference(f"{name}.{key}", before.get(key), now[key])
    return f"{name}: {before!r}, not {now!r}"


def _lay_out_data(config: LadderConfig) -> None:
    """Links to all shards to train on and to the held-out shards of one source.

    So ``pretrain`` itself measures on that source alone, as it does for any run.
    """
    source, target = config.data.directory.resolve(), data_directory(config.directory)
    wanted = [
        shard
        for shard in open_shards(source / HELD_OUT)
        if shard.index.source == config.measure.source
    ]
    if not wanted:
        raise UserError(
            f"{source / HELD_OUT}: no shard of the source {config.measure.source!r}; name another "
            "as measure.source, or tokenize with --held-out"
        )
    if target.exists():
        shutil.rmtree(target)
    (target / HELD_OUT).mkdir(parents=True)
    (target / TRAIN).symlink_to(source / TRAIN, target_is_directory=True)
    for shard in wanted:
        stem = shard.path.name.removesuffix(".json")
        for suffix in (".json", ".tokens.npy", ".offsets.npy"):
            (target / HELD_OUT / (stem + suffix)).symlink_to(shard.path.with_name(stem + suffix))


def _record(config: LadderConfig, tokenizer: Tokenizer) -> dict[str, Any]:
    """The configuration, and what it takes to read the runs without tokenizer or shards."""
    length = config.training.sequence_length
    rows: list[dict[str, Any]] = []
    for size in config.sizes:
        shape = config.shape(size, tokenizer.vocabulary_size)
        rows.append(
            {
                "name": size.name,
                "parameters": cost.parameters(shape),
                "non_embedding_parameters": non_embedding(shape),
                "training_flops_per_token": cost.training_flops_per_token(shape, length),
                "learning_rate": config.learning_rate(size),
                "marks": config.marks_of(size),
            }
        )
    rows.sort(key=lambda row: row["non_embedding_parameters"])
    tokens, text_bytes = _measured_text(config, tokenizer)
    return {
        "configuration": to_mapping(config),
        "vocabulary_size": tokenizer.vocabulary_size,
        "held_out": {
            "source": config.measure.source,
            "text_tokens": tokens,
            "text_bytes": text_bytes,
        },
        "sizes": rows,
    }


def _measured_text(config: LadderConfig, tokenizer: Tokenizer) -> tuple[int, int]:
    """Targets that stand for text in the windows ``pretrain`` measures on, and their bytes."""
    windows = held_out_windows(
        data_directory(config.directory) / HELD_OUT,
        config.training.sequence_length,
        config.measure.tokens,
    )
    lengths = np.array(
        [len(tokenizer.token_bytes(token)) for token in range(tokenizer.vocabulary_size)]
    )
    lengths[tokenizer.end_of_text_id] = 0
    found = lengths[windows[:, 1:]]
    return int((found > 0).sum()), int(found.sum())
