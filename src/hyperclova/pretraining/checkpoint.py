"""Checkpoints: written beside, then renamed; so what carries a step's name is whole.

``checkpoints/step-00000200/`` holds a distributed checkpoint (``torch.distributed.checkpoint``)
of weights and optimiser state by parameter name, and ``state.json``. Data order, dropout and
learning rate are functions of the step, so the step is all the state there is besides. Names and
shapes are those of the whole model, so a checkpoint loads into any layout.
"""

import json
import os
import re
import shutil
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict_loader import load as load_tensors
from torch.distributed.checkpoint.state_dict_saver import async_save

from hyperclova.errors import UserError
from hyperclova.parallel.place import TIED, Placed

# One process saving or reading alone is meant wherever it happens; the thread that saves is
# beyond the reach of a filter set for a while.
warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or unin")

_NAME = re.compile(r"step-(\d{8})$")
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")
FORMAT = 2
"""2: rows of the fused projection go head by head."""


@dataclass(frozen=True)
class TrainingState:
    """Where a run stands after an optimiser step."""

    step: int
    tokens: int
    seed: int
    tokenizer_fingerprint: str
    optimizer: str | None = None
    """``optimizer.name`` of the run; None where the checkpoint does not say."""
    format: int = FORMAT
    guard: dict[str, Any] | None = None
    """What the guard remembers (:meth:`Guard.state`)."""


def path_of(directory: Path, step: int) -> Path:
    return directory / f"step-{step:08}"


def steps(directory: Path) -> list[int]:
    """Steps of the whole checkpoints in ``directory``, ascending."""
    found = [_NAME.match(path.name) for path in directory.glob("step-*") if path.is_dir()]
    return sorted(int(match[1]) for match in found if match)


