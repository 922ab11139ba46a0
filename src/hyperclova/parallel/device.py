"""The one place that knows device types."""

import contextlib
import ctypes
import os
from pathlib import Path

import torch
from torch import Tensor

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


def products_outrun_attention(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether :mod:`hyperclova.parallel.attention` is faster here than PyTorch's kernel.

    Measured in bfloat16 on a Zen 4 (AVX512-BF16). Where there are AMX tiles, the kernel has
    products of its own for them; we have not measured it there and leave it to PyTorch.
    """
    if device.type != "cpu" or dtype != torch.bfloat16:
        return False
    return torch.cpu._is_avx512_bf16_supported() and not torch.cpu._is_amx_tile_supported()


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager[object]:
    """Run matrix products in ``dtype`` inside this context."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)


def keep_freed_memory(device: torch.device) -> None:
    """Let this process keep what tensors on a CPU free, for the tensors of the next step.

    glibc gives large blocks back to the system at once, and each step takes them again, as pages
    that the kernel has to find and clear first: a third of a step's time, where products run in
    bfloat16. The process's memory stays at its most thereafter. On accelerators, where PyTorch
    keeps memory itself, and with other C libraries, this does nothing.
    """
    library = ctypes.CDLL(None)
    if device.type == "cpu" and hasattr(library, "gnu_get_libc_version"):
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, -1)


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h; a threshold of -1 is none


def describe(device: torch.device, processes: int = 1) -> str:
    """The hardware in words, for the run's record."""
    one = f"CPU, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        one = torch.cuda.get_device_name(device)
    return one if processes == 1 else f"{processes} processes of {one}"


def to_host(tensor: Tensor) -> Tensor:
    """The tensor on the CPU, when it is there."""
    if tensor.device.type != "cuda":
        return tensor.cpu()
    # Into pinned memory, which torch keeps for the next time: several times as fast.
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    host.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(tensor.device).synchronize()
    return host


def free_memory_of(device: torch.device) -> float:
    """Bytes of memory that this process may still take on a device; on CPUs, those it may have."""
    if device.type == "cpu":
        return memory_of(device)
    free, _ = torch.get_device_module(device).mem_get_info(device)
    return float(free)


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
