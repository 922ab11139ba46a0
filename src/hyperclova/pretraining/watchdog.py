"""Ends a run that hangs, and says which process the others wait for.

When one process of a run stops (a disk that does not answer, a dead link, a device that lost its
way), all others stop with it, in the next collective. A thread in every process watches how long
ago it last went on, and shares that through the store the processes met at. Once none goes on,
rank 0 names the rank that is behind and the line it is in, every rank writes its stacks, and all
end with a status of their own, so that ``torchrun --max-restarts`` starts them again.
"""

import faulthandler
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

import torch.distributed as dist
from torch.distributed import HashStore, PrefixStore, Store  # type: ignore[attr-defined]

from hyperclova.pretraining.config import WatchdogSection

HUNG = 76
"""Exit status of a process that the watchdog ended."""

_BACKSTOP_SECONDS = 60.0
_VERDICT = "verdict"
_PASSING_THROUGH = ("_ops.py", "c10d_logger.py", "_contextlib.py", "_tensor.py", "_dispatch.py")
"""Files of PyTorch that stand between a collective and the code that asked for it."""


@dataclass(frozen=True)
class Report:
    """How a rank stands."""

    rank: int
    host: str
    count: int
    """Of the rank's reports: one that does not rise comes from a process that is gone or frozen."""
    step: int
    doing: str
    seconds: float
    """Since the last sign of progress."""
    overdue: bool
    place: str
    """The innermost line: ``batches.py:81 in batch``."""
    waiting: bool
    """Whether that is in a collective: the rank waits for others."""


class Watchdog:
    """Watches this process from a thread, from ``start`` until ``stop``.

    Args:
        directory: gets ``rank-00003.txt``, the stacks of a rank that hangs.
        store: what the ranks share; used by this watchdog's thread alone (``Store.clone``).
        hang_seconds: without progress for so long, a rank counts as stuck.
        slow_seconds: the same for what takes longer than a step: the first one, saving,
            evaluating.
    """

    def __init__(
        self,
        directory: Path,
        store: Store,
        rank: int,
        ranks: int,
        hang_seconds: float,
        slow_seconds: float,
    ) -> None:
        self._directory, self._store = directory, store
        self._rank, self._ranks = rank, ranks
        self._hang_seconds, self._slow_seconds = hang_seconds, slow_seconds
        self._interval = min(5.0, hang_seconds / 10) or 5.0
        self._progress = (0, "starting", slow_seconds)
        self._signs = 0
        self._stopped = threading.Event()
        self._main = threading.current_thread()
        self._host = socket.gethostname()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="watchdog")

    def start(self) -> None:
        """Begin to watch the thread that made this object."""
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def at(self, step: int, doing: str, slow: bool = False) -> None:
        """A sign of progress: what comes next. Costs nothing to speak of.

        Args:
            step: the last one that is complete.
            doing: in words: "reading data".
            slow: whether it may take ``slow_seconds``.
        """
        self._progress = (step, doing, self._slow_seconds if slow else self._hang_seconds)
        self._signs += 1

    def _watch(self) -> None:
        try:
            self._watch_until_stopped()
        except (RuntimeError, OSError):
            # The store is gone, and with it the processes that kept it: a restart is under way.
            pass
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _watch_until_stopped(self) -> None:
        signs, seconds, judge_count, judge_silent, count = -1, 0.0, -1, 0.0, 0
        written = False
        clock = time.monotonic()
        while not self._stopped.wait(self._interval):
            now = time.monotonic()
            # A process that was suspended as a whole comes back to one long wait, not to a hang.
            passed, clock = min(now - clock, 2 * self._interval), now
            step, doing, limit = self._progress
            if signs != self._signs:
                signs, seconds, written = self._signs, 0.0, False
            else:
                seconds += passed
            # Should this thread itself never run again (the interpreter's lock is held), a
            # thread of faulthandler's, which needs no lock, still ends the process.
            faulthandler.dump_traceback_later(
                limit + _BACKSTOP_SECONDS, exit=True, file=sys.__stderr__ or sys.stderr
            )
            count += 1
            report = self._report(count, step, doing, seconds, seconds > limit)
            self._store.set(str(self._rank), json.dumps(asdict(report)))
            if not report.overdue:
                continue
            if not written:
                self._write_stacks(report)
                written = True
            if self._rank == 0:
                reports = self._hung_run()
                if reports is not None and signs == self._signs and not self._stopped.is_set():
                    behind = [asdict(report) for report in ranks_behind(reports)]
                    self._store.set(_VERDICT, json.dumps(behind))
                    self._say(verdict(reports, self._directory))
                    self._stopped.wait(2 * self._interval)  # for the others to read it
                    os._exit(HUNG)
                continue
            if self._store.check([_VERDICT]):
                behind = json.loads(self._store.get(_VERDICT))
                if any(rank["rank"] == self._rank for rank in behind):
                    self._say(f"rank {self._rank}: {_described(report)}")
                os._exit(HUNG)
            judge = self._read(0)
            judge_silent = 0.0 if judge and judge.count != judge_count else judge_silent + passed
            judge_count = judge.count if judge else -1
            if judge_silent > 6 * self._interval + 2:
                self._say(
                    f"rank {self._rank}: {_described(report)}; rank 0 does not answer: it hangs, "
                    "or is gone"
                )
                os._exit(HUNG)

    def _hung_run(self) -> list[Report | None] | None:
        """Everybody's report, None for who is silent; or None if a rank still goes on."""
        first = [self._read(rank) for rank in range(self._ranks)]
        self._stopped.wait(3 * self._interval + 1)
        second = [self._read(rank) for rank in range(self._ranks)]
        reports: list[Report | None] = []
        for before, after in zip(first, second, strict=True):
            here = after is not None and after.rank == self._rank  # this thread: does not report
            silent = after is None or (not here and before is not None and before == after)
            if not silent and after is not None and not after.overdue:
                return None
            reports.append(None if silent else after)
        return reports

    def _read(self, rank: int) -> Report | None:
        if not self._store.check([str(rank)]):
            return None
        return Report(**json.loads(self._store.get(str(rank))))

    def _report(self, count: int, step: int, doing: str, seconds: float, overdue: bool) -> Report:
        frames = sys._current_frames()
        place, waiting = "", False
        main = frames.get(self._main.ident or 0)
        if main is not None:
            place, waiting = _place(main), _in_collective(main)
            if not waiting and Path(main.f_code.co_filename).name == "graph.py":
                # Backward passes on accelerators run in threads of the engine's.
                others = (frame for thread, frame in frames.items() if thread != self._main.ident)
                waiting = any(_in_collective(frame) for frame in others)
        return Report(
            self._rank, self._host, count, step, doing, round(seconds, 1), overdue, place, waiting
        )

    def _write_stacks(self, report: Report) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / f"rank-{self._rank:05}.txt"
        with path.open("w", encoding="utf-8") as file:
            file.write(f"rank {self._rank} on {self._host}, process {os.getpid()}\n")
            file.write(f"{_described(report)}\n\n")
            file.flush()
            faulthandler.dump_traceback(file, all_threads=True)

    def _say(self, text: str) -> None:
        sys.stderr.write(f"hyperclova: {text}\n")
        sys.stderr.flush()


