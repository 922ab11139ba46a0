"""Checkpoints: written beside, then renamed; so what carries a step's name is whole.

``checkpoints/step-00000200/`` holds a distributed checkpoint (``torch.distributed.checkpoint``)
of weights and optimiser state by parameter name, and ``state.json``. Data order, dropout and
learning rate are functions of the step, so the step is all the state there is besides.
"""

import json
import os
import re
import shutil
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict_loader import load as load_tensors
from torch.distributed.checkpoint.state_dict_saver import save as save_tensors

from hyperclova.errors import UserError
from hyperclova.model.gpt import GPT

_NAME = re.compile(r"step-(\d{8})$")
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True)
class TrainingState:
    """Where a run stands after an optimiser step."""

    step: int
    tokens: int
    seed: int
    tokenizer_fingerprint: str
    optimizer: str | None = None
    """``optimizer.name`` of the run; None where the checkpoint does not say."""


def path_of(directory: Path, step: int) -> Path:
    return directory / f"step-{step:08}"


def steps(directory: Path) -> list[int]:
    """Steps of the whole checkpoints in ``directory``, ascending."""
    found = [_NAME.match(path.name) for path in directory.glob("step-*") if path.is_dir()]
    return sorted(int(match[1]) for match in found if match)


def save(
    directory: Path,
    state: TrainingState,
    model: GPT,
    optimizer: torch.optim.Optimizer,
    keep: int,
) -> Path:
    """Write a checkpoint, make it durable, give it its name, and drop all but the newest ``keep``.

    Killed at any moment, the directory holds the earlier checkpoints or also this one, whole.
    """
    final = path_of(directory, state.step)
    partial = final.with_name(final.name + ".incomplete")
    for leftover in directory.glob("*.incomplete"):
        shutil.rmtree(leftover)
    partial.mkdir(parents=True)
    tensors = {"model": dict(model.state_dict()), "optimizer": _moments(model, optimizer)}
    with warnings.catch_warnings():
        # One process saving alone is what is meant here.
        warnings.filterwarnings("ignore", message=".*single process.*")
        save_tensors(
            tensors, storage_writer=FileSystemWriter(partial, sync_files=True), no_dist=True
        )
    with (partial / "state.json").open("w", encoding="utf-8") as file:
        json.dump(asdict(state), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    _sync_directory(partial)
    if final.exists():
        shutil.rmtree(final)
    partial.rename(final)
    _sync_directory(directory)
    for old in steps(directory)[:-keep]:
        # Renamed first: a removal that is interrupted must not leave half a checkpoint by name.
        doomed = path_of(directory, old).rename(directory / f"step-{old:08}.incomplete")
        shutil.rmtree(doomed)
    return final


def load(path: Path, model: GPT, optimizer: torch.optim.Optimizer | None = None) -> TrainingState:
    """Read a checkpoint into ``model`` and ``optimizer``, to the last bit.

    Raises:
        UserError: not a whole checkpoint, or one of another model.
    """
    try:
        state = TrainingState(**json.loads((path / "state.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: not a checkpoint: {error}") from None
    weights = dict(model.state_dict())
    tensors: dict[str, Any] = {"model": weights}
    moments: dict[str, dict[str, Tensor]] = {}
    if optimizer is not None:
        moments = {
            name: {
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
            }
            for name, parameter in model.named_parameters()
        }
        tensors["optimizer"] = moments
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*single process.*")
            load_tensors(tensors, storage_reader=FileSystemReader(path), no_dist=True)
    except (RuntimeError, ValueError, KeyError, CheckpointException) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
        raise UserError(f"{path}: does not fit this model: {reason}") from None
    model.load_state_dict(weights)
    if optimizer is not None:
        for name, parameter in model.named_parameters():
            optimizer.state[parameter] = moments[name]
    return state


def _moments(model: GPT, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Tensor]]:
    return {
        name: {moment: optimizer.state[parameter][moment] for moment in _MOMENTS}
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
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
