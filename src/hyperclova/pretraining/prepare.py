"""All that a run needs before its first step, and its state between two steps."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from hyperclova.corpus.split import HELD_OUT, TRAIN
from hyperclova.durable import write_json
from hyperclova.errors import UserError
from hyperclova.model import GPTConfig
from hyperclova.parallel.device import choose_precision, describe, keep_freed_memory
from hyperclova.parallel.place import Placed, place
from hyperclova.pretraining import checkpoint, preflight
from hyperclova.pretraining.checkpoint import Checkpoints, TrainingState
from hyperclova.pretraining.config import PretrainingConfig
from hyperclova.pretraining.guard import Guard
from hyperclova.pretraining.metrics import Metrics
from hyperclova.pretraining.objective import CrossEntropy
from hyperclova.pretraining.optimizer import build_optimizer
from hyperclova.pretraining.ramp import recut
from hyperclova.pretraining.record import record
from hyperclova.pretraining.reports import Reports, Watcher
from hyperclova.pretraining.step import bits_per_byte
from hyperclova.tokenizer import Tokenizer
from hyperclova.tokens.batches import TokenData, held_out_windows


@dataclass
class Run:
    """A run as this process has it; ``step`` and ``tokens`` are those behind it."""

    config: PretrainingConfig
    shape: GPTConfig
    device: torch.device
    dtype: torch.dtype
    tokenizer: Tokenizer
    data: TokenData
    placed: Placed
    objective: CrossEntropy
    optimizer: torch.optim.Optimizer
    guard: Guard
    checkpoints: Checkpoints
    reports: Reports
    evaluate: Callable[[], float] | None
    """Bits per byte on the held-out shards, if there are any and they are asked for."""
    step: int
    tokens: int

    def windows(self) -> Tensor:
        """This process's rows of the next batch, ``(rows, time + 1)``, on the processor."""
        training, portion = self.config.training, self.config.steps.portion(self.step)
        mine = portion.batch_tokens // training.sequence_length // self.placed.data_groups
        first = portion.before // training.sequence_length + self.placed.data_rank * mine
        windows = torch.from_numpy(self.data.batch(first, mine))
        return recut(windows, portion.sequence_length)

    def save(self) -> Path:
        """Begin to write a checkpoint of where the run stands."""
        state = TrainingState(
            self.step,
            self.tokens,
            self.config.training.seed,
            self.tokenizer.fingerprint,
            self.config.optimizer.name,
            guard=self.guard.state(),
        )
        path = self.checkpoints.save(state, self.placed, self.optimizer)
        self.reports.saved(self.step, path)
        return path


def prepare(config: PretrainingConfig, processes: int, watcher: Watcher, resume: bool) -> Run:
    """Check the run, place the model, and go to the newest checkpoint if there is one.

    Raises:
        UserError: something does not belong together.
    """
    training, recipe = config.training, config.recipe
    leads = processes == 1 or dist.get_rank() == 0
    subject = preflight.Subject.of(config, processes)
    shape, layout, device = subject.shape, subject.layout, subject.device
    findings = preflight.examine(subject)
    preflight.require(findings)
    dtype = choose_precision(training.precision, device)
    keep_freed_memory(device)
    tokenizer = Tokenizer.load(config.data.tokenizer)
    data = TokenData(
        config.data.directory / TRAIN,
        training.sequence_length,
        config.data.weights or None,
        training.seed,
    )
    if data.fingerprint != tokenizer.fingerprint:
        raise UserError(
            f"{config.data.directory}: was tokenized by another tokenizer than "
            f"{config.data.tokenizer}; tokenize again or name the one it was made with"
        )
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
    optimizer = build_optimizer(placed, config.optimizer, config.peak_learning_rate)
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
    return Run(
        config,
        shape,
        device,
        dtype,
        tokenizer,
        data,
        placed,
        objective,
        optimizer,
        guard,
        checkpoints,
        Reports(watcher, metrics),
        _evaluator(config, tokenizer, placed),
        step,
        config.steps.portion(step).before,
    )


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


def _evaluator(
    config: PretrainingConfig, tokenizer: Tokenizer, placed: Placed
) -> Callable[[], float] | None:
    """Bits per byte on the held-out shards, or None where there are none or none are asked for."""
    directory = config.data.directory / HELD_OUT
    if not config.evaluation.tokens or not any(directory.glob("*.json")):
        return None
    windows = torch.from_numpy(
        held_out_windows(directory, config.training.sequence_length, config.evaluation.tokens)
    ).to(placed.device)
    lengths = torch.tensor(
        [len(tokenizer.token_bytes(token)) for token in range(tokenizer.vocabulary_size)],
        device=placed.device,
    )
    lengths[tokenizer.end_of_text_id] = 0
    return lambda: bits_per_byte(placed, windows, lengths)
