"""Training speed of one device against Hugging Face's Trainer and nanoGPT's loop.

The same model (GPT-3's decoder at one of the paper's sizes), the same initial weights, batches,
optimiser, clipping and precision. Each contender runs in a process of its own, in turn, for
several rounds; the losses of all steps must agree before any time is printed.

    python benchmarks/train_step.py --nanogpt ~/nanoGPT --output benchmarks/results

Needs ``transformers`` and ``accelerate``; nanoGPT is left out unless a checkout is named.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import torch
from torch import Tensor

from hyperclova.model import GPT, SIZES, GPTConfig, cost
from hyperclova.model.convert import to_gpt2
from hyperclova.parallel.device import (
    autocast,
    choose_device,
    choose_precision,
    describe,
    keep_freed_memory,
)
from hyperclova.parallel.layout import Layout
from hyperclova.parallel.place import place
from hyperclova.pretraining.config import OptimizerSection
from hyperclova.pretraining.loss import IGNORED
from hyperclova.pretraining.objective import CrossEntropy
from hyperclova.pretraining.optimizer import build_optimizer
from hyperclova.pretraining.step import training_step

LEARNING_RATE = 6e-4
CONTENDERS = ("hyperclova", "hyperclova, compiled", "Trainer", "nanoGPT")


def shape(arguments: argparse.Namespace) -> GPTConfig:
    size = SIZES[arguments.size]
    return GPTConfig(
        arguments.vocabulary,
        arguments.sequence,
        arguments.layers or size.layers,
        size.width,
        size.heads,
    )


def batches(arguments: argparse.Namespace) -> list[Tensor]:
    """Inputs ``(batch, sequence)``, one per step: skewed like text, so that loss falls.

    The targets are the same tokens one later; the last position has none, as in the Trainer,
    which shifts labels by itself.
    """
    generator = torch.Generator().manual_seed(0)
    total = (arguments.steps + arguments.warmup, arguments.batch, arguments.sequence)
    uniform = torch.rand(total, generator=generator)
    return list((uniform.pow(4) * arguments.vocabulary).long())


def targets_of(inputs: Tensor, ignored: int) -> Tensor:
    return torch.cat([inputs[:, 1:], torch.full_like(inputs[:, :1], ignored)], dim=1)


class Clock:
    """Times steps; the device is idle before and after each."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: list[float] = []

    def start(self) -> None:
        self._wait()
        self._began = time.perf_counter()

    def stop(self) -> None:
        self._wait()
        self.seconds.append(time.perf_counter() - self._began)

    def _wait(self) -> None:
        if self._device.type != "cpu":
            torch.accelerator.synchronize()


def run_hyperclova(
    arguments: argparse.Namespace, device: torch.device, dtype: torch.dtype, compiled: bool
) -> tuple[list[float], list[float]]:
    keep_freed_memory(device)  # as ``hyperclova pretrain`` does before it places the model
    rows, time = arguments.batch, arguments.sequence
    kind = (device, dtype, CrossEntropy(dtype), time, rows, rows, compiled)
    placed = place(shape(arguments), 0, Layout().resolve(1), *kind)
    optimizer = build_optimizer(placed, OptimizerSection(), LEARNING_RATE)
    clock, losses = Clock(device), []
    for step, inputs in enumerate(batches(arguments)):
        windows = torch.cat([inputs[:, :1], targets_of(inputs, IGNORED)], dim=1)
        clock.start()
        loss, _ = training_step(placed, optimizer, windows.to(device), 1.0, (0, step))
        losses.append(loss.item())
        clock.stop()
    return losses, clock.seconds


def run_trainer(
    arguments: argparse.Namespace, device: torch.device, dtype: torch.dtype
) -> tuple[list[float], list[float]]:
    import transformers

    ours = GPT(shape(arguments))
    config = transformers.GPT2Config(
        vocab_size=ours.config.vocab_size,
        n_positions=ours.config.context_length,
        n_embd=ours.config.width,
        n_layer=ours.config.layers,
        n_head=ours.config.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        use_cache=False,
    )
    model = transformers.GPT2LMHeadModel(config)
    model.load_state_dict(to_gpt2(ours.state_dict(), ours.config), strict=False)
    # Else the Trainer divides by the number of inputs, which is one a row more than the targets.
    model.accepts_loss_kwargs = False
    rows = [{"input_ids": row, "labels": row} for inputs in batches(arguments) for row in inputs]
    clock, losses = Clock(device), []

    class Stopwatch(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *args: object, **kwargs: object) -> None:
            clock.start()

        def on_step_end(self, *args: object, **kwargs: object) -> None:
            clock.stop()

        def on_log(
            self,
            args: object,
            state: object,
            control: object,
            logs: dict[str, float],
            **kwargs: object,
        ) -> None:
            if "loss" in logs:
                losses.append(float(logs["loss"]))

    with tempfile.TemporaryDirectory() as directory:
        settings = transformers.TrainingArguments(
            output_dir=directory,
            per_device_train_batch_size=arguments.batch,
            max_steps=arguments.steps + arguments.warmup,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            optim="adamw_torch_fused",
            adam_beta1=0.9,
            adam_beta2=0.95,
            adam_epsilon=1e-8,
            weight_decay=0.1,
            max_grad_norm=1.0,
            bf16=dtype == torch.bfloat16,
            use_cpu=device.type == "cpu",
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            train_sampling_strategy="sequential",
            disable_tqdm=True,
        )
        transformers.Trainer(model, settings, train_dataset=rows, callbacks=[Stopwatch()]).train()
    return losses, clock.seconds


