"""Real processes, one of which hangs or is slow: who is named, and how the run ends."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from hyperclova.pretraining.config import WatchdogSection
from hyperclova.pretraining.stragglers import Pace, Straggler, Stragglers, find
from hyperclova.pretraining.watchdog import HUNG, Report, ranks_behind, verdict, watching
from processes import run_ranks

HANG_SECONDS = 3.0  # long beside what a busy machine makes a process wait


def capture_errors(directory: Path) -> None:
    """What a process says goes to a file of its own; its status is the harness's to see."""
    path = directory / f"errors-{dist.get_rank()}.txt"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, 2)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w")


def said_by(directory: Path, rank: int) -> str:
    """Lines of ours; PyTorch has warnings of its own."""
    lines = (directory / f"errors-{rank}.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if line.startswith("hyperclova:"))


def train(directory: Path, steps: int, read: object) -> str:
    """Steps of a run: read, then a collective that waits for all."""
    capture_errors(directory)
    with watching(directory, WatchdogSection(HANG_SECONDS, slow_seconds=30)) as watchdog:
        for step in range(steps):
            watchdog.at(step, "reading data")
            read(step)  # type: ignore[operator]
            watchdog.at(step, "training")
            dist.all_reduce(torch.ones(1))
            time.sleep(0.02)
    return "done"


def sleep_forever(step: int) -> None:
    if step == 3 and dist.get_rank() == 1:
        time.sleep(1000)


def test_the_rank_that_hangs_is_named_and_all_end(tmp_path: Path) -> None:
    first, second, third = run_ranks(train, 3, tmp_path, tmp_path, 6, sleep_forever)
    assert first == second == HUNG
    assert third == HUNG or "all_reduce" in third  # its connection may break before it ends
    said = said_by(tmp_path, 0)
    assert "after step 3: rank 1 (" in said
    assert "is behind: reading data for " in said
    assert "test_watchdog.py:" in said and "in sleep_forever" in said
    assert "the other 2 wait for it" in said
    assert said.count("\n") == 1
    assert said_by(tmp_path, 1).startswith("hyperclova: rank 1: reading data")
    assert said_by(tmp_path, 2) == ""
    stacks = (tmp_path / "watchdog" / "rank-00001.txt").read_text(encoding="utf-8")
    assert "in sleep_forever" in stacks
    assert "in all_reduce" in (tmp_path / "watchdog" / "rank-00002.txt").read_text()


def sleep_forever_at_zero(step: int) -> None:
    if step == 2 and dist.get_rank() == 0:
        time.sleep(1000)


def test_rank_0_may_be_the_one_that_hangs(tmp_path: Path) -> None:
    first, second = run_ranks(train, 2, tmp_path, tmp_path, 4, sleep_forever_at_zero)
    assert first == HUNG
    assert second == HUNG or "all_reduce" in second
    assert "rank 0 (" in said_by(tmp_path, 0)
    assert "in sleep_forever_at_zero" in said_by(tmp_path, 0)


def freeze(step: int) -> None:
    if step == 2 and dist.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGSTOP)


def test_a_frozen_process_is_told_from_one_that_waits(tmp_path: Path) -> None:
    first, second, _ = run_ranks(train, 3, tmp_path, tmp_path, 6, freeze, frozen=1)
    assert (first, second) == (HUNG, -signal.SIGKILL)
    assert "rank 1 no longer answers" in said_by(tmp_path, 0)


def freeze_zero(step: int) -> None:
    if step == 2 and dist.get_rank() == 0:
        os.kill(os.getpid(), signal.SIGSTOP)


def test_the_others_end_without_rank_0(tmp_path: Path) -> None:
    results = run_ranks(train, 2, tmp_path, tmp_path, 6, freeze_zero, frozen=0)
    assert results == [-signal.SIGKILL, HUNG]
    assert "rank 0 does not answer" in said_by(tmp_path, 1)