class Checkpoints:
    """Writes the checkpoints of a run while the run goes on.

    :meth:`save` copies what is to be written and returns; a thread writes it, makes it durable,
    gives it its name and drops old ones. Killed at any moment, the directory holds the earlier
    checkpoints or also this one, whole. One save is under way at a time.

    Every process of the run makes one and calls the same methods in the same order.

    Args:
        keep: how many of the newest to keep.
        permanent_every: steps whose multiples are kept for good; 0: none.
    """

    def __init__(self, directory: Path, keep: int, permanent_every: int = 0) -> None:
        self.directory, self.keep, self.permanent_every = directory, keep, permanent_every
        self._distributed = dist.is_initialized()
        # A group of their own: a save's messages must not meet those of training.
        self._group = dist.new_group(backend="gloo") if self._distributed else None
        self._leads = not self._distributed or dist.get_rank() == 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        if self._leads:
            for leftover in directory.glob("*.incomplete"):
                shutil.rmtree(leftover)

    def newest(self) -> int | None:
        """The newest whole checkpoint's step, the same on every process."""
        found: list[int | None] = [None]
        if self._leads:
            found[0] = max(steps(self.directory), default=None)
        if self._distributed:
            dist.broadcast_object_list(found, group=self._group)
        return found[0]

    def save(self, state: TrainingState, placed: Placed, optimizer: torch.optim.Optimizer) -> Path:
        """Begin to write a checkpoint, once the one before is written.

        Raises:
            UserError: the one before could not be written.
        """
        self.wait()
        final = path_of(self.directory, state.step)
        partial = final.with_name(final.name + ".incomplete")
        partial.mkdir(parents=True, exist_ok=True)
        weights = {name: parameter.detach() for name, parameter in placed.parameters.items()}
        tensors = {"model": weights, "optimizer": _moments(placed, optimizer)}
        written = async_save(
            tensors,
            storage_writer=FileSystemWriter(partial, sync_files=True),
            process_group=self._group,
            no_dist=not self._distributed,
        )
        assert isinstance(written, Future)
        self._pending = self._thread.submit(self._finish, written, partial, final, state)
        return final

    def wait(self) -> None:
        """Until the checkpoint under way is whole and has its name.

        Raises:
            UserError: it could not be written.
        """
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        try:
            pending.result()
        except (OSError, RuntimeError, CheckpointException) as error:
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
            raise UserError(
                f"{self.directory}: the checkpoint could not be written: {reason}; the earlier "
                "ones are whole: mend this and --resume"
            ) from error

    def close(self) -> None:
        """Wait for the last checkpoint, on every process."""
        self.wait()
        self._thread.shutdown()
        if self._distributed:
            dist.barrier(group=self._group)

    def _finish(
        self, written: "Future[Any]", partial: Path, final: Path, state: TrainingState
    ) -> None:
        written.result()  # the first process's ends after all have written
        if not self._leads:
            return
        with (partial / "state.json").open("w", encoding="utf-8") as file:
            json.dump(asdict(state), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(partial)
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
        _sync_directory(self.directory)
        passing = [
            step
            for step in steps(self.directory)
            if not self.permanent_every or step % self.permanent_every
        ]
        for old in passing[: -self.keep]:
            # Renamed first: an interrupted removal must not leave half a checkpoint by name.
            doomed = path_of(self.directory, old).rename(
                self.directory / f"step-{old:08}.incomplete"
            )
            shutil.rmtree(doomed)


def read_state(path: Path) -> TrainingState:
    """What a checkpoint says of itself.

    Raises:
        UserError: not a whole checkpoint, or one of an older format.
    """
    try:
        tree = json.loads((path / "state.json").read_text(encoding="utf-8"))
        tree.setdefault("format", 1)
        state = TrainingState(**tree)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a checkpoint: {error}") from None
    if state.format != FORMAT:
        raise UserError(
            f"{path}: written by another version (format {state.format}, this one reads "
            f"{FORMAT}); export it to a model directory with that version and begin from there"
        )
    return state


def load(
    path: Path, placed: Placed, optimizer: torch.optim.Optimizer | None = None
) -> TrainingState:
    """Read a checkpoint into a placed model and its optimiser, to the last bit.

    Raises:
        UserError: not a whole checkpoint, or one of another model.
    """
    state = read_state(path)
    tensors: dict[str, Any] = {
        "model": {name: parameter.detach() for name, parameter in placed.parameters.items()}
    }
    moments: dict[str, dict[str, Tensor]] = {}
    if optimizer is not None:
        moments = {name: _zero_moments(p) for name, p in placed.parameters.items()}
        tensors["optimizer"] = moments
    read_tensors(path, tensors)
    if optimizer is not None:
        for name, parameter in placed.parameters.items():
            optimizer.state[parameter] = moments[name]
    for copy in placed.copies:
        original = placed.parameters[TIED]
        if copy is original:
            continue
        with torch.no_grad():
            copy.copy_(original)
        if optimizer is not None:
            optimizer.state[copy] = {name: t.clone() for name, t in moments[TIED].items()}
    return state


def read_tensors(path: Path, tensors: dict[str, Any], alone: bool = False) -> None:
    """Fill a tree of tensors, divided or not, from a checkpoint; others in it are left alone.

    Args:
        alone: this process reads by itself, though there may be others.

    Raises:
        UserError: one is not there, or of another shape.
    """
    try:
        load_tensors(
            tensors,
            storage_reader=FileSystemReader(path),
            no_dist=alone or not dist.is_initialized(),
        )
    except (RuntimeError, ValueError, KeyError, CheckpointException) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
        raise UserError(f"{path}: does not fit this model: {reason}") from None


def _moments(placed: Placed, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Tensor]]:
    """Optimiser state by name; zeros before the first step."""
    return {
        name: {moment: optimizer.state[parameter][moment] for moment in _MOMENTS}
        if parameter in optimizer.state
        else _zero_moments(parameter)
        for name, parameter in placed.parameters.items()
    }


def _zero_moments(parameter: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        return {
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
            "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
        }


def _sync_directory(path: Path) -> None:
    """Make the names in a directory durable, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
