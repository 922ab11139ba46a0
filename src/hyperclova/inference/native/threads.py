"""How many threads share what one thread computes."""

import ctypes
import functools
import sys
from pathlib import Path

import torch


def use_threads(count: int) -> None:
    """Share what the calling thread computes among ``count`` threads.

    ``torch.set_num_threads`` would do so for all threads that begin to compute later, too: an
    engine with a small model would slow down whatever else computes in its process. It is the last
    resort, where PyTorch does not compute with OpenMP.
    """
    library = _openmp()
    if library is None:
        torch.set_num_threads(count)
        return
    torch.get_num_threads()  # PyTorch sets its own number when it first looks, on each thread
    library.omp_set_num_threads(count)


@functools.cache
def _openmp() -> ctypes.CDLL | None:
    """PyTorch's library, through which its OpenMP is found: the process may have others."""
    ending = "dylib" if sys.platform == "darwin" else "so"
    path = Path(torch.__file__).parent / "lib" / f"libtorch_cpu.{ending}"
    try:
        library = ctypes.CDLL(str(path))
        library.omp_set_num_threads  # noqa: B018  (AttributeError, if there is none)
    except (OSError, AttributeError):
        return None
    return library
