"""PyTorch's OpenMP: which library it is, and how many of its threads share a thread's work.

Other packages bring libraries of their own into a process, so PyTorch's is found through PyTorch.
"""

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
    library = openmp()
    if library is None:
        torch.set_num_threads(count)
        return
    torch.get_num_threads()  # PyTorch sets its own number when it first looks, on each thread
    library.omp_set_num_threads(count)


@functools.cache
def openmp() -> ctypes.CDLL | None:
    """A library through which PyTorch's OpenMP can be called; None if it does without."""
    ending = "dylib" if sys.platform == "darwin" else "so"
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / f"libtorch_cpu.{ending}"))
        library.omp_set_num_threads  # noqa: B018  (AttributeError, if there is none)
    except (OSError, AttributeError):
        return None
    return library


class _Symbol(ctypes.Structure):
    """``Dl_info`` of dlfcn.h."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def openmp_path() -> Path | None:
    """The file of PyTorch's OpenMP, for other code to be linked with: a second library would bring
    threads of its own, which wait awake beside PyTorch's."""
    library = openmp()
    if library is None:
        return None
    found = _Symbol()
    address = ctypes.cast(library.omp_set_num_threads, ctypes.c_void_p)
    if not ctypes.CDLL(None).dladdr(address, ctypes.byref(found)):
        return None
    return Path(found.file.decode())
