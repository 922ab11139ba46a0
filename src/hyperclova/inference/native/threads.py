"""How many threads share what one thread computes."""

import ctypes
import functools

import torch

from hyperclova.inference.native.build import openmp_runtime


def use_threads(count: int) -> None:
    """Share what the calling thread computes among ``count`` threads.

    ``torch.set_num_threads`` would do so for all threads that begin to compute later, too: an
    engine with a small model would slow down whatever else computes in its process. It is the last
    resort, where PyTorch's OpenMP library is not known.
    """
    library = _openmp()
    if library is None:
        torch.set_num_threads(count)
        return
    torch.get_num_threads()  # PyTorch sets its own number when it first looks, on each thread
    library.omp_set_num_threads(count)


@functools.cache
def _openmp() -> ctypes.CDLL | None:
    path = openmp_runtime()
    return None if path is None else ctypes.CDLL(str(path))
