"""Compiles the kernels for the processor they run on, once, and loads them.

A build lies in the user's cache, named by all it depends on: sources, compiler, options and
processor. Nothing is compiled where there is no C compiler; the engine then runs on PyTorch's
operations alone, as on processors that the kernels are not written for.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from hyperclova.directories import cache
from hyperclova.inference.native.openmp import openmp_path

_SOURCES = sorted(Path(__file__).parent.glob("*.[ch]"))
_OPTIONS = (
    "-O3",
    "-march=native",
    "-std=gnu11",
    "-fopenmp",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-shared",
    "-fPIC",
)
_LIMIT = 120.0  # seconds that a compiler may take


@functools.cache
def load() -> ctypes.CDLL | None:
    """The kernels; None where there are none.

    ``HYPERCLOVA_NATIVE=0`` does without them. The result is kept for the life of the process.
    """
    if os.environ.get("HYPERCLOVA_NATIVE") == "0":
        return None
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    compiler = shutil.which(os.environ.get("CC") or "cc")
    runtime = openmp_path()
    # Compiled with GNU's compiler or one that can do as it does: for GNU's library.
    if compiler is None or runtime is None or not runtime.name.startswith("libgomp"):
        return None
    try:
        library = ctypes.CDLL(str(build(compiler, runtime)))
    except (OSError, subprocess.SubprocessError):
        return None  # a processor that the sources refuse, a cache that cannot be written to, …
    _declare(library)
    return library


def build(compiler: str, runtime: Path, options: tuple[str, ...] = ()) -> Path:
    """Compile, unless it has been done before.

    Args:
        runtime: the OpenMP library to link with: PyTorch's, so that the threads are the same.
        options: further ones for the compiler.

    Raises:
        OSError: the directory for builds cannot be written to.
        subprocess.SubprocessError: the compiler failed.
    """
    command = [compiler, *_OPTIONS, *options]
    version = subprocess.run(
        [compiler, "--version"], capture_output=True, check=True, timeout=_LIMIT
    ).stdout
    parts = [*(source.read_bytes() for source in _SOURCES), " ".join(command).encode()]
    parts += [version, str(runtime).encode(), _processor()]
    name = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    built = cache() / "kernels" / f"{name}.so"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        # Processes that build at once write files of their own; the last one stays.
        with tempfile.TemporaryDirectory(dir=built.parent) as scratch:
            partial = Path(scratch) / built.name
            compiled = [str(source) for source in _SOURCES if source.suffix == ".c"]
            subprocess.run(
                [*command, "-o", str(partial), *compiled, str(runtime), "-lm"],
                check=True,
                capture_output=True,
                timeout=_LIMIT,
            )
            partial.replace(built)
    return built


def _processor() -> bytes:
    """What ``-march=native`` looks at."""
    lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    return b"\n".join(
        dict.fromkeys(line for line in lines if line.startswith((b"model", b"flags")))
    )


def _declare(library: ctypes.CDLL) -> None:
    pointer, number = ctypes.c_void_p, ctypes.c_long
    for product in (library.int8_product, library.float32_product):
        product.argtypes = [pointer, pointer, number, number, pointer]
    for attend in (library.attend_positions, library.attend_blocks):
        attend.argtypes = [
            *(pointer, pointer, pointer, pointer, pointer, pointer, number, pointer),
            *(number, number, number, number, ctypes.c_float),
        ]
        attend.restype = None
    library.layer_norm.argtypes = [
        *(pointer, number, number, number, pointer, pointer, ctypes.c_float, pointer)
    ]
    library.layer_norm.restype = None
    library.decode.argtypes = [
        *(pointer, number, number, number, ctypes.c_float, ctypes.c_float, pointer, pointer),
        *(pointer, pointer, pointer, pointer, number, pointer, number, pointer),
    ]
