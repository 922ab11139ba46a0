"""Every layout trains the same model: losses, norms and parameters as on one process.

Five steps in float32. AdamW divides by the root of the squared gradient, so where a gradient is
zero up to rounding (a key's bias has none) it would blow the rounding up to a whole step; an
epsilon above the rounding keeps it what it is.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from hyperclova.model import GPTConfig
from hyperclova.parallel.layout import Layout
from hyperclova.parallel.place import place
from hyperclova.pretraining.config import OptimizerSection
from hyperclova.pretraining.objective import CrossEntropy
from hyperclova.pretraining.optimizer import build_optimizer
from hyperclova.pretraining.step import bits_per_byte, training_step
from processes import run_together

SHAPE = GPTConfig(vocab_size=64, context_length=16, layers=4, width=32, heads=4)
BATCH, TIME, STEPS = 8, 16, 5


@dataclass
class Result:
    losses: list[float]
    norms: list[float]
    bits: float
    parameters: dict[str, Tensor]


def train(layout: Layout, microbatch: int, optimizer_name: Any, shape: GPTConfig) -> Result:
    """Five steps on random tokens, the same in every layout, and one evaluation."""
    cpu = torch.device("cpu")
    rows = (TIME, microbatch, BATCH)
    placed = place(shape, 0, layout, cpu, torch.float32, CrossEntropy(torch.float32), *rows)
    section = OptimizerSection(name=optimizer_name, epsilon=1e-4)
    optimizer = build_optimizer(placed, section, 1e-3)
    tokens = torch.Generator().manual_seed(5)
    share = BATCH // placed.data_groups
    losses, norms = [], []
    for step in range(STEPS):
        windows = torch.randint(0, 64, (BATCH, TIME + 1), generator=tokens)
        mine = windows[placed.data_rank * share : (placed.data_rank + 1) * share]
        loss, norm = training_step(placed, optimizer, mine, 0.5, (3, step))
        losses.append(loss.item())
        norms.append(norm.item())
    windows = torch.randint(0, 64, (BATCH + 3, TIME + 1), generator=tokens)
    lengths = torch.arange(64) % 4
    bits = bits_per_byte(placed, windows, lengths)
    for name, copy in placed.trained():
        assert torch.equal(whole(copy), whole(placed.parameters[name])), f"{name} came apart"
    return Result(
        losses,
        norms,
        bits,
        {name: whole(parameter).clone() for name, parameter in placed.parameters.items()},
    )


def whole(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@cache
def alone(optimizer_name: str, shape: GPTConfig) -> Result:
    torch.set_num_threads(1)
    return train(Layout().resolve(1), BATCH, optimizer_name, shape)


TWO_STAGES = {"pp": 2, "stages_per_rank": 2}
LAYOUTS: list[dict[str, Any]] = [
    {"microbatch": 2},
    {"recompute": "full", "microbatch": 2},
    {"recompute": "selective"},
    {"dp": 2},
    {"dp": 2, "microbatch": 1},
    {"dp": 2, "microbatch": 1, "reshard": False},
    {"dp": 2, "offload": True},
    {"dp": 2, "replicas": 2},
    {"dp": 2, "recompute": "full"},
    {"dp": 2, "recompute": "selective"},
    {"dp": 2, "optimizer": "muon"},
    {"dp": 4, "replicas": 2},
    {"dp": 8, "microbatch": 1},
    {"tp": 2},
    {"tp": 2, "sequence_parallel": False},
    {"tp": 2, "recompute": "selective"},
    {"tp": 2, "optimizer": "muon"},
    {"tp": 4},
    {"pp": 2, "schedule": "gpipe"},
    {"pp": 2},
    {"pp": 2, "recompute": "full"},
    {"pp": 4, "microbatch": 1},
    {**TWO_STAGES, "schedule": "interleaved-1f1b"},
    {**TWO_STAGES, "schedule": "looped-bfs"},
    {**TWO_STAGES, "schedule": "zero-bubble"},
    {**TWO_STAGES, "schedule": "zero-bubble-v"},
    {**TWO_STAGES, "schedule": "dual-pipe-v"},
    {"dp": 2, "tp": 2},
    {"dp": 2, "pp": 2, "microbatch": 1},
    {**TWO_STAGES, "dp": 2, "schedule": "zero-bubble-v", "microbatch": 1},
    {"tp": 2, "pp": 2},
    {"dp": 2, "tp": 2, "pp": 2, "microbatch": 1},
]


@pytest.mark.parametrize(
    "options",
    LAYOUTS,
    ids=lambda options: "-".join(f"{name}={value}" for name, value in options.items()),
)
def test_parity(options: dict[str, Any]) -> None:
    rest = dict(options)
    microbatch, name = rest.pop("microbatch", 2), rest.pop("optimizer", "adamw")
    layout = Layout(**{"dp": 1, **rest})
    layout.check(SHAPE, TIME, BATCH, microbatch)
    check(layout, microbatch, name, SHAPE)


@pytest.mark.parametrize("options", [{"dp": 2}, {"dp": 4}, {"dp": 2, "recompute": "full"}])
def test_dropout_is_the_same_on_every_data_parallel_layout(options: dict[str, Any]) -> None:
    shape = GPTConfig(64, 16, layers=2, width=32, heads=4, dropout=0.3)
    one = train(Layout().resolve(1), 2, "adamw", shape)
    compare(
        run_together(Layout(**options).processes, train, Layout(**options), 2, "adamw", shape), one
    )


def check(layout: Layout, microbatch: int, name: str, shape: GPTConfig) -> None:
    if layout.processes == 1:
        torch.set_num_threads(1)
        results = [train(layout, microbatch, name, shape)]
    else:
        results = run_together(layout.processes, train, layout, microbatch, name, shape)
    compare(results, alone(name, shape))


def compare(results: list[Result], expected: Result) -> None:
    assert set().union(*(result.parameters for result in results)) == set(expected.parameters)
    for result in results:
        assert result.losses == pytest.approx(expected.losses, rel=0, abs=1e-6)
        assert result.norms == pytest.approx(expected.norms, rel=0, abs=1e-6)
        assert result.bits == pytest.approx(expected.bits, rel=0, abs=1e-6)
        assert result.norms == results[0].norms  # not one bit apart between processes
        for name, parameter in result.parameters.items():
            torch.testing.assert_close(parameter, expected.parameters[name], rtol=0, atol=1e-6)
