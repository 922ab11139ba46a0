"""How many threads an engine computes on, and that others keep theirs."""

import subprocess
import sys
from pathlib import Path

import pytest

from hyperclova.inference.native.build import openmp_runtime

# A process of its own: what PyTorch has set on a thread, it does not set again.
SCRIPT = """
import sys, threading
import torch
from hyperclova.inference import Engine
from hyperclova.inference.native.build import load
from hyperclova.inference.protocol import Request

torch.set_num_threads(3)
engine = Engine(sys.argv[1], precision="float32", cache_bytes=0)
used = []
states = engine._scheduler.runner._model.hidden

def hidden(*inputs, **named):
    used.append(torch.get_num_threads())
    return states(*inputs, **named)

engine._scheduler.runner._model.hidden = hidden
for length in (127, 128):
    engine.generate([Request(tuple(range(1, length + 1)), 1)])
assert used == [1, 3 if load() else 1], used
seen = [torch.get_num_threads()]
other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
other.start()
other.join()
assert seen == [3, 3], seen
"""


@pytest.mark.skipif(openmp_runtime() is None, reason="PyTorch's OpenMP library is not GNU's")
def test_a_small_model_shares_long_steps_alone(long_model_directory: Path) -> None:
    subprocess.run([sys.executable, "-c", SCRIPT, str(long_model_directory)], check=True)
