"""The recipe's switches on several processes: the same model as on one."""

from functools import cache
from typing import Any

import pytest
import torch
from test_parity import BATCH, STEPS, TIME, Result, compare, whole

from hyperclova.model import GPTConfig
from hyperclova.model.mup import BaseShape
from hyperclova.parallel.layout import Layout
from hyperclova.parallel.place import place
from hyperclova.pretraining.config import OptimizerSection
from hyperclova.pretraining.objective import CrossEntropy
from hyperclova.pretraining.optimizer import build_optimizer
from hyperclova.pretraining.step import bits_per_byte, training_step
from processes import run_together

SHAPE = GPTConfig(
    vocab_size=64,
    context_length=TIME,
    layers=4,
    width=32,
    heads=4,
    query_key_norm=True,
    base=BaseShape(width=16, heads=4),
)
END = 9  # a token in sixty-four: documents of about a row's length


def train(layout: Layout, microbatch: int) -> tuple[Result, float]:
    """Steps with all switches that change the model or the loss, and the mean z-loss."""
    cpu = torch.device("cpu")
    objective = CrossEntropy(torch.float32, z_loss=1e-2)
    rows = (TIME, microbatch, BATCH)
    placed = place(SHAPE, 0, layout, cpu, torch.float32, objective, *rows, documents=END)
    optimizer = build_optimizer(placed, OptimizerSection(epsilon=1e-4), 1e-2)
    tokens = torch.Generator().manual_seed(5)
    share = BATCH // placed.data_groups
    losses, norms = [], []
    for step in range(STEPS):
        windows = torch.randint(0, 64, (BATCH, TIME + 1), generator=tokens)
        windows[:, 7] = END
        mine = windows[placed.data_rank * share : (placed.data_rank + 1) * share]
        loss, norm = training_step(placed, optimizer, mine, 0.5, (3, step))
        losses.append(loss.item())
        norms.append(norm.item())
    bits = bits_per_byte(placed, windows, torch.arange(64) % 4)
    parameters = {name: whole(parameter).clone() for name, parameter in placed.parameters.items()}
    sums = placed.sum(objective.take(cpu))
    return Result(losses, norms, bits, parameters), float(sums[0] / sums[1])


@cache
def alone() -> tuple[Result, float]:
    torch.set_num_threads(1)
    return train(Layout().resolve(1), BATCH)


@pytest.mark.parametrize(
    "options",
    [
        {"dp": 2},
        {"dp": 1, "recompute": "selective"},
        {"dp": 1, "tp": 2, "sequence_parallel": False},
        {"dp": 1, "pp": 2},
        {"dp": 1, "pp": 2, "stages_per_rank": 2, "schedule": "zero-bubble-v"},
        {"dp": 2, "tp": 2},
    ],
    ids=str,
)
def test_parity(options: dict[str, Any]) -> None:
    layout = Layout(**options)
    results = (
        [train(layout, 2)]
        if layout.processes == 1
        else run_together(layout.processes, train, layout, 2)
    )
    expected, z_loss = alone()
    compare([result for result, _ in results], expected)
    for _, found in results:
        assert found == pytest.approx(z_loss, rel=1e-5)


def test_the_switches_are_at_work() -> None:
    """So that parity does not mean that all layouts leave them out alike."""
    result, z_loss = alone()
    assert z_loss == pytest.approx(1e-2 * torch.tensor(64.0).log().item() ** 2, rel=0.1)
    assert "blocks.3.attention.key_norm.weight" in result.parameters
    gain = result.parameters["blocks.0.attention.query_norm.weight"]
    assert bool((gain != 1.0).any())
