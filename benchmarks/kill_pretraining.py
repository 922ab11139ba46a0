"""kill -9 on a running ``hyperclova pretrain``, again and again: does it end at the same bits?

One run is left in peace. Another, of the same configuration, is killed with SIGKILL at random
moments and started again with ``--resume`` each time. Then every step's loss, the held-out bits per
byte and every bit of the final weights and of the optimiser's state must be equal.

    python benchmarks/kill_pretraining.py --tokens-directory runs/default-tokens \\
        --tokenizer models/hyperclova-small

A kill may fall anywhere: into starting up, a step, the writing of a checkpoint, an evaluation.
"""

import argparse
import itertools
import os
import platform
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import date
from pathlib import Path

import torch
from torch import Tensor

from hyperclova.configuration import load
from hyperclova.model import GPT
from hyperclova.parallel.place import alone
from hyperclova.pretraining import checkpoint
from hyperclova.pretraining.config import PretrainingConfig
from hyperclova.pretraining.metrics import read_metrics
from hyperclova.pretraining.optimizer import build_optimizer
from hyperclova.tokenizer import Tokenizer

CONFIGURATION = Path(__file__).parents[1] / "configs" / "pretrain" / "tiny.toml"
METRICS = "metrics.jsonl"
STEP = re.compile(r"^step (\d+)/", re.MULTILINE)


def overrides(arguments: argparse.Namespace, directory: Path) -> list[str]:
    batch = arguments.batch_tokens
    return [
        f"directory={directory}",
        f"data.directory={arguments.tokens_directory}",
        f"data.tokenizer={arguments.tokenizer}",
        f"optimizer.name={arguments.optimizer}",
        f"optimizer.warmup_tokens={arguments.steps * batch // 10}",
        f"training.tokens={arguments.steps * batch}",
        f"training.batch_tokens={batch}",
        f"training.microbatch_tokens={batch}",
        "training.sequence_length=128",
        "model.dropout=0.1",
        f"checkpoint.every_steps={arguments.checkpoint_every}",
        f"evaluation.every_steps={2 * arguments.checkpoint_every}",
        "evaluation.tokens=512",
        "samples.every_steps=0",
        "logging.every_steps=1",
    ]


def command(arguments: argparse.Namespace, directory: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "hyperclova", "pretrain", str(CONFIGURATION)),
        *overrides(arguments, directory),
        *("--resume", "--threads", str(arguments.threads)),
    ]


def run_in_peace(line: list[str]) -> float:
    """Seconds that the run took."""
    began = time.monotonic()
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def newest(directory: Path) -> int:
    """Step of the newest whole checkpoint; 0 if there is none."""
    return max(checkpoint.steps(directory / "checkpoints"), default=0)


