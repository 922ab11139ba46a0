"""How many threads an engine computes on, and that others keep theirs."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hyperclova.inference.logprobs import measure, measure_rivals
from hyperclova.inference.native.openmp import openmp

# A process of its own: what PyTorch has set on a thread, it does not set again.
SCRIPT = """
import contextlib, sys, threading
with contextlib.suppress(ImportError):
    import ctranslate2  # has an OpenMP of its own
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
for length in (63, 64):
    engine.generate([Request(tuple(range(1, length + 1)), 1)])
assert used == [1, 3 if load() else 1], used
seen = [torch.get_num_threads()]
other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
other.start()
other.join()
assert seen == [3, 3], seen
"""


@pytest.mark.skipif(openmp() is None, reason="PyTorch does not compute with OpenMP")
def test_a_small_model_shares_long_steps_alone(long_model_directory: Path) -> None:
    subprocess.run([sys.executable, "-c", SCRIPT, str(long_model_directory)], check=True)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_log_probabilities_depend_on_no_other_row(count: int) -> None:
    """A single row of a large vocabulary would be shared out among threads."""
    logits = torch.randn(6, 51_200, generator=torch.Generator().manual_seed(0)) * 3
    tokens = list(range(6))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = measure(logits, tokens, 2, 51_200)
        torch.set_num_threads(count)
        for rows in (1, 2, 3, 6):
            found = [
                each
                for at in range(0, 6, rows)
                for each in measure(logits[at : at + rows], tokens[at : at + rows], 2, 51_200)
            ]
            assert found == expected
        rivals = measure_rivals(logits[:1], [0, 5], 51_200)
        assert rivals[0].logprob == expected[0].logprob
    finally:
        torch.set_num_threads(before)
