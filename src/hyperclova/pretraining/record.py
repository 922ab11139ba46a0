"""What a run writes down of itself, beside its output."""

import platform
import subprocess
from pathlib import Path

import torch

import hyperclova
from hyperclova.configuration import to_mapping
from hyperclova.model import GPTConfig, cost
from hyperclova.parallel.device import describe
from hyperclova.pretraining.config import PretrainingConfig


def record(
    config: PretrainingConfig,
    shape: GPTConfig,
    processes: int,
    device: torch.device,
    dtype: torch.dtype,
) -> dict[str, object]:
    """Everything one needs to run it again."""
    return {
        "configuration": to_mapping(config),
        "parameters": cost.parameters(shape),
        "processes": processes,
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