def kill_again_and_again(
    line: list[str], directory: Path, kills: int, steps: int, chance: random.Random
) -> tuple[Counter[str], int]:
    """Kill the run at random moments until it has died ``kills`` times, then let it end.

    A moment is a random step of those that are left, divided by the kills that are left, and a
    random fraction of a second after it; one kill in five comes while the process starts.

    Returns:
        What was found among the checkpoints after a kill, how often, and steps computed in vain.
    """
    found: Counter[str] = Counter()
    lost = 0
    for number in range(kills):
        resumed_at = reached = newest(directory)
        wanted = resumed_at + chance.randint(1, max(1, (steps - resumed_at) // (kills - number)))
        while_starting = chance.random() < 0.2
        process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        if while_starting:
            time.sleep(chance.uniform(0, 3))
        else:
            for output in process.stdout:
                if done := STEP.match(output):
                    reached = int(done[1])
                if reached >= wanted:
                    break
            time.sleep(chance.uniform(0, 0.2))
        if process.poll() is not None:
            sys.exit(f"the run ended (status {process.returncode}) before kill {number + 1}")
        os.kill(process.pid, signal.SIGKILL)
        rest, _ = process.communicate()
        reached = max([reached, *(int(step) for step in STEP.findall(rest))])
        saved = newest(directory)
        half = any((directory / "checkpoints").glob("*.incomplete"))
        found["half a checkpoint" if half else "whole ones" if saved else "nothing"] += 1
        lost += max(0, reached - saved)
        print(
            f"kill {number + 1:2}: {'starting, ' if while_starting else ''}at step {reached:3}, "
            f"newest checkpoint {saved:3}{', another half written' if half else ''}",
            flush=True,
        )
    run_in_peace(line)
    return found, lost


def tensors(config: PretrainingConfig) -> dict[str, Tensor]:
    """Weights and optimiser state of the newest checkpoint, by name."""
    tokenizer = Tokenizer.load(config.data.tokenizer)
    model = GPT(config.model.shape(tokenizer.vocabulary_size))
    placed = alone(model)
    optimizer = build_optimizer(placed, config.optimizer, config.peak_learning_rate)
    checkpoints = config.directory / "checkpoints"
    path = checkpoint.path_of(checkpoints, newest(config.directory))
    checkpoint.load(path, placed, optimizer)
    found = {f"weights of {name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for moment, tensor in optimizer.state[parameter].items():
            found[f"{moment} of {name}"] = tensor
    return found


def compare(whole: PretrainingConfig, killed: PretrainingConfig) -> tuple[int, float, float]:
    """Stop unless everything is equal.

    Returns:
        How many values of weights and optimiser were compared, the last loss, bits per byte.
    """
    runs = whole.directory, killed.directory
    last = []
    for kind, value in (("train", "loss"), ("evaluation", "bits_per_byte")):
        first, second = (
            [(record["step"], record[value]) for record in read_metrics(run / METRICS, kind)]
            for run in runs
        )
        if first != second:
            pairs = itertools.zip_longest(first, second)
            sys.exit(f"{value} differs: {next(pair for pair in pairs if pair[0] != pair[1])}")
        if kind == "train" and [step for step, _ in first] != [*range(1, whole.training.steps + 1)]:
            sys.exit("not every step is on record once")
        last.append(first[-1][1])
    one, other = tensors(whole), tensors(killed)
    if one.keys() != other.keys():
        sys.exit(f"other tensors: {one.keys() ^ other.keys()}")
    for name, tensor in one.items():
        if not torch.equal(tensor.view(torch.int32), other[name].view(torch.int32)):
            sys.exit(f"{name} differs")
    weights = [(run / "model" / "model.safetensors").read_bytes() for run in runs]
    if weights[0] != weights[1]:
        sys.exit("the exported weights differ")
    return sum(tensor.numel() for tensor in one.values()), last[0], last[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens-directory", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--batch-tokens", type=int, default=256)
    parser.add_argument("--checkpoint-every", type=int, default=3)
    parser.add_argument("--optimizer", choices=("adamw", "muon"), default="adamw")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    with tempfile.TemporaryDirectory() as directory:
        whole, killed = Path(directory) / "whole", Path(directory) / "killed"
        seconds = run_in_peace(command(arguments, whole))
        print(f"in peace: {arguments.steps} steps in {seconds:.0f} s", flush=True)
        began = time.monotonic()
        found, lost = kill_again_and_again(
            command(arguments, killed),
            killed,
            arguments.kills,
            arguments.steps,
            random.Random(arguments.seed),
        )
        killed_seconds = time.monotonic() - began
        values, loss, bits = compare(
            *(
                load(PretrainingConfig, CONFIGURATION, overrides(arguments, run))
                for run in (whole, killed)
            )
        )
    states = ", ".join(f"{state} {times}x" for state, times in found.items())
    print(
        f"\n{date.today()}, {platform.processor() or platform.machine()}, {arguments.threads} "
        f"thread(s), Python {platform.python_version()}, torch {torch.__version__}\n"
        f"killed {arguments.kills} times in {killed_seconds:.0f} s; {lost} steps computed again; "
        f"found after the kills: {states}\n"
        f"equal to the last bit: {arguments.steps} losses (the last {loss:.6f}), "
        f"held-out bits per byte (the last {bits:.6f}), {values:,} values of weights and optimiser"
    )


if __name__ == "__main__":
    main()
