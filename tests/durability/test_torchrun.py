"""Schedulers' ways to end a process, and what a run of several processes makes of them."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import torch
import torch.distributed as dist
from rich.console import Console
from test_pretraining_killed import write_configuration

from hyperclova import configuration
from hyperclova.model.directory import load_model
from hyperclova.parallel.layout import Layout
from hyperclova.pretraining import checkpoint
from hyperclova.pretraining.config import PretrainingConfig
from hyperclova.pretraining.export import export_run
from hyperclova.pretraining.live import LineWatcher
from hyperclova.pretraining.loop import Interrupted, pretrain
from hyperclova.pretraining.metrics import read_metrics
from processes import run_together

STEPS = 24


def run_of(inputs: Path, name: str) -> PretrainingConfig:
    config = configuration.load(PretrainingConfig, write_configuration(inputs, name))
    training = dataclasses.replace(config.training, tokens=STEPS * 256)
    section = dataclasses.replace(config.checkpoint, every_steps=4)
    return dataclasses.replace(config, training=training, layout=Layout(dp=2), checkpoint=section)


def train(config: PretrainingConfig, stop_rank: int | None = None, records: int = 0) -> int:
    """The step at which the run stopped, or 0 if it came to its end.

    Args:
        stop_rank: is asked to stop once there are so many records of metrics.
    """
    metrics = config.directory / "metrics.jsonl"

    def ask_to_stop() -> None:
        while not metrics.exists() or len(metrics.read_text().splitlines()) < records:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    if dist.get_rank() == stop_rank:
        threading.Thread(target=ask_to_stop, daemon=True).start()
    with Path(os.devnull).open("w") as nowhere:
        try:
            pretrain(config, LineWatcher(Console(file=nowhere)), resume=True)
        except Interrupted as stop:
            assert stop.signal_number == signal.SIGTERM
            return stop.step
    return 0


def weights_of(config: PretrainingConfig) -> dict[str, torch.Tensor]:
    export_run(config.directory, config.directory / "exported")
    return load_model(config.directory / "exported").state_dict()


def losses_of(config: PretrainingConfig) -> list[tuple[int, float]]:
    records = read_metrics(config.directory / "metrics.jsonl", "train")
    return [(record["step"], record["loss"]) for record in records]


def assert_same_run(first: PretrainingConfig, second: PretrainingConfig) -> None:
    assert losses_of(first) == losses_of(second)
    assert [step for step, _ in losses_of(first)] == list(range(1, STEPS + 1))
    other = weights_of(second)
    for name, tensor in weights_of(first).items():
        assert torch.equal(tensor, other[name]), name


def test_a_signal_to_one_rank_stops_all_after_the_same_step(inputs: Path) -> None:
    """Whichever rank it is: all save that step, and the run goes on from it."""
    whole, stopped = run_of(inputs, "whole"), run_of(inputs, "stopped")
    assert run_together(2, train, whole) == [0, 0]
    first, second = run_together(2, train, stopped, 1, 3)
    assert 0 < first == second < STEPS
    assert checkpoint.steps(stopped.directory / "checkpoints")[-1] == first
    third, fourth = run_together(2, train, stopped, 0, first + 3)
    assert first < third == fourth < STEPS
    assert run_together(2, train, stopped) == [0, 0]
    assert_same_run(whole, stopped)


@contextmanager
def torchrun(config: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "--max-restarts", "3", "-m", "hyperclova"]
    command += [
        "pretrain",
        str(config),
        "layout.dp=2",
        "checkpoint.every_steps=4",
        f"training.tokens={STEPS * 256}",
    ]
    process = subprocess.Popen(
        [*command, "--threads", "1", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def worker(process: subprocess.Popen[str], rank: int) -> psutil.Process:
    children = psutil.Process(process.pid).children(recursive=True)
    (found,) = [child for child in children if child.environ().get("RANK") == str(rank)]
    return found


def wait_for_step(process: subprocess.Popen[str], step: int) -> str:
    """What it said until it reported this step or a later one."""
    said = ""
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        found = re.search(rf"step (\d+)/{STEPS} ", line)
        if found and int(found[1]) >= step:
            return said
    raise AssertionError(said)


@pytest.mark.slow
def test_torchrun_stopped_and_killed_ends_at_the_same_bits(inputs: Path) -> None:
    """The real launcher: SIGTERM from a scheduler, then kill -9 of a rank, without a person."""
    whole, config = run_of(inputs, "whole"), run_of(inputs, "run")
    assert run_together(2, train, whole) == [0, 0]

    with torchrun(inputs / "run.toml") as process:
        wait_for_step(process, 3)
        process.terminate()
        said, _ = process.communicate(timeout=120)
        assert process.returncode not in (0, 2), said
    stopped_at = checkpoint.steps(config.directory / "checkpoints")[-1]
    assert losses_of(config)[-1][0] == stopped_at  # the step it was in, not an earlier one

    with torchrun(inputs / "run.toml", "--resume") as process:
        said = wait_for_step(process, stopped_at + 4)
        assert f"going on from step {stopped_at}" in said
        worker(process, 1).kill()
        said, _ = process.communicate(timeout=240)
        assert process.returncode == 0, said
    assert re.search(r"going on from step \d+", said), said
    assert (config.directory / "model" / "model.safetensors").exists()
    assert_same_run(whole, config)
