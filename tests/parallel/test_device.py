"""What a process keeps of the memory that tensors free."""

import ctypes
import subprocess
import sys

import pytest

STEPS = """
import resource, sys
import torch
from hyperclova.parallel.device import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory(torch.device("cpu"))

def step():
    parts = [torch.ones(20_000_000) for _ in range(3)]  # 80 MB each
    del parts

for _ in range(20):  # until there are gaps that fit
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def new_pages(mode: str) -> int:
    """Pages that a step takes from the system though those before it have freed as many."""
    command = [sys.executable, "-c", STEPS, mode]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="not glibc: nothing to do"
)
def test_a_step_uses_the_memory_of_the_one_before() -> None:
    # A process of its own: what the C library keeps can't be given back again.
    assert new_pages("keep") < 1000
    assert new_pages("as it is") > 50_000
