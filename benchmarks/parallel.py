"""What layouts cost: one process beside a bare loop, and two processes beside twice one.

Every contender takes the same steps on the same tokens in float32, one thread a process; losses
are compared before a time is printed. The first part runs the house's step and a plain PyTorch
loop around the same model in turns, in one process. The second starts two gloo processes for each
layout: its efficiency is its tokens per second over twice those of one process.

    python benchmarks/parallel.py
"""

import argparse
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.distributed as dist

from hyperclova.model import GPT, GPTConfig, cost
from hyperclova.parallel.layout import Layout
from hyperclova.parallel.place import place
from hyperclova.pretraining.config import OptimizerSection
from hyperclova.pretraining.loss import linear_cross_entropy
from hyperclova.pretraining.objective import CrossEntropy
from hyperclova.pretraining.optimizer import build_optimizer
from hyperclova.pretraining.step import training_step

RATE, CLIP = 3e-4, 1.0
LAYOUTS = {
    "FSDP 2": Layout(dp=2),
    "FSDP 2, gathered once": Layout(dp=2, reshard=False),
    "replicas 2": Layout(dp=2, replicas=2),
    "TP 2, sequence parallel": Layout(dp=1, tp=2),
    "TP 2": Layout(dp=1, tp=2, sequence_parallel=False),
    "PP 2, 1F1B": Layout(dp=1, pp=2),
    "PP 2, interleaved 1F1B": Layout(dp=1, pp=2, schedule="interleaved-1f1b", stages_per_rank=2),
    "PP 2, zero bubble": Layout(dp=1, pp=2, schedule="zero-bubble-v", stages_per_rank=2),
    "PP 2, recompute all": Layout(dp=1, pp=2, recompute="full"),
}


def batches(arguments: argparse.Namespace) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shape = (arguments.batch, arguments.sequence + 1)
    count = arguments.warmup + arguments.steps
    return [
        torch.randint(0, arguments.vocabulary, shape, generator=generator) for _ in range(count)
    ]


def shape_of(arguments: argparse.Namespace) -> GPTConfig:
    return GPTConfig(
        arguments.vocabulary,
        arguments.sequence,
        arguments.layers,
        arguments.width,
        arguments.heads,
    )


def house(arguments: argparse.Namespace, layout: Layout) -> Callable[[torch.Tensor, int], float]:
    """The step that ``hyperclova pretrain`` takes; returns the loss of the whole batch."""
    rows = (arguments.sequence, arguments.microbatch, arguments.batch)
    kind = (torch.device("cpu"), torch.float32, CrossEntropy(torch.float32))
    placed = place(shape_of(arguments), 0, layout, *kind, *rows)
    optimizer = build_optimizer(placed, OptimizerSection(), RATE)
    share = arguments.batch // placed.data_groups

    def step(windows: torch.Tensor, number: int) -> float:
        mine = windows[placed.data_rank * share : (placed.data_rank + 1) * share]
        loss, _ = training_step(placed, optimizer, mine, CLIP, (0, number))
        return loss.item()

    return step


def bare(arguments: argparse.Namespace) -> Callable[[torch.Tensor, int], float]:
    """The same in plain PyTorch, nothing around it."""
    model = GPT(shape_of(arguments))
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": 0.1},
            {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=RATE,
        betas=(0.9, 0.95),
        fused=True,
    )

    def step(windows: torch.Tensor, number: int) -> float:
        optimizer.zero_grad(set_to_none=True)
        total, targets = 0.0, windows[:, 1:].numel()
        for rows in windows.split(arguments.microbatch):
            states = model.hidden(rows[:, :-1]).flatten(0, 1)
            head = model.token_embedding.weight
            loss = linear_cross_entropy(states, head, rows[:, 1:].flatten()) / targets
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        return total

    return step


def in_turns(
    arguments: argparse.Namespace, steps: list[Callable[[torch.Tensor, int], float]]
) -> list[tuple[list[float], list[float]]]:
    """Losses and processor seconds of each contender, step by step in turns."""
    results: list[tuple[list[float], list[float]]] = [([], []) for _ in steps]
    for number, windows in enumerate(batches(arguments)):
        order = range(len(steps)) if number % 2 else reversed(range(len(steps)))
        for contender in order:
            start = time.process_time()
            loss = steps[contender](windows, number)
            seconds = time.process_time() - start
            results[contender][0].append(loss)
            if number >= arguments.warmup:
                results[contender][1].append(seconds)
    return results


