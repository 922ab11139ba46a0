"""Steps that are not applied: which, for how long, alike everywhere, the same after a resume."""

import dataclasses
import io
import json
import math
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from rich.console import Console
from test_run import elsewhere, same_bits, trained
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from hyperclova.errors import UserError
from hyperclova.pretraining.config import GuardSection, OptimizerSection, PretrainingConfig
from hyperclova.pretraining.guard import Guard, Skipped
from hyperclova.pretraining.live import LineWatcher
from hyperclova.pretraining.loop import Interrupted, pretrain
from hyperclova.pretraining.metrics import read_metrics
from hyperclova.pretraining.muon import Muon
from processes import run_ranks

CPU = torch.device("cpu")


def judged(guard: Guard, values: list[tuple[float, float]], first_step: int = 1) -> list[bool]:
    return [
        bool(guard.judge(step, torch.tensor(loss), torch.tensor(norm)))
        for step, (loss, norm) in enumerate(values, first_step)
    ]


def a_run(steps: int, seed: int = 0) -> list[tuple[float, float]]:
    """Losses that fall as they do in training, with noise; norms around one."""
    chance = random.Random(seed)
    return [
        (2 + 4 * math.exp(-step / 40) + chance.gauss(0, 0.05), math.exp(chance.gauss(0, 0.2)))
        for step in range(steps)
    ]


@pytest.mark.parametrize("bad", [(math.nan, 1.0), (2.0, math.inf), (-math.inf, math.nan)])
def test_what_is_not_finite_is_always_skipped(bad: tuple[float, float]) -> None:
    guard = Guard(spikes=0, window=8, patience=10, device=CPU)
    assert judged(guard, [(2.0, 1.0), bad, (900.0, 900.0)]) == [False, True, False]
    (skipped,) = guard.take()
    assert (skipped.step, skipped.reason) == (2, "not finite")
    json.dumps([skipped.loss, skipped.gradient_norm], allow_nan=False)
    assert guard.take() == []
    assert guard.total == 1


@pytest.mark.parametrize("spike", [(9.0, 1.0), (2.2, 40.0)], ids=["loss", "norm"])
def test_a_spike_is_skipped_and_the_run_before_it_is_not(spike: tuple[float, float]) -> None:
    guard = Guard(spikes=6, window=64, patience=10, device=CPU)
    values = a_run(200)
    values[120] = spike
    decisions = judged(guard, values)
    assert [step for step, skip in enumerate(decisions) if skip] == [120]
    (skipped,) = guard.take()
    assert skipped == Skipped(121, "spike", pytest.approx(spike[0]), pytest.approx(spike[1]))


def test_a_spike_of_any_size_does_not_blind_the_guard() -> None:
    """Were it remembered as it is, the deviation would be too large for the whole window."""
    guard = Guard(spikes=6, window=64, patience=10, device=CPU)
    values = a_run(200)
    values[120], values[123] = (1e30, 1e30), (9.0, 1.0)
    assert [step for step, skip in enumerate(judged(guard, values)) if skip] == [120, 123]


def test_a_lasting_change_is_accepted_before_long() -> None:
    guard = Guard(spikes=6, window=64, patience=64, device=CPU)
    values = a_run(200) + [(loss + 1.5, norm) for loss, norm in a_run(300)[200:]]
    skips = [step for step, skip in enumerate(judged(guard, values)) if skip]
    assert skips[0] == 200
    assert 1 < len(skips) < 32
    assert skips == list(range(200, 200 + len(skips)))


def test_too_few_steps_are_no_measure() -> None:
    guard = Guard(spikes=3, window=64, patience=10, device=CPU)
    assert not any(judged(guard, [(2.0, 1.0)] * 31 + [(50.0, 50.0)]))


def test_resumed_it_decides_the_same() -> None:
    values = a_run(300, seed=3)
    chance = random.Random(8)
    for step in range(60, 300, 17):
        values[step] = (chance.choice([2.0, 4.0, 30.0, math.nan]), chance.choice([1.0, 9.0]))
    whole = Guard(spikes=3, window=32, patience=10, device=CPU)
    decisions = judged(whole, values)
    assert 5 < sum(decisions) < 40
    for break_at in (10, 61, 150):
        first = Guard(spikes=3, window=32, patience=10, device=CPU)
        judged(first, values[:break_at])
        state = json.loads(json.dumps(first.state(), allow_nan=False))
        second = Guard(spikes=3, window=32, patience=10, device=CPU)
        second.load(state)
        assert judged(second, values[break_at:]) == decisions[break_at:]
        assert second.state() == whole.state()


def test_spikes_may_be_turned_on_when_a_run_goes_on() -> None:
    before = Guard(spikes=0, window=8, patience=3, device=CPU)
    judged(before, [(math.nan, 1.0)] * 2)
    after = Guard(spikes=6, window=8, patience=3, device=CPU)
    after.load(before.state())
    judged(after, [(math.nan, 1.0)])
    with pytest.raises(UserError, match="3 steps"):
        after.check(3)


def test_many_skipped_steps_in_a_row_end_the_run() -> None:
    guard = Guard(spikes=0, window=8, patience=3, device=CPU)
    judged(guard, [(2.0, 1.0), (math.nan, 1.0), (math.nan, 1.0), (2.0, 1.0), (math.nan, 1.0)])
    guard.check(5)
    judged(guard, [(math.nan, 1.0)] * 2, first_step=6)
    with pytest.raises(UserError, match=r"last 3 steps up to step 7 .* optimizer\.learning_rate"):
        guard.check(7)


