"""One of two processes is killed while checkpoints are being written, again and again.

A few times by default; ``HYPERCLOVA_KILLS=50 pytest tests/durability/test_rank_killed.py`` is the
long form.
"""

import dataclasses
import multiprocessing
import os
import random
import signal
import threading
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
from rich.console import Console
from test_pretraining_killed import write_configuration

from hyperclova import configuration
from hyperclova.model import GPT
from hyperclova.model.directory import load_model
from hyperclova.parallel.layout import Layout
from hyperclova.parallel.place import alone
from hyperclova.pretraining import checkpoint
from hyperclova.pretraining.config import CheckpointSection, PretrainingConfig
from hyperclova.pretraining.export import export_run
from hyperclova.pretraining.live import LineWatcher
from hyperclova.pretraining.loop import pretrain
from hyperclova.pretraining.metrics import read_metrics
from hyperclova.pretraining.reports import Progress
from hyperclova.tokenizer import Tokenizer

KILLS = int(os.environ.get("HYPERCLOVA_KILLS", "4"))
STEPS = 8 * (KILLS + 1)


def run(config: PretrainingConfig, doom: tuple[int, int, float] | None = None) -> int:
    """Two processes train and save after every step.

    Args:
        doom: a step, the rank that is killed after it, and how many seconds later.

    Returns:
        How many of the two ended by themselves and well.
    """

    class Doomed(LineWatcher):
        def step(self, progress: Progress) -> None:
            if doom and progress.step == doom[0]:
                victim = pids[doom[1]]
                threading.Timer(doom[2], os.kill, (victim, signal.SIGKILL)).start()

    def work(rank: int) -> None:
        torch.set_num_threads(1)
        dist.init_process_group(
            "cpu:gloo", init_method=f"file://{directory}/store", rank=rank, world_size=2
        )
        pids[rank] = os.getpid()
        dist.barrier()
        with Path(os.devnull).open("w") as nowhere:
            pretrain(config, Doomed(Console(file=nowhere)), resume=True)

    fork = multiprocessing.get_context("fork")
    pids = fork.Array("q", 2)
    with TemporaryDirectory() as directory:
        processes: list[BaseProcess] = [fork.Process(target=work, args=(r,)) for r in range(2)]
        for process in processes:
            process.start()
        multiprocessing.connection.wait([process.sentinel for process in processes])
        while any(process.is_alive() for process in processes):
            if any(process.exitcode for process in processes):  # as torchrun does
                for process in processes:
                    process.kill()
            for process in processes:
                process.join(0.1)
        return sum(process.exitcode == 0 for process in processes)


def test_a_killed_rank_costs_no_more_than_the_save_under_way(inputs: Path) -> None:
    written = configuration.load(PretrainingConfig, write_configuration(inputs, "whole"))
    whole = dataclasses.replace(
        written,
        layout=Layout(dp=2),
        training=dataclasses.replace(written.training, tokens=STEPS * 256),
        checkpoint=CheckpointSection(every_steps=1, keep=3),
    )
    assert run(whole) == 2

    killed = dataclasses.replace(whole, directory=inputs / "killed")
    checkpoints = killed.directory / "checkpoints"
    vocabulary = Tokenizer.load(killed.data.tokenizer).vocabulary_size
    chance = random.Random(20210910)
    for kill in range(KILLS):
        before = max(checkpoint.steps(checkpoints), default=0)
        doom = before + chance.randint(1, 6), chance.randint(0, 1), chance.uniform(0, 0.2)
        assert run(killed, doom) < 2, f"kill {kill}"
        reached = read_metrics(killed.directory / "metrics.jsonl", "train")[-1]["step"]
        saved = checkpoint.steps(checkpoints)
        # Saving a step begins when the one before is whole.
        assert max(saved, default=0) >= max(before, reached - 2), f"kill {kill}"
        for step in saved:
            model = GPT(killed.model.shape(vocabulary), seed=1)
            state = checkpoint.load(checkpoint.path_of(checkpoints, step), alone(model))
            assert state.step == step
    assert run(killed) == 2

    losses = [
        [(record["step"], record["loss"]) for record in read_metrics(path, "train")]
        for path in (whole.directory / "metrics.jsonl", killed.directory / "metrics.jsonl")
    ]
    assert losses[0] == losses[1]
    weights = []
    for config in (whole, killed):
        export_run(config.directory, config.directory / "exported")
        weights.append(load_model(config.directory / "exported").state_dict())
    for name, tensor in weights[0].items():
        assert torch.equal(weights[1][name], tensor), name