def ranks_behind(reports: Sequence[Report | None]) -> list[Report]:
    """Of the reports of a run that hangs, those of the ranks that the others wait for.

    They are those at the earliest step, or, of these, those that do not wait themselves. There
    are none if nothing tells the ranks apart, or if one is silent (None): then it is that one.
    """
    heard = [report for report in reports if report is not None]
    if len(heard) < len(reports):
        return []
    earliest = min(report.step for report in heard)
    behind = [report for report in heard if report.step == earliest]
    behind = [report for report in behind if not report.waiting] or behind
    return behind if len(behind) < len(heard) else []


def verdict(reports: Sequence[Report | None], directory: Path) -> str:
    """What hangs, in words for the log."""
    heard = [report for report in reports if report is not None]
    silent = [rank for rank, report in enumerate(reports) if report is None]
    behind = ranks_behind(reports)
    seconds = min(report.seconds for report in heard)
    text = f"no progress for {seconds:.0f} s after step {min(report.step for report in heard)}: "
    if silent:
        text += (
            f"rank {silent[0]} no longer answers: its process is gone or frozen"
            if len(silent) == 1
            else f"ranks {_listed(silent)} no longer answer: their processes are gone or frozen"
        )
    elif behind:
        names = "; ".join(
            f"rank {report.rank} ({report.host}) is behind: {_described(report)}"
            for report in behind[:8]
        )
        text += f"{names}; the other {len(heard) - len(behind)} wait for it"
    elif all(report.waiting for report in heard):
        text += f"all {len(heard)} ranks wait for each other; rank 0 is {_described(heard[0])}"
    else:
        text += f"all {len(heard)} ranks stand still; rank 0 is {_described(heard[0])}"
    return f"{text}. Stacks are in {directory}. Ending with status {HUNG}"


def _listed(ranks: Sequence[int]) -> str:
    return ", ".join(map(str, ranks[:8])) + (", …" if len(ranks) > 8 else "")


def _described(report: Report) -> str:
    waiting = ", waiting for others" if report.waiting else ""
    return f"{report.doing} for {report.seconds:.0f} s, at {report.place}{waiting}"


def _frames(innermost: FrameType) -> Iterator[FrameType]:
    frame: FrameType | None = innermost
    while frame is not None:
        yield frame
        frame = frame.f_back


def _place(innermost: FrameType) -> str:
    """The innermost line, and the innermost line of ours if that is another."""
    path = Path(innermost.f_code.co_filename)
    place = f"{path.name}:{innermost.f_lineno} in {innermost.f_code.co_name}"
    for frame in _frames(innermost):
        path = Path(frame.f_code.co_filename)
        if "hyperclova" in path.parts:
            if frame is not innermost:
                place += f" (from {path.name}:{frame.f_lineno} in {frame.f_code.co_name})"
            break
    return place


def _in_collective(innermost: FrameType) -> bool:
    """Whether a thread waits for other processes.

    Not whether any frame is ``torch.distributed``'s: a pipeline's schedule runs the model.
    """
    for frame in _frames(innermost):
        path = Path(frame.f_code.co_filename)
        if path.name not in _PASSING_THROUGH:
            return "torch" in path.parts and "distributed" in path.parts
    return False


@contextmanager
def watching(directory: Path, section: WatchdogSection) -> Iterator[Watchdog]:
    """A watchdog over the processes of the run in ``directory``, while the block lasts.

    With ``hang_seconds`` 0 it only listens, and so it does in a run of one process, which waits
    for nobody, and which nobody would start again.
    """
    together = dist.is_initialized() and dist.get_world_size() > 1
    store: Store = HashStore()
    if together:
        # Another connection: one that is shared is blocked while another thread waits on it.
        store = dist.distributed_c10d._get_default_store().clone()  # type: ignore[attr-defined]
    watchdog = Watchdog(
        directory / "watchdog",
        PrefixStore("watchdog", store),
        dist.get_rank() if together else 0,
        dist.get_world_size() if together else 1,
        section.hang_seconds,
        section.slow_seconds,
    )
    if not together or not section.hang_seconds:
        yield watchdog
        return
    watchdog.start()
    try:
        yield watchdog
    finally:
        watchdog.stop()