def test_deciding_never_asks_the_device() -> None:
    """On fake tensors, whatever needs a value on the host raises."""
    with FakeTensorMode():
        guard = Guard(spikes=6, window=16, patience=3, device=CPU)
        skip = guard.judge(1, torch.zeros(()), torch.zeros(()))
        assert skip.shape == ()
        with pytest.raises(Exception, match="aten"):
            guard.take()


def one_skipped_step(seed: int) -> tuple[list[bool], list[bool]]:
    """Two FSDP processes, of which only one sees the bad values; three steps, one skipped."""
    torch.manual_seed(seed)
    mesh = init_device_mesh("cpu", (2,))
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    for layer in model:
        fully_shard(layer, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    guard = Guard(spikes=0, window=8, patience=3, device=CPU)
    decisions, changed = [], []
    for step in (1, 2, 3):
        optimizer.zero_grad()
        loss = model(torch.randn(4, 8)).square().mean()
        loss.backward()
        bad = step == 2 and dist.get_rank() == 1
        if step == 2:
            for parameter in model.parameters():
                parameter.grad.to_local().fill_(math.nan)  # type: ignore[union-attr]
        reported = torch.tensor(math.nan if bad else 1.0)
        before = everything(model, optimizer)
        optimizer.found_inf = guard.judge(step, reported, torch.tensor(1.0))
        optimizer.step()
        decisions.append(bool(optimizer.found_inf))
        changed.append(everything(model, optimizer) != before)
    return decisions, changed


def everything(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[list[float]]:
    """Every number of this process's weights and optimiser state."""
    values = []
    for parameter in model.parameters():
        values.append(parameter.to_local().flatten().tolist())  # type: ignore[operator]
        for name, state in sorted(optimizer.state[parameter].items()):
            state = state.to_local() if name != "step" else state
            values.append(state.flatten().tolist())
    return values


def test_all_processes_skip_what_one_must_skip(tmp_path: Path) -> None:
    for result in run_ranks(one_skipped_step, 2, tmp_path, 5):
        assert result == ([False, True, False], [True, False, True]), result


@pytest.mark.parametrize("found", [0.0, 1.0])
def test_muon_heeds_it_too(found: float) -> None:
    """A skipped step changes no bit; one that is not skipped is the step as it was before."""
    results = []
    for told in (None, found):
        torch.manual_seed(3)
        matrix = nn.Parameter(torch.randn(12, 4))
        groups: list[dict[str, Any]] = [
            {"params": [matrix], "heads": [2], "orthogonal": True, "betas": (0.95, 0.95)}
        ]
        optimizer = Muon(groups, lr=0.1, weight_decay=0.1)
        for step in range(3):
            if step == 2 and told is not None:
                optimizer.found_inf = torch.tensor(told)
            matrix.grad = torch.randn(12, 4) * (math.nan if step == 2 and found else 1)
            before = (
                matrix.detach().clone(),
                {k: v.clone() for k, v in optimizer.state[matrix].items()},
            )
            optimizer.step()
        after = optimizer.state[matrix]
        if told:
            assert torch.equal(matrix, before[0])
            assert all(torch.equal(after[name], value) for name, value in before[1].items())
        results.append((matrix.detach(), after["exp_avg"], after["step"]))
    if not found:
        assert all(torch.equal(*pair) for pair in zip(*results, strict=True))


# Whole runs


class Watcher(LineWatcher):
    """Keeps what is said, and may stop the run after a step."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.said = io.StringIO()
        super().__init__(Console(file=self.said))
        self._stop_after = stop_after

    def saved(self, step: int, path: Path) -> None:
        super().saved(step, path)
        if step == self._stop_after:
            os.kill(os.getpid(), signal.SIGTERM)


def strict_records(config: PretrainingConfig, kind: str) -> list[dict[str, Any]]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    for line in (config.directory / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)
    return read_metrics(config.directory / "metrics.jsonl", kind)


def test_skipped_steps_are_the_same_after_a_resume(config: PretrainingConfig) -> None:
    whole = dataclasses.replace(config, guard=GuardSection(spikes=0.7, window=4))
    watcher = Watcher()
    expected = trained(whole, watcher)
    skipped = strict_records(whole, "skipped")
    assert 0 < len(skipped) < 9
    assert {record["reason"] for record in skipped} == {"spike"}
    applied = [record["step"] for record in strict_records(whole, "train")]
    assert sorted(applied + [record["step"] for record in skipped]) == list(range(1, 13))
    assert watcher.said.getvalue().count("skipped (spike)") == len(skipped)

    broken = elsewhere(whole, "broken")
    with pytest.raises(Interrupted):
        pretrain(broken, Watcher(stop_after=6))
    assert same_bits(expected, trained(broken, Watcher(), resume=True))
    assert strict_records(broken, "skipped") == skipped


def test_a_run_that_only_skips_ends_and_says_so(config: PretrainingConfig) -> None:
    hopeless = dataclasses.replace(
        config,
        optimizer=OptimizerSection(learning_rate=1e12, clip=1e12),
        guard=GuardSection(patience=4),
    )
    with pytest.raises(UserError, match=r"last 4 steps up to step \d+ were skipped"):
        pretrain(hopeless, Watcher())
    skipped = strict_records(hopeless, "skipped")
    assert len(skipped) == 4
    assert {(record["reason"], record["loss"]) for record in skipped} == {("not finite", None)}
