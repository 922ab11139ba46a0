"""The pretraining loop, on one process or many: step, log, save, then evaluate.

A checkpoint comes before the evaluation of the same step, so that nothing an evaluation does can
cost training. SIGTERM to any process saves and ends the run with exit status 75 ("try again");
after kill -9 the run goes on from the newest whole checkpoint and arrives at the same weights, bit
for bit, on the same machines with the same layout and number of threads. In another layout it
goes on with the same data in the same order, up to rounding.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.distributed as dist

from hyperclova.corpus.split import HELD_OUT, TRAIN
from hyperclova.durable import write_json
from hyperclova.errors import UserError
from hyperclova.model import GPT, GPTConfig, cost
from hyperclova.parallel.device import choose_precision, describe
from hyperclova.parallel.mesh import world
from hyperclova.parallel.place import Placed, place
from hyperclova.pretraining import checkpoint, preflight
from hyperclova.pretraining.checkpoint import Checkpoints, TrainingState
from hyperclova.pretraining.config import PretrainingConfig, SamplesSection
from hyperclova.pretraining.guard import Guard
from hyperclova.pretraining.metrics import Metrics
from hyperclova.pretraining.objective import CrossEntropy
from hyperclova.pretraining.optimizer import build_optimizer, learning_rate, set_learning_rate
from hyperclova.pretraining.ramp import recut
from hyperclova.pretraining.record import record
from hyperclova.pretraining.signals import stop_requests
from hyperclova.pretraining.step import bits_per_byte, training_step
from hyperclova.pretraining.stragglers import Stragglers
from hyperclova.pretraining.watchdog import watching
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
        self, shape: GPTConfig, config: PretrainingConfig, resumed_at: int, device: str
    ) -> None: ...
    def step(self, progress: Progress) -> None: ...
    def evaluated(self, step: int, bits_per_byte: float) -> None: ...
    def sampled(self, step: int, prompts: Sequence[str], texts: Sequence[str]) -> None: ...
    def saved(self, step: int, path: Path) -> None: ...
    def noticed(self, step: int, what: str) -> None: ...


def pretrain(
    config: PretrainingConfig,
    watcher: Watcher,
    resume: bool = False,
    sampler: Sampler | None = None,
) -> Path:
    """Run to the end; everything is in ``config.directory``.

    Under ``torchrun`` every process calls this with the same arguments; the first one watches and
    writes the metrics.

    Returns:
        The last checkpoint.

    Raises:
        UserError: the directory holds another run and ``resume`` is not set, or data, tokenizer,
            layout and checkpoint don't belong together.
        Interrupted: SIGTERM or Ctrl-C came; a checkpoint of the last step is saved.
    """
    with world(2 * config.watchdog.slow_seconds) as processes:
        return _pretrain(config, watcher, resume, sampler, processes)


def _pretrain(
    config: PretrainingConfig,
    watcher: Watcher,
    resume: bool,
    sampler: Sampler | None,
    processes: int,
) -> Path:
    training, recipe, steps = config.training, config.recipe, config.steps
    leads = processes == 1 or dist.get_rank() == 0
    subject = preflight.Subject.of(config, processes)
    shape, layout, device = subject.shape, subject.layout, subject.device
    findings = preflight.examine(subject)
    preflight.require(findings)
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
    if sampler and processes > 1:
        raise UserError("samples.every_steps: samples are written by runs of one process only")
    config.directory.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(
        config.directory / "checkpoints",
        config.checkpoint.keep,
        config.checkpoint.permanent_every_steps,
    )
    earlier = checkpoints.newest()
    if earlier is not None and not resume:
        raise UserError(
            f"{config.directory}: holds a run at step {earlier}; "
            "go on with --resume or choose another directory"
        )
    objective = CrossEntropy(dtype, recipe.z_loss)
    placed = place(
        shape,
        training.seed,
        layout,
        device,
        dtype,
        objective,
        training.sequence_length,
        training.microbatch_samples,
        training.batch_samples,
        training.compile,
        documents=tokenizer.end_of_text_id if recipe.document_mask else None,
        float8=recipe.float8,
    )
    peak = config.peak_learning_rate
    optimizer = build_optimizer(placed, config.optimizer, peak)
    section = config.guard
    guard = Guard(section.spikes, section.window, section.patience, device)
    step = 0
    if earlier is not None:
        path = checkpoint.path_of(checkpoints.directory, earlier)
        state = checkpoint.load(path, placed, optimizer)
        step = _resumed(state, config, tokenizer, path)
        if state.guard:
            guard.load(state.guard)
    metrics = None
    if leads:
        write_json(config.directory / "run.json", record(config, shape, processes, device, dtype))
        metrics = Metrics(config.directory, step, config.logging.tensorboard)
        watcher.begin(shape, config, step, describe(device, processes))
        for finding in findings:
            if finding.level == "doubtful":
                watcher.noticed(step, finding.text)

    evaluate = _evaluator(config, tokenizer, device)
    stragglers = Stragglers(training.microbatch_tokens, shape.width, device, dtype)
    begun_at, tokens = step, steps.portion(step).before

    def report_skipped() -> bool:
        """Write down what was skipped since the last time; whether the last step was."""
        skipped = guard.take()
        if metrics:
            for found in skipped:
                values = {"loss": found.loss, "gradient_norm": found.gradient_norm}
                metrics.write("skipped", found.step, reason=found.reason, **values)
                watcher.noticed(found.step, str(found))
        guard.check(step)
        return bool(skipped) and skipped[-1].step == step

    def report_stragglers(step_seconds: float) -> None:
        for slow in stragglers.compare(step_seconds):  # rank 0's to know
            if metrics:
                metrics.write("straggler", step, **asdict(slow))
                watcher.noticed(step, str(slow))

    def save() -> Path:
        report_skipped()
        state = TrainingState(
            step,
            tokens,
            training.seed,
            tokenizer.fingerprint,
            config.optimizer.name,
            guard=guard.state(),
        )
        path = checkpoints.save(state, placed, optimizer)
        if leads:
            watcher.saved(step, path)
        return path

    saved = checkpoint.path_of(checkpoints.directory, step)
    try:
        with stop_requests() as stop, watching(config.directory, config.watchdog) as watchdog:
            clock, clock_step, step_seconds = time.perf_counter(), step, math.inf
            clock_tokens = tokens
            while step < steps.count:
                watchdog.at(step, "reading data")
                portion = steps.portion(step)
                mine = portion.batch_tokens // training.sequence_length // placed.data_groups
                first = portion.before // training.sequence_length + placed.data_rank * mine
                with stragglers.reading():
                    windows = torch.from_numpy(train_data.batch(first, mine))
                windows = recut(windows, portion.sequence_length)
                placed.microbatch = training.microbatch_tokens // portion.sequence_length
                watchdog.at(step, "training", slow=step == begun_at)  # which may compile
                tokens = portion.after
                rate = learning_rate(tokens, steps.tokens, peak, config.optimizer)
                set_learning_rate(optimizer, rate)
                loss, norm = training_step(
                    placed,
                    optimizer,
                    windows.to(device, non_blocking=True),
                    config.optimizer.clip,
                    (training.seed, step),
                    guard,
                )
                step += 1
                last = step == steps.count
                logged = last or step % config.logging.every_steps == 0
                skipped = report_skipped() if logged else False
                if logged:
                    seconds = time.perf_counter() - clock
                    step_seconds = seconds / (step - clock_step)
                    speed = (tokens - clock_tokens) / seconds
                    clock, clock_step, clock_tokens = time.perf_counter(), step, tokens
                    z_loss = {"z_loss": _mean(placed, objective)} if recipe.z_loss else {}
                if logged and not skipped:
                    flops = cost.training_flops_per_token(shape, portion.sequence_length)
                    progress = Progress(
                        step,
                        steps.count,
                        tokens,
                        loss.item(),
                        rate,
                        norm.item(),
                        speed,
                        speed * flops,
                        (steps.tokens - tokens) / speed,
                    )
                    if metrics:
                        metrics.write(
                            "train",
                            step,
                            tokens=tokens,
                            loss=progress.loss,
                            **z_loss,
                            learning_rate=rate,
                            gradient_norm=progress.gradient_norm,
                            tokens_per_second=round(speed, 1),
                            flops_per_second=round(progress.flops_per_second),
                        )
                        watcher.step(progress)
                pause = time.perf_counter()
                if processes > 1 and _due(step, config.watchdog.straggler_steps):
                    report_stragglers(step_seconds)
                wanted = 0 if last else stop.agreed()
                watchdog.at(step, "saving or evaluating", slow=True)
                if last or wanted or step % config.checkpoint.every_steps == 0:
                    saved = save()
                if wanted:
                    checkpoints.wait()
                    raise Interrupted(wanted, step, saved)
                placed.microbatch = training.microbatch_samples
                if evaluate and (last or _due(step, config.evaluation.every_steps)):
                    value = evaluate(placed)
                    if metrics:
                        metrics.write("evaluation", step, tokens=tokens, bits_per_byte=value)
                        watcher.evaluated(step, value)
                if sampler and metrics and _due(step, config.samples.every_steps):
                    texts = list(sampler(placed.model, config.samples))
                    metrics.write(
                        "samples", step, prompts=list(config.samples.prompts), texts=texts
                    )
                    watcher.sampled(step, config.samples.prompts, texts)
                clock += time.perf_counter() - pause  # speed is that of training alone
            checkpoints.close()
    finally:
        if metrics:
            metrics.close()
    return saved


def check(config: PretrainingConfig) -> list[preflight.Finding]:
    """What :func:`pretrain` checks before its first step, and no more."""
    with world() as processes:
        return preflight.examine(preflight.Subject.of(config, processes))


def _resumed(
    state: TrainingState, config: PretrainingConfig, tokenizer: Tokenizer, path: Path
) -> int:
    """The step a checkpoint was written after, if it belongs to this run."""
    if state.tokenizer_fingerprint != tokenizer.fingerprint:
        raise UserError(f"{path}: was begun with another tokenizer")
    # A checkpoint of step 0 is imported: no order of data yet, and no multipliers any more.
    if not state.step and config.recipe.base:
        raise UserError(
            f"{path}: an imported model has its multipliers in its weights; leave recipe.base out"
        )
    if state.step and state.tokens != config.steps.portion(state.step).before:
        raise UserError(
            f"{path}: had read {state.tokens:,} tokens after {state.step:,} steps: was begun with "
            "other values of training.batch_tokens or recipe.batch_ramp"
        )
    if state.step and state.seed != config.training.seed:
        raise UserError(f"{path}: was begun with training.seed={state.seed}")
    if state.step and state.optimizer not in (None, config.optimizer.name):
        raise UserError(
            f"{path}: was begun with optimizer.name={state.optimizer}; go on with it, "
            "or export the model and begin another run from its weights"
        )
    return state.step


def _mean(placed: Placed, objective: CrossEntropy) -> float:
    """Of the z-losses since the last time, over all processes."""
    total, targets = placed.sum(objective.take(placed.device)).tolist()
    return float(total / max(1.0, targets))


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _evaluator(
    config: PretrainingConfig, tokenizer: Tokenizer, device: torch.device
) -> Callable[[Placed], float] | None:
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
    return lambda placed: bits_per_byte(placed, windows, lengths)
