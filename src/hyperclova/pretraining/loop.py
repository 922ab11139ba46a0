"""The pretraining loop, on one process or many: step, log, save, then evaluate.

A checkpoint comes before the evaluation of the same step, so that nothing an evaluation does can
cost training. SIGTERM to any process saves and ends the run with exit status 75 ("try again");
after kill -9 the run goes on from the newest whole checkpoint and arrives at the same weights, bit
for bit, on the same machines with the same layout and number of threads. In another layout it
goes on with the same data in the same order, up to rounding.
"""

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from hyperclova.errors import UserError
from hyperclova.model import GPT, cost
from hyperclova.parallel.mesh import world
from hyperclova.parallel.place import Placed
from hyperclova.pretraining import checkpoint, preflight
from hyperclova.pretraining.config import PretrainingConfig, SamplesSection
from hyperclova.pretraining.objective import CrossEntropy
from hyperclova.pretraining.optimizer import learning_rate, set_learning_rate
from hyperclova.pretraining.prepare import Run, prepare
from hyperclova.pretraining.reports import Progress, Watcher
from hyperclova.pretraining.signals import StopRequest, stop_requests
from hyperclova.pretraining.step import training_step
from hyperclova.pretraining.stragglers import Stragglers
from hyperclova.pretraining.watchdog import Watchdog, watching

Sampler = Callable[[GPT, SamplesSection], Sequence[str]]
"""Writes one continuation per prompt; the caller brings it, the engine is a floor above."""


class Interrupted(Exception):  # noqa: N818 - not an error: the run is whole and can go on
    """The run was asked to stop and has saved a checkpoint."""

    def __init__(self, signal_number: int, step: int, path: Path) -> None:
        super().__init__(f"stopped after step {step}; saved {path}")
        self.signal_number, self.step, self.path = signal_number, step, path

    @property
    def exit_status(self) -> int:
        """75 after SIGTERM (EX_TEMPFAIL: a scheduler may start the same command again)."""
        return 75 if self.signal_number == signal.SIGTERM else 128 + self.signal_number


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
        if sampler and processes > 1:
            raise UserError("samples.every_steps: samples are written by runs of one process only")
        run = prepare(config, processes, watcher, resume)
        try:
            with stop_requests() as stop, watching(config.directory, config.watchdog) as watchdog:
                return _train(run, sampler, processes, stop, watchdog)
        finally:
            run.reports.close()


def check(config: PretrainingConfig) -> list[preflight.Finding]:
    """What :func:`pretrain` checks before its first step, and no more."""
    with world() as processes:
        return preflight.examine(preflight.Subject.of(config, processes))


def _train(
    run: Run, sampler: Sampler | None, processes: int, stop: StopRequest, watchdog: Watchdog
) -> Path:
    config, training, steps = run.config, run.config.training, run.config.steps
    placed, guard = run.placed, run.guard
    stragglers = Stragglers(training.microbatch_tokens, run.shape.width, run.device, run.dtype)
    begun_at, peak = run.step, config.peak_learning_rate
    saved = checkpoint.path_of(run.checkpoints.directory, run.step)
    clock = _Clock(run)
    while run.step < steps.count:
        watchdog.at(run.step, "reading data")
        portion = steps.portion(run.step)
        with stragglers.reading():
            windows = run.windows()
        watchdog.at(run.step, "training", slow=run.step == begun_at)  # which may compile
        rate = learning_rate(portion.after, steps.tokens, peak, config.optimizer)
        set_learning_rate(run.optimizer, rate)
        placed.microbatch = training.microbatch_tokens // portion.sequence_length
        loss, norm = training_step(
            placed,
            run.optimizer,
            windows.to(run.device, non_blocking=True),
            config.optimizer.clip,
            (training.seed, run.step),
            guard,
        )
        placed.microbatch = training.microbatch_samples
        run.step, run.tokens = run.step + 1, portion.after
        last = run.step == steps.count
        if last or run.step % config.logging.every_steps == 0:
            clock.lap()
            _report(run, clock, loss, norm, rate)
        with clock.paused():  # speed is that of training alone
            if processes > 1 and _due(run.step, config.watchdog.straggler_steps):
                run.reports.slow(run.step, stragglers.compare(clock.step_seconds))
            wanted = 0 if last else stop.agreed()
            watchdog.at(run.step, "saving or evaluating", slow=True)
            if last or wanted or run.step % config.checkpoint.every_steps == 0:
                _report_skipped(run)
                saved = run.save()
            if wanted:
                run.checkpoints.wait()
                raise Interrupted(wanted, run.step, saved)
            if run.evaluate and (last or _due(run.step, config.evaluation.every_steps)):
                run.reports.evaluated(run.step, run.tokens, run.evaluate())
            if sampler and _due(run.step, config.samples.every_steps):
                texts = sampler(placed.model, config.samples)
                run.reports.sampled(run.step, config.samples.prompts, texts)
    run.checkpoints.close()
    return saved


def _report(run: Run, clock: "_Clock", loss: Tensor, norm: Tensor, rate: float) -> None:
    """Tell of the last step, unless it was skipped."""
    steps = run.config.steps
    z_loss = _mean(run.placed, run.objective) if run.config.recipe.z_loss else None
    if _report_skipped(run):
        return
    sequence_length = steps.portion(run.step - 1).sequence_length
    flops = cost.training_flops_per_token(run.shape, sequence_length)
    progress = Progress(
        run.step,
        steps.count,
        run.tokens,
        loss.item(),
        rate,
        norm.item(),
        clock.tokens_per_second,
        clock.tokens_per_second * flops,
        (steps.tokens - run.tokens) / clock.tokens_per_second,
    )
    run.reports.step(progress, z_loss)


def _report_skipped(run: Run) -> bool:
    """Tell what was skipped since the last time; whether the last step was."""
    skipped = run.guard.take()
    run.reports.skipped(skipped)
    run.guard.check(run.step)
    return bool(skipped) and skipped[-1].step == run.step


@dataclass
class _Clock:
    """How fast a run trains, from lap to lap."""

    run: Run

    def __post_init__(self) -> None:
        self.step_seconds = math.inf
        self.tokens_per_second = 0.0
        self._begin()

    def _begin(self) -> None:
        self._time, self._step, self._tokens = time.perf_counter(), self.run.step, self.run.tokens

    def lap(self) -> None:
        """Take the speed since the last lap."""
        seconds = time.perf_counter() - self._time
        self.step_seconds = seconds / (self.run.step - self._step)
        self.tokens_per_second = (self.run.tokens - self._tokens) / seconds
        self._begin()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside is not counted."""
        begun = time.perf_counter()
        yield
        self._time += time.perf_counter() - begun


def _mean(placed: Placed, objective: CrossEntropy) -> float:
    """Of the z-losses since the last time, over all processes."""
    total, targets = placed.sum(objective.take(placed.device)).tolist()
    return float(total / max(1.0, targets))


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
