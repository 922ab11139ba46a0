"""The pretraining loop on one device: step, log, save, then evaluate.

A checkpoint comes before the evaluation of the same step, so that nothing an evaluation does can
cost training. SIGTERM saves and ends the run with exit status 75 ("try again"); after kill -9
the run goes on from the newest whole checkpoint and arrives at the same weights, bit for bit, on
the same machine with the same number of threads.
"""

import platform
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

import torch

import hyperclova
from hyperclova.configuration import to_mapping
from hyperclova.corpus.split import HELD_OUT, TRAIN
from hyperclova.durable import write_json
from hyperclova.errors import UserError
from hyperclova.model import GPT, cost
from hyperclova.pretraining import checkpoint
from hyperclova.pretraining.config import PretrainingConfig, SamplesSection
from hyperclova.pretraining.device import choose_device, choose_precision, describe
from hyperclova.pretraining.metrics import Metrics
from hyperclova.pretraining.optimizer import build_optimizer, learning_rate
from hyperclova.pretraining.step import bits_per_byte, training_step
from hyperclova.tokenizer import Tokenizer
from hyperclova.tokens.batches import TokenData, held_out_windows

Sampler = Callable[[GPT, SamplesSection], Sequence[str]]
"""Writes one continuation per prompt; the caller brings it, the engine is a floor above."""


class Interrupted(Exception):  # noqa: N818 - not an error: the run is whole and can go on
    """The run was asked to stop and has saved a checkpoint."""

    def __init__(self, signal_number: int, step: int, path: Path) -> None:
        super().__init__(f"stopped after step {step}; saved {path}")
        self.signal_number, self.step, self.path = signal_number, step, path


@dataclass(frozen=True)
class Progress:
    """What a watcher may want to show after a step."""

    step: int
    steps: int
    tokens: int
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens_per_second: float
    flops_per_second: float
    seconds_left: float


class Watcher(Protocol):
    """Sees a run as it happens."""

    def begin(
        self, model: GPT, config: PretrainingConfig, resumed_at: int, device: str
    ) -> None: ...
    def step(self, progress: Progress) -> None: ...
    def evaluated(self, step: int, bits_per_byte: float) -> None: ...
    def sampled(self, step: int, prompts: Sequence[str], texts: Sequence[str]) -> None: ...
    def saved(self, step: int, path: Path) -> None: ...


