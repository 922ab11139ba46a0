"""kill -9 at random moments of a run, and what the next start makes of it."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import torch

from hyperclova.pretraining import checkpoint
from hyperclova.pretraining.metrics import read_metrics
from hyperclova.tokens.tokenize import Job, tokenize

CONFIGURATION = """
directory = "{directory}"
[model]
layers = 2
width = 64
heads = 2
context_length = 64
dropout = 0.1
[data]
directory = "{tokens}"
tokenizer = "{tokenizer}"
[optimizer]
learning_rate = 1e-3
[training]
tokens = {tokens_to_train}
batch_tokens = 256
microbatch_tokens = 128
sequence_length = 64
[checkpoint]
every_steps = 2
keep = 2
[evaluation]
every_steps = 10
tokens = 256
[logging]
every_steps = 1
"""
STEPS = 90
KILLS = 10


def write_configuration(inputs: Path, name: str) -> Path:
    path = inputs / f"{name}.toml"
    text = CONFIGURATION.format(
        directory=inputs / name,
        tokens=inputs / "tokens",
        tokenizer=inputs / "tokenizer",
        tokens_to_train=STEPS * 256,
    )
    path.write_text(text, encoding="utf-8")
    return path


def run_to_the_end(configuration: Path, doom: tuple[int, float] | None = None) -> None:
    """In a process of its own: the command's code, without a second import of torch.

    Args:
        doom: a step, and for how many times its duration the process lives on after it.
    """
    from rich.console import Console

    from hyperclova import configuration as typed
    from hyperclova.pretraining.config import PretrainingConfig
    from hyperclova.pretraining.live import LineWatcher
    from hyperclova.pretraining.loop import pretrain
    from hyperclova.pretraining.reports import Progress

    class Doomed(LineWatcher):
        """Not killed by the clock of another process, so that a busy machine changes nothing."""

        def step(self, progress: Progress) -> None:
            super().step(progress)
            if doom and progress.step == doom[0]:
                duration = config.training.batch_tokens / progress.tokens_per_second
                threading.Timer(doom[1] * duration, os.kill, (os.getpid(), signal.SIGKILL)).start()

    torch.set_num_threads(1)
    with Path(os.devnull).open("w") as nowhere:
        config = typed.load(PretrainingConfig, configuration)
        pretrain(config, Doomed(Console(file=nowhere)), resume=True)


def test_killed_ten_times_the_run_ends_at_the_same_bits(inputs: Path) -> None:
    fork = multiprocessing.get_context("fork")
    whole = write_configuration(inputs, "whole")
    process = fork.Process(target=run_to_the_end, args=(whole,))
    process.start()
    process.join()
    assert process.exitcode == 0

    killed = write_configuration(inputs, "killed")
    checkpoints = inputs / "killed" / "checkpoints"
    chance = random.Random(20210910)
    for kill in range(KILLS):
        resumed_at = max(checkpoint.steps(checkpoints), default=0)
        share = (STEPS - resumed_at) // (KILLS - kill + 1)
        doom = resumed_at + chance.randint(1, max(1, share)), chance.uniform(0, 3)
        process = fork.Process(target=run_to_the_end, args=(killed, doom))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        for step in checkpoint.steps(checkpoints):
            assert (checkpoint.path_of(checkpoints, step) / "state.json").exists()
    run_to_the_end(killed)

    losses = {
        name: [
            (record["step"], record["loss"])
            for record in read_metrics(inputs / name / "metrics.jsonl", "train")
        ]
        for name in ("whole", "killed")
    }
    assert losses["killed"] == losses["whole"]
    assert [step for step, _ in losses["killed"]] == list(range(1, STEPS + 1))


def test_sigterm_exits_with_75_and_resume_goes_on(inputs: Path) -> None:
    """The command itself, as a scheduler would run it."""
    configuration = write_configuration(inputs, "stopped")
    command = [sys.executable, "-m", "hyperclova", "pretrain", str(configuration)]
    command += ["training.tokens=10_000_000", "--threads", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step 3/"):
            process.terminate()
            break
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "go on with --resume" in output
    step = checkpoint.steps(inputs / "stopped" / "checkpoints")[-1]
    finished = subprocess.run(
        [*command[:-3], f"training.tokens={(step + 2) * 256}", "--resume"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"going on from step {step}" in finished.stdout
    assert (inputs / "stopped" / "model" / "model.safetensors").exists()


def test_tokenizing_killed_leaves_no_half_shard(inputs: Path) -> None:
    """Killed while it writes, the next run ends at the same shards."""
    from hyperclova.tokens.shards import open_shards

    fork = multiprocessing.get_context("fork")
    job = Job(
        (inputs / "texts.jsonl",),
        inputs / "tokenizer",
        inputs / "again",
        held_out=0.2,
        shard_tokens=200,  # many small shards, so that a kill falls between two
        workers=1,
    )
    for delay in (0.5, 1.0, 1.5, 2.0):
        process = fork.Process(target=tokenize, args=(job,))
        process.start()
        process.join(delay)
        if process.is_alive():
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
        if any((inputs / "again" / "train").glob("*.json")):
            open_shards(inputs / "again" / "train")  # raises if one is half
    tokenize(job)
    tokens = [
        sum(shard.index.tokens for shard in open_shards(inputs / name / "train"))
        for name in ("tokens", "again")
    ]
    assert tokens[0] == tokens[1]
