"""What our kernels gain over PyTorch's operations: steps, and prompts being read.

    python benchmarks/native.py --shape shipped 137M

Each shape runs in two processes of its own, one with the kernels and one without
(``HYPERCLOVA_NATIVE=0``), for each precision: a decoding step of one sequence and of 16, all behind
64 tokens, and the reading of a prompt of 448. The best of many times counts, since what else runs
on the machine only adds. In float32 the states of both must agree within 1e-3 before anything is
printed; in 8 bits the two quantise alike but for where they round.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file, save_file
from shapes import model_of
from torch import Tensor

from hyperclova.inference.attention import Span
from hyperclova.inference.cache import KeyValues
from hyperclova.inference.runner import Runner

WORK = ("a step alone", "a step of 16", "reading 448")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("models/hyperclova-small"))
    parser.add_argument("--shape", nargs="+", default=["shipped", "137M"])
    parser.add_argument("--precision", nargs="+", default=["float32", "int8"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        torch.set_num_threads(arguments.threads)
        measure(arguments.model, arguments.precision[0], arguments.seconds, arguments.measure)
        return
    table = Table("shape", "precision", *(f"{work}, ms" for work in WORK))
    for shape in arguments.shape:
        with model_of(shape, arguments.model) as directory:
            for precision in arguments.precision:
                ours, states = run(directory, precision, arguments, "1")
                without, expected = run(directory, precision, arguments, "0")
                if precision == "float32" and not torch.allclose(states, expected, atol=1e-3):
                    raise SystemExit(f"{shape}: the two compute different states")
                pairs = [(ours[work], without[work]) for work in WORK]
                cells = [
                    f"{mine:.1f}, without {other:.1f} ({other / mine:.1f})" for mine, other in pairs
                ]
                table.add_row(shape, precision, *cells)
    console = Console(width=130, highlight=False)
    console.print(table)
    console.print(
        f"best times, in brackets the ratio; {arguments.threads} threads, torch "
        f"{torch.__version__}, Python {platform.python_version()}"
    )


def run(
    directory: Path, precision: str, arguments: argparse.Namespace, kernels: str
) -> tuple[dict[str, float], Tensor]:
    """Milliseconds of each piece of work in a process with or without kernels, and states."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, __file__, "--model", str(directory), "--precision", precision]
        command += ["--threads", str(arguments.threads), "--seconds", str(arguments.seconds)]
        command += ["--measure", scratch]
        environment = {**os.environ, "HYPERCLOVA_NATIVE": kernels}
        subprocess.run(command, env=environment, check=True)
        found: dict[str, float] = json.loads((Path(scratch) / "times.json").read_text())
        return found, load_file(Path(scratch) / "states.safetensors")["states"]


@torch.inference_mode()
def measure(directory: Path, precision: str, seconds: float, output: Path) -> None:
    runner = Runner(directory, "cpu", precision)

    def read(cache: KeyValues, tokens: int, written: bool = False) -> Span:
        cache.reserve(tokens)
        return Span(cache, tokens, written)

    def forward(spans: list[Span]) -> Tensor:
        places = [span.cache.length + at for span in spans for at in range(span.tokens)]
        return runner.states([7 + place % 50 for place in places], places, spans)

    found = {}
    for work, count in (("a step alone", 1), ("a step of 16", 16)):
        caches = [runner.sequence() for _ in range(count)]
        forward([read(cache, 64) for cache in caches])

        def step(caches: list[KeyValues] = caches) -> None:
            states = forward([read(cache, 1, written=True) for cache in caches])
            runner.project(states)
            for cache in caches:
                cache.length -= 1  # the same one again

        found[work] = best(step, seconds)
    found["reading 448"] = best(lambda: forward([read(runner.sequence(), 448)]), seconds)
    save_file({"states": forward([read(runner.sequence(), 300)])}, output / "states.safetensors")
    (output / "times.json").write_text(json.dumps(found))


def best(work: Callable[[], object], seconds: float) -> float:
    """Milliseconds of the fastest of as many times as fit."""
    fastest = math.inf
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        work()
        fastest = min(fastest, time.perf_counter() - began)
    return 1000 * fastest


if __name__ == "__main__":
    main()
