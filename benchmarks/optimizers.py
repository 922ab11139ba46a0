"""AdamW against Muon: the same model, shards, order and schedule; bits per byte at several rates.

    python benchmarks/optimizers.py --tokens-directory runs/default-tokens \\
        --tokenizer models/hyperclova-small --tokens 250_000 --rates 1.2e-3 3e-3

Every pair of optimiser and learning rate is a run of its own, in a directory that is removed
afterwards; runs of one seed begin at the same weights and read the same samples. One rate need not
suit both optimisers: give enough of them that each meets its best. Several --seeds tell how far
results differ by chance alone.
"""

import argparse
import dataclasses
import platform
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Literal, get_args

import torch

from hyperclova.errors import UserError
from hyperclova.model import GPTConfig, cost
from hyperclova.pretraining.config import (
    CheckpointSection,
    DataSection,
    EvaluationSection,
    LoggingSection,
    ModelSection,
    OptimizerSection,
    PretrainingConfig,
    TrainingSection,
)
from hyperclova.pretraining.loop import pretrain
from hyperclova.pretraining.reports import Progress

Name = Literal["adamw", "muon"]


class Result:
    """Watches one run and keeps what the table needs."""

    def __init__(self) -> None:
        self.bits_per_byte: float | None = None
        self.loss = 0.0
        self.speeds: list[float] = []
        self.parameters = 0
        self.device = ""

    def begin(
        self, shape: GPTConfig, config: PretrainingConfig, resumed_at: int, device: str
    ) -> None:
        self.parameters, self.device = cost.parameters(shape), device

    def step(self, progress: Progress) -> None:
        self.loss = progress.loss
        self.speeds.append(progress.tokens_per_second)

    def evaluated(self, step: int, bits_per_byte: float) -> None:
        self.bits_per_byte = bits_per_byte

    def sampled(self, step: int, prompts: Sequence[str], texts: Sequence[str]) -> None:
        pass

    def saved(self, step: int, path: Path) -> None:
        pass

    def noticed(self, step: int, what: str) -> None:
        pass


def configurations(
    arguments: argparse.Namespace, directory: Path
) -> Iterator[tuple[Name, float, PretrainingConfig]]:
    """Optimiser, rate and run; the shape is that of the model we ship, unless told otherwise."""
    base = PretrainingConfig(
        directory=directory,
        model=ModelSection(
            layers=arguments.layers,
            width=arguments.width,
            heads=arguments.heads,
            context_length=arguments.sequence,
        ),
        data=DataSection(arguments.tokens_directory, arguments.tokenizer),
        optimizer=OptimizerSection(),
        training=TrainingSection(
            tokens=arguments.tokens,
            batch_tokens=arguments.batch_tokens,
            microbatch_tokens=arguments.batch_tokens,
            sequence_length=arguments.sequence,
        ),
        checkpoint=CheckpointSection(every_steps=10**9, keep=1),
        evaluation=EvaluationSection(every_steps=0, tokens=arguments.evaluation_tokens),
        logging=LoggingSection(every_steps=5),
    )
    for rate in arguments.rates:
        for name in get_args(Name):
            for seed in arguments.seeds:
                yield (
                    name,
                    rate,
                    dataclasses.replace(
                        base,
                        directory=directory / f"{name}-{rate}-{seed}",
                        optimizer=OptimizerSection(
                            name=name,
                            learning_rate=rate,
                            warmup_tokens=arguments.tokens // 6,
                            beta2=arguments.beta2,
                        ),
                        training=dataclasses.replace(base.training, seed=seed),
                    ),
                )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens-directory", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=250_000, help="of each run")
    parser.add_argument("--rates", type=float, nargs="+", default=[1.2e-3, 3e-3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--sequence", type=int, default=512)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--beta2", type=float, default=0.999)
    parser.add_argument("--evaluation-tokens", type=int, default=65_536)
    parser.add_argument("--threads", type=int, help="all cores by default")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)

    results: dict[tuple[Name, float], list[Result]] = {}
    with tempfile.TemporaryDirectory() as directory:
        for name, rate, config in configurations(arguments, Path(directory)):
            result = Result()
            try:
                pretrain(config, result)
            except UserError as error:
                parser.error(str(error))
            if result.bits_per_byte is None:
                parser.error(f"{arguments.tokens_directory}: no held-out shards to measure on")
            results.setdefault((name, rate), []).append(result)
            print(f"{name} {rate:g} seed {config.training.seed}: {result.bits_per_byte:.4f}")

    first = next(iter(results.values()))[0]
    print(
        f"\n{date.today()}, {first.parameters / 1e6:.1f}M parameters, {arguments.tokens:,} "
        f"tokens in batches of {arguments.batch_tokens:,}, {first.device}, "
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, "
        f"torch {torch.__version__}\n"
    )
    print("| optimiser | learning rate | bits per byte | last loss | tokens/s |")
    print("|---|---|---|---|---|")
    for (name, rate), runs in results.items():
        values = [run.bits_per_byte for run in runs if run.bits_per_byte is not None]
        spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
        speed = statistics.median(speed for run in runs for speed in run.speeds)
        loss = statistics.mean(run.loss for run in runs)
        print(
            f"| {name} | {rate:g} | {statistics.mean(values):.4f}{spread} | {loss:.4f} "
            f"| {speed:,.0f} |"
        )


if __name__ == "__main__":
    main()