def run_nanogpt(
    arguments: argparse.Namespace, device: torch.device, dtype: torch.dtype
) -> tuple[list[float], list[float]]:
    """nanoGPT's model and optimiser in the order of calls of its training script."""
    sys.path.insert(0, str(arguments.nanogpt))
    import model as nanogpt  # type: ignore[import-not-found]

    ours = GPT(shape(arguments))
    model = nanogpt.GPT(
        nanogpt.GPTConfig(
            block_size=ours.config.context_length,
            vocab_size=ours.config.vocab_size,
            n_layer=ours.config.layers,
            n_head=ours.config.heads,
            n_embd=ours.config.width,
            dropout=0.0,
            bias=True,
        )
    )
    state = to_gpt2(ours.state_dict(), ours.config)
    matrices = ("c_attn.weight", "c_proj.weight", "c_fc.weight")  # nanoGPT keeps them as Linear
    state = {name: value.t() if name.endswith(matrices) else value for name, value in state.items()}
    model.load_state_dict(state, strict=False)
    model.to(device)
    optimizer = model.configure_optimizers(0.1, LEARNING_RATE, (0.9, 0.95), device.type)
    clock, losses = Clock(device), []
    for rows in batches(arguments):
        clock.start()
        inputs, targets = rows.to(device), targets_of(rows, -1).to(device)
        with autocast(device, dtype):
            _, loss = model(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        clock.stop()
    return losses, clock.seconds


def run_one(arguments: argparse.Namespace) -> None:
    device = choose_device(arguments.device)
    dtype = choose_precision(arguments.precision, device)
    torch.manual_seed(0)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    name = arguments.only
    if name.startswith("hyperclova"):
        losses, seconds = run_hyperclova(arguments, device, dtype, name.endswith("compiled"))
    else:
        run = {"Trainer": run_trainer, "nanoGPT": run_nanogpt}[name]
        losses, seconds = run(arguments, device, dtype)
    result = {"losses": losses, "seconds": seconds, "device": describe(device), "dtype": str(dtype)}
    arguments.result.write_text(json.dumps(result), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="137M", choices=SIZES)
    parser.add_argument("--layers", type=int, help="fewer than the size has, for a quick look")
    parser.add_argument("--vocabulary", type=int, default=51_200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--sequence", type=int, default=512)
    parser.add_argument("--warmup", type=int, default=1, help="steps not counted, per process")
    parser.add_argument("--steps", type=int, default=2, help="steps counted, per process")
    parser.add_argument("--rounds", type=int, default=2, help="processes per contender")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--nanogpt", type=Path, help="a checkout of nanoGPT")
    parser.add_argument("--compiled", action="store_true", help="also time ours with torch.compile")
    parser.add_argument(
        "--peak-tflops", type=float, help="of the device in this precision: prints MFU too"
    )
    parser.add_argument("--output", type=Path, help="directory for train_step.json")
    parser.add_argument("--only", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        run_one(arguments)
        return

    names = ["hyperclova", "Trainer"]
    names += ["hyperclova, compiled"] if arguments.compiled else []
    names += ["nanoGPT"] if arguments.nanogpt else []
    results: dict[str, list[dict[str, list[float]]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as directory:
        for number in range(arguments.rounds):
            for name in names if number % 2 == 0 else reversed(names):
                path = Path(directory) / "result.json"
                command = [sys.executable, __file__, *sys.argv[1:], "--only", name]
                subprocess.run([*command, "--result", str(path)], check=True)
                results[name].append(json.loads(path.read_text()))
                print(f"round {number + 1}  {name}: {results[name][-1]['seconds']}", flush=True)

    check_agreement(results)
    config = shape(arguments)
    tokens = arguments.batch * arguments.sequence
    medians = {
        name: statistics.median(
            second for run in runs for second in run["seconds"][arguments.warmup :]
        )
        for name, runs in results.items()
    }
    flops = cost.training_flops_per_token(config, arguments.sequence)
    print(
        f"\n{date.today()}  {arguments.size}: {cost.parameters(config) / 1e6:.1f}M parameters, "
        f"batch {arguments.batch} x {arguments.sequence}, {results[names[0]][0]['dtype']}, "
        f"{results[names[0]][0]['device']}, {platform.processor() or platform.machine()}, "
        f"torch {torch.__version__}"
    )
    for name, seconds in medians.items():
        rate = flops * tokens / seconds / 1e12
        share = f"  MFU {rate / arguments.peak_tflops:.1%}" if arguments.peak_tflops else ""
        print(
            f"{name:22} {tokens / seconds:9,.0f} tokens/s  {rate:6.3f} TFLOP/s{share}  "
            f"ours / this: {seconds / medians['hyperclova']:.2f}x"
        )
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / "train_step.json").write_text(json.dumps(results, indent=2))


def check_agreement(results: dict[str, list[dict[str, list[float]]]]) -> None:
    """Stop unless every contender saw the same losses, step by step."""
    reference = results["hyperclova"][0]["losses"]
    for name, runs in results.items():
        for run in runs:
            worst = max(abs(a - b) for a, b in zip(run["losses"], reference, strict=True))
            if worst > 0.005:
                sys.exit(f"{name} computes other losses: {run['losses']} instead of {reference}")


if __name__ == "__main__":
    main()
