"""What the planner predicts beside what was measured: published runs, and steps on this machine.

    python benchmarks/planner.py --published
    python benchmarks/planner.py --this-cpu --threads 1

On this machine everything is processor time: of the calibration, and of whole training steps
(forward, backward, clipping, AdamW in float32), the median of a few after one that is not counted.
"""

import argparse
import statistics
import time

import torch

from hyperclova.model import GPTConfig, cost
from hyperclova.parallel.layout import Layout
from hyperclova.parallel.place import place
from hyperclova.pretraining.config import OptimizerSection
from hyperclova.pretraining.objective import CrossEntropy
from hyperclova.pretraining.optimizer import build_optimizer
from hyperclova.pretraining.plan.calibrate import cpu_assumptions, this_cpu
from hyperclova.pretraining.plan.published import published
from hyperclova.pretraining.plan.search import Planner
from hyperclova.pretraining.plan.workload import Setting, Workload
from hyperclova.pretraining.step import training_step

SHAPES = (  # shape, sequence, sequences in a batch, in a microbatch
    ("small", GPTConfig(8_192, 512, 4, 256, 4), 512, 4, 4),
    ("medium", GPTConfig(16_384, 256, 6, 512, 8), 256, 4, 2),
    ("137M, 3 layers", GPTConfig(51_200, 512, 3, 768, 16), 512, 2, 2),
)


def print_published() -> None:
    print(f"{'GPU':11}{'GPUs':>6}  {'model':15}{'recompute':11}{'measured':>9}{'planner':>9}")
    for run in published():
        measured, predicted = run.measured, run.predicted()
        print(
            f"{run.gpu:11}{run.gpus:6}  {run.name:15}{run.recompute:11}{measured:9.1%}"
            f"{predicted:9.1%}{predicted / measured - 1:+8.1%}"
            f"{'' if run.fitted else '  not fitted'}"
        )


def measure(shape: GPTConfig, sequence: int, batch: int, microbatch: int, steps: int) -> float:
    """Processor seconds of a training step, by thread."""
    cpu = torch.device("cpu")
    placed = place(
        shape,
        0,
        Layout(dp=1),
        cpu,
        torch.float32,
        CrossEntropy(torch.float32),
        sequence,
        microbatch,
        batch,
    )
    optimizer = build_optimizer(placed, OptimizerSection(), 1e-4)
    seconds = []
    for step in range(steps + 1):
        windows = torch.randint(0, shape.vocab_size, (batch, sequence + 1))
        start = time.process_time()
        training_step(placed, optimizer, windows, 1.0, (0, step))
        seconds.append(time.process_time() - start)
    return statistics.median(seconds[1:]) / torch.get_num_threads()


def print_this_cpu(steps: int) -> None:
    cpu = this_cpu()
    print(
        f"products {cpu.float32_tflops * 1e3:.0f} GFLOP/s (constant {cpu.shape_constant:g}), "
        f"attention {cpu.attention_efficiency:.0%} of it, element-wise {cpu.elementwise_gb_s:.1f} "
        f"GB/s, copying {cpu.memory_gb_s:.1f} GB/s"
    )
    for name, shape, sequence, batch, microbatch in SHAPES:
        work = Workload(name, shape, sequence, batch * sequence)
        planner = Planner(work, cpu, "this-cpu", cpu_assumptions())
        predicted = planner.judge(Setting(Layout(dp=1), microbatch)).time.total
        measured = measure(shape, sequence, batch, microbatch, steps)
        tokens = batch * sequence
        print(
            f"{name:15} {cost.parameters(shape) / 1e6:6.1f}M parameters: planner "
            f"{tokens / predicted:7,.0f} tokens/s, measured {tokens / measured:7,.0f}: "
            f"{measured / predicted - 1:+.0%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--this-cpu", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.published:
        print_published()
    if arguments.this_cpu:
        print_this_cpu(arguments.steps)


if __name__ == "__main__":
    main()