def timed(arguments: argparse.Namespace, layout: Layout) -> tuple[list[float], list[float]]:
    """Losses and seconds by the clock of a layout's steps, in this process and its fellows."""
    step, losses, seconds = house(arguments, layout), [], []
    for number, windows in enumerate(batches(arguments)):
        if layout.processes > 1:
            dist.barrier()
        start = time.perf_counter()
        losses.append(step(windows, number))
        if number >= arguments.warmup:
            seconds.append(time.perf_counter() - start)
    return losses, seconds


def together(arguments: argparse.Namespace, layout: Layout) -> tuple[list[float], list[float]]:
    """:func:`timed` in as many forked processes as the layout has; the first one's figures."""
    fork = multiprocessing.get_context("fork")
    results: Any = fork.SimpleQueue()

    def work(rank: int) -> None:
        torch.set_num_threads(1)
        if layout.processes > 1:
            rendezvous = f"file://{directory}/store"
            dist.init_process_group(
                "cpu:gloo", init_method=rendezvous, rank=rank, world_size=layout.processes
            )
        result = timed(arguments, layout)
        if rank == 0:
            results.put(result)

    with TemporaryDirectory() as directory:
        children = [fork.Process(target=work, args=(rank,)) for rank in range(layout.processes)]
        for child in children:
            child.start()
        for child in children:
            child.join()
            if child.exitcode:
                raise SystemExit(f"{layout}: a process ended with {child.exitcode}")
        found: tuple[list[float], list[float]] = results.get()
    return found


def agree(losses: list[float], expected: list[float], name: str) -> None:
    apart = max(abs(a - b) for a, b in zip(losses, expected, strict=True))
    if apart > 1e-4:
        raise SystemExit(f"{name}: losses are {apart:.1e} apart; nothing is compared")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (
        ("layers", 8),
        ("width", 512),
        ("heads", 8),
        ("vocabulary", 8192),
        ("sequence", 256),
        ("batch", 16),
        ("microbatch", 2),
        ("warmup", 1),
        ("steps", 5),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--output", type=Path, help="directory for the table, as Markdown")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tokens = arguments.batch * arguments.sequence
    lines = [
        f"{cost.parameters(shape_of(arguments)) / 1e6:.0f}M parameters, {arguments.batch} × "
        f"{arguments.sequence} tokens a step, microbatches of {arguments.microbatch}; Python "
        f"{platform.python_version()}, torch {torch.__version__}, {os.cpu_count()} cores",
        "",
    ]

    (ours, our_seconds), (theirs, their_seconds) = in_turns(
        arguments, [house(arguments, Layout().resolve(1)), bare(arguments)]
    )
    agree(ours, theirs, "a bare loop")
    pairs = [mine / other for mine, other in zip(our_seconds, their_seconds, strict=True)]
    lines += [
        f"One process beside a bare loop, processor time of {len(pairs)} steps in turns: "
        f"{(statistics.median(pairs) - 1) * 100:+.1f} % "
        f"({(min(pairs) - 1) * 100:+.1f} … {(max(pairs) - 1) * 100:+.1f})",
        "",
        "| layout of two processes | tokens/s | efficiency |",
        "|---|---|---|",
    ]
    print("\n".join(lines), flush=True)

    expected, seconds = together(arguments, Layout().resolve(1))
    one = tokens / statistics.median(seconds)
    rows = [f"| one process | {one:,.0f} | |"]
    print(rows[0], flush=True)
    for name, layout in LAYOUTS.items():
        losses, seconds = together(arguments, layout)
        agree(losses, expected, name)
        speed = tokens / statistics.median(seconds)
        rows.append(f"| {name} | {speed:,.0f} | {speed / (2 * one):.0%} |")
        print(rows[-1], flush=True)
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        table = "\n".join([*lines, *rows]) + "\n"
        (arguments.output / "parallel.md").write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