def save_slowly(directory: Path) -> str:
    capture_errors(directory)
    with watching(directory, WatchdogSection(HANG_SECONDS, slow_seconds=30)) as watchdog:
        for step in range(3):
            if step == 1 and dist.get_rank() == 0:
                watchdog.at(step, "saving", slow=True)
                time.sleep(3 * HANG_SECONDS)
            watchdog.at(step, "training")
            dist.all_reduce(torch.ones(1))
    return "done"


def test_waiting_for_a_rank_that_is_busy_is_no_hang(tmp_path: Path) -> None:
    assert run_ranks(save_slowly, 2, tmp_path, tmp_path) == ["done"] * 2
    assert said_by(tmp_path, 0) == said_by(tmp_path, 1) == ""


def report(rank: int, step: int = 7, waiting: bool = True) -> Report:
    place = "distributed_c10d.py:1 in all_reduce" if waiting else "batches.py:81 in batch"
    return Report(rank, f"node{rank}", 5, step, "training", 62.0, True, place, waiting)


def test_who_is_behind() -> None:
    assert ranks_behind([report(0), report(1, waiting=False), report(2)])[0].rank == 1
    assert ranks_behind([report(0), report(1), report(2, step=6)])[0].rank == 2
    several = [report(0), report(1, 6, waiting=False), report(2, 6), report(3, waiting=False)]
    assert [behind.rank for behind in ranks_behind(several)] == [1]
    assert ranks_behind([report(0), report(1)]) == []
    assert ranks_behind([report(0), None]) == []


def test_what_tells_no_rank_apart_is_said_as_such() -> None:
    assert "all 2 ranks wait for each other" in verdict([report(0), report(1)], Path("runs"))
    lost = verdict([report(0), None, None], Path("runs/a/watchdog"))
    assert "ranks 1, 2 no longer answers" not in lost
    assert "ranks 1, 2 no longer answer:" in lost
    assert "\n" not in lost


def test_one_process_is_not_watched(tmp_path: Path) -> None:
    with watching(tmp_path, WatchdogSection(0.1, 0.1)) as watchdog:
        watchdog.at(1, "training")
        time.sleep(0.5)
    assert list(tmp_path.iterdir()) == []


def read_at_different_speeds() -> list[Straggler]:
    stragglers = Stragglers(64, 32, torch.device("cpu"), torch.float32)
    for _ in range(3):
        with stragglers.reading():
            time.sleep(0.2 if dist.get_rank() == 1 else 0.01)
    return [found for found in stragglers.compare(0.3) if found.what == "reading"]


def test_a_rank_that_reads_slowly_is_named(tmp_path: Path) -> None:
    first, second, third = run_ranks(read_at_different_speeds, 3, tmp_path)
    ((found),) = first
    assert (found.rank, second, third) == (1, [], [])
    assert found.times > 5
    assert f"rank 1 ({found.host}) is" in str(found)


def multiply_at_different_sizes() -> list[Straggler]:
    rows = 1 << 14 if dist.get_rank() == 2 else 64
    stragglers = Stragglers(rows, 128, torch.device("cpu"), torch.float32)
    return [found for found in stragglers.compare(0.3) if found.times > 4]


def test_a_rank_that_computes_slowly_is_named(tmp_path: Path) -> None:
    """It has 256 times as much to do, as if its device ran at a fraction of the speed."""
    first, *_ = run_ranks(multiply_at_different_sizes, 3, tmp_path)
    assert [(found.rank, found.what) for found in first] == [(2, "computing")]


@pytest.mark.parametrize(("reading", "named"), [(0.02, []), (0.2, [1])])
def test_slow_reading_matters_where_it_holds_up_the_step(reading: float, named: list[int]) -> None:
    paces = [Pace(rank, "node", 0.1, reading if rank == 1 else 0.001) for rank in range(4)]
    assert [straggler.rank for straggler in find(paces, step_seconds=1.0)] == named


def test_of_two_ranks_the_slower_one_is_named() -> None:
    paces = [Pace(0, "a", 0.2, 0.0), Pace(1, "b", 0.1, 0.0)]
    assert find(paces, 1.0) == [Straggler(0, "a", "computing", 2.0)]
