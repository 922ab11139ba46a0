"""The one place that knows device types."""

import contextlib
import os
from pathlib import Path

import torch

from hyperclova.errors import UserError


def choose_device(name: str) -> torch.device:
    """``auto`` takes the first accelerator, else the CPU.

    Raises:
        UserError: the device named does not exist here.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator() or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"training.device {name!r} can't be used here: {reason}") from None
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The type of matrix products; ``auto`` is bfloat16 where the hardware computes in it."""
    if name == "auto":
        return torch.bfloat16 if bfloat16_in_hardware(device) else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def bfloat16_in_hardware(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are computed as such, and so faster than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    return False


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager[object]:
    """Run matrix products in ``dtype`` inside this context."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)


def describe(device: torch.device, processes: int = 1) -> str:
    """The hardware in words, for the run's record."""
    one = f"CPU, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        one = torch.cuda.get_device_name(device)
    return one if processes == 1 else f"{processes} processes of {one}"


def memory_of(device: torch.device) -> float:
    """Bytes of memory that one of a run's processes on this machine may use on its device."""
    if device.type != "cpu":
        _, total = torch.get_device_module(device).mem_get_info(device)
        return float(total)
    memory = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        memory = min(memory, float(text))
    return memory / int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
