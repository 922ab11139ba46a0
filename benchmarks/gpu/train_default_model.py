"""Train the model we ship on a GPU, in portions that each fit a short command.

    python benchmarks/gpu/train_default_model.py --tokens DIR --output OUT --minutes 9

The portion ends by itself, saves a checkpoint and copies it to ``OUT`` in pieces of 15 MiB.
Give ``--resume OUT`` of the portion before to go on from there. After the last one, ``OUT`` also
holds the model directory, its weights in bfloat16, in pieces too; ``cat`` joins them.
"""

import argparse
import os
import shutil
import signal
import threading
from pathlib import Path

import torch
from rich.console import Console

from hyperclova import configuration
from hyperclova.pretraining import checkpoint
from hyperclova.pretraining.config import PretrainingConfig
from hyperclova.pretraining.export import export_run
from hyperclova.pretraining.live import LineWatcher
from hyperclova.pretraining.loop import Interrupted, pretrain

PIECE = 15 << 20


def split(source: Path, target: Path) -> None:
    """Copy a tree; files above a piece's size become ``NAME.000``, ``NAME.001``, …"""
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        there = target / path.relative_to(source)
        there.parent.mkdir(parents=True, exist_ok=True)
        if path.stat().st_size <= PIECE:
            shutil.copyfile(path, there)
            continue
        with path.open("rb") as file:
            for number, piece in enumerate(iter(lambda: file.read(PIECE), b"")):
                there.with_name(f"{there.name}.{number:03}").write_bytes(piece)


def join(source: Path, target: Path) -> None:
    """Undo :func:`split`."""
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        there = target / path.relative_to(source)
        there.parent.mkdir(parents=True, exist_ok=True)
        whole, _, number = there.name.rpartition(".")
        if len(number) == 3 and number.isdigit():
            with there.with_name(whole).open("ab" if int(number) else "wb") as file:
                file.write(path.read_bytes())
        else:
            shutil.copyfile(path, there)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, default=Path("configs/pretrain/default-gpu.toml"))
    parser.add_argument("--tokens", type=Path, required=True, help="token shards")
    parser.add_argument("--tokenizer", type=Path, default=Path("models/hyperclova-small"))
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--resume", type=Path, help="output of the portion before")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("overrides", nargs="*", help="section.key=value")
    arguments = parser.parse_args()

    run = arguments.output / "scratch-run"
    if arguments.resume:
        join(arguments.resume / "run", run)
    overrides = [
        f"directory={run}",
        f"data.directory={arguments.tokens}",
        f"data.tokenizer={arguments.tokenizer}",
        *arguments.overrides,
    ]
    config = configuration.load(PretrainingConfig, arguments.config, overrides)
    alarm = threading.Timer(arguments.minutes * 60, os.kill, (os.getpid(), signal.SIGTERM))
    alarm.daemon = True
    alarm.start()
    try:
        pretrain(config, LineWatcher(Console()), resume=True)
        export_run(run, run / "model", dtype=torch.bfloat16)
        split(run / "model", arguments.output / "model")
    except Interrupted as stop:
        Console().print(f"{stop}; the next portion goes on from here", markup=False)
    alarm.cancel()
    newest = checkpoint.steps(run / "checkpoints")[-1]
    name = checkpoint.path_of(run / "checkpoints", newest).name
    split(run / "checkpoints" / name, arguments.output / "run" / "checkpoints" / name)
    for file in ("metrics.jsonl", "run.json"):
        shutil.copyfile(run / file, arguments.output / "run" / file)
    shutil.rmtree(run)


if __name__ == "__main__":
    main()