def pretrain(
    config: PretrainingConfig,
    watcher: Watcher,
    resume: bool = False,
    sampler: Sampler | None = None,
) -> GPT:
    """Run to the end and return the model; everything else is in ``config.directory``.

    Raises:
        UserError: the directory holds another run and ``resume`` is not set, or data, tokenizer
            and checkpoint don't belong together.
        Interrupted: SIGTERM or Ctrl-C came; a checkpoint of the last step is saved.
    """
    training = config.training
    device = choose_device(training.device)
    dtype = choose_precision(training.precision, device)
    tokenizer = Tokenizer.load(config.data.tokenizer)
    train_data = TokenData(
        config.data.directory / TRAIN,
        training.sequence_length,
        config.data.weights or None,
        training.seed,
    )
    if train_data.fingerprint != tokenizer.fingerprint:
        raise UserError(
            f"{config.data.directory}: was tokenized by another tokenizer than "
            f"{config.data.tokenizer}; tokenize again or name the one it was made with"
        )
    checkpoints = config.directory / "checkpoints"
    earlier = checkpoint.steps(checkpoints)
    if earlier and not resume:
        raise UserError(
            f"{config.directory}: holds a run at step {earlier[-1]}; "
            "go on with --resume or choose another directory"
        )
    config.directory.mkdir(parents=True, exist_ok=True)

    model = GPT(config.model.shape(tokenizer.vocabulary_size), training.seed).to(device)
    peak = config.peak_learning_rate
    optimizer = build_optimizer(model, config.optimizer, peak)
    step = 0
    if earlier:
        state = checkpoint.load(checkpoint.path_of(checkpoints, earlier[-1]), model, optimizer)
        if state.tokenizer_fingerprint != tokenizer.fingerprint:
            raise UserError(f"{checkpoints}: was begun with another tokenizer")
        if state.step and state.seed != training.seed:  # step 0: imported, no order of data yet
            raise UserError(f"{checkpoints}: was begun with training.seed={state.seed}")
        if state.step and state.optimizer not in (None, config.optimizer.name):
            raise UserError(
                f"{checkpoints}: was begun with optimizer.name={state.optimizer}; go on with it, "
                "or export the model and begin another run from its weights"
            )
        step = state.step
    write_json(config.directory / "run.json", _record(config, model, device, dtype))
    metrics = Metrics(config.directory, step, config.logging.tensorboard)
    watcher.begin(model, config, step, describe(device))

    hidden = torch.compile(model.hidden) if training.compile else model.hidden
    flops_per_token = cost.training_flops_per_token(model.config, training.sequence_length)
    evaluate = _evaluator(config, tokenizer, device, dtype)

    def save() -> Path:
        tokens = step * training.batch_tokens
        state = checkpoint.TrainingState(
            step, tokens, training.seed, tokenizer.fingerprint, config.optimizer.name
        )
        path = checkpoint.save(checkpoints, state, model, optimizer, config.checkpoint.keep)
        watcher.saved(step, path)
        return path

    try:
        with _stop_requests() as stop:
            clock, clock_step = time.perf_counter(), step
            while step < training.steps:
                windows = train_data.batch(step * training.batch_samples, training.batch_samples)
                tokens = (step + 1) * training.batch_tokens
                rate = learning_rate(
                    tokens, training.steps * training.batch_tokens, peak, config.optimizer
                )
                for group in optimizer.param_groups:
                    group["lr"] = rate
                loss, norm = training_step(
                    model,
                    hidden,
                    optimizer,
                    torch.from_numpy(windows).to(device, non_blocking=True),
                    training.microbatch_samples,
                    config.optimizer.clip,
                    dtype,
                    (training.seed, step),
                )
                step += 1
                last = step == training.steps
                if last or step % config.logging.every_steps == 0:
                    if not torch.isfinite(loss):
                        raise UserError(
                            f"the loss is {loss.item()} at step {step}: lower "
                            "optimizer.learning_rate or lengthen warmup_tokens, and --resume"
                        )
                    seconds = time.perf_counter() - clock
                    speed = (step - clock_step) * training.batch_tokens / seconds
                    progress = Progress(
                        step,
                        training.steps,
                        tokens,
                        loss.item(),
                        rate,
                        norm.item(),
                        speed,
                        speed * flops_per_token,
                        (training.steps - step) * training.batch_tokens / speed,
                    )
                    metrics.write(
                        "train",
                        step,
                        tokens=tokens,
                        loss=progress.loss,
                        learning_rate=rate,
                        gradient_norm=progress.gradient_norm,
                        tokens_per_second=round(speed, 1),
                        flops_per_second=round(progress.flops_per_second),
                    )
                    watcher.step(progress)
                    clock, clock_step = time.perf_counter(), step
                pause = time.perf_counter()
                if last or step % config.checkpoint.every_steps == 0:
                    saved = save()
                    if not last and stop.signal_number:
                        raise Interrupted(stop.signal_number, step, saved)
                elif stop.signal_number:
                    raise Interrupted(stop.signal_number, step, save())
                if evaluate and (last or _due(step, config.evaluation.every_steps)):
                    value = evaluate(model)
                    metrics.write("evaluation", step, tokens=tokens, bits_per_byte=value)
                    watcher.evaluated(step, value)
                if sampler and _due(step, config.samples.every_steps):
                    texts = list(sampler(model, config.samples))
                    metrics.write(
                        "samples", step, prompts=list(config.samples.prompts), texts=texts
                    )
                    watcher.sampled(step, config.samples.prompts, texts)
                clock += time.perf_counter() - pause  # speed is that of training alone
    finally:
        metrics.close()
    return model.eval()


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _evaluator(
    config: PretrainingConfig, tokenizer: Tokenizer, device: torch.device, dtype: torch.dtype
) -> Callable[[GPT], float] | None:
    """Bits per byte on the held-out shards, or None where there are none or none are asked for."""
    directory = config.data.directory / HELD_OUT
    if not config.evaluation.tokens or not any(directory.glob("*.json")):
        return None
    windows = torch.from_numpy(
        held_out_windows(directory, config.training.sequence_length, config.evaluation.tokens)
    ).to(device)
    lengths = torch.tensor(
        [len(tokenizer.token_bytes(token)) for token in range(tokenizer.vocabulary_size)],
        device=device,
    )
    lengths[tokenizer.end_of_text_id] = 0
    microbatch = config.training.microbatch_samples
    return lambda model: bits_per_byte(model, windows, lengths, microbatch, dtype)


def _record(
    config: PretrainingConfig, model: GPT, device: torch.device, dtype: torch.dtype
) -> dict[str, object]:
    """Everything one needs to run it again."""
    return {
        "configuration": to_mapping(config),
        "parameters": cost.parameters(model.config),
        "device": describe(device),
        "precision": str(dtype).removeprefix("torch."),
        "versions": {
            "hyperclova": hyperclova.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "git_revision": _git_revision(),
    }


def _git_revision() -> str | None:
    try:
        found = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


class _StopRequest:
    signal_number: int = 0


@contextmanager
def _stop_requests() -> Iterator[_StopRequest]:
    """Note SIGTERM and SIGINT for the loop to act on after the step; a second one acts at once."""
    request = _StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        if request.signal_number:
            raise KeyboardInterrupt
        request.signal_number = number

    previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
