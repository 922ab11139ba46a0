"""Finds the process that makes all others wait, though it does not stop.

In a run of many processes every step takes as long for all, since they wait for each other: the
duration of a step tells nothing about who is slow. Compared is therefore what a process does by
itself: reading its data, and a few matrix products of the model's own size.
"""

import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist

SLOWER = 1.5
"""A rank that needs so many times the median is a straggler."""

_PRODUCTS = 8
_SHARE_OF_STEP = 0.05
"""Slow reading matters from this share of a step on."""


@dataclass(frozen=True)
class Pace:
    """What a rank needs when it waits for nobody."""

    rank: int
    host: str
    computing: float
    """Seconds for the matrix products."""
    reading: float
    """Seconds a step for its data."""


@dataclass(frozen=True)
class Straggler:
    """A rank that is slower than the others."""

    rank: int
    host: str
    what: Literal["computing", "reading"]
    times: float
    """How many times the median it needs."""

    def __str__(self) -> str:
        return f"rank {self.rank} ({self.host}) is {self.times:.1f} times slower in {self.what}"


class Stragglers:
    """Measures this process and compares it with the others.

    Args:
        rows, width: of the matrix product ``(rows, width) @ (width, 4 width)``, the model's
            largest: tokens of a microbatch, and the model's width.
    """

    def __init__(self, rows: int, width: int, device: torch.device, dtype: torch.dtype) -> None:
        self._shape, self._device, self._dtype = (rows, width), device, dtype
        self._host = socket.gethostname()
        self._reading, self._reads = 0.0, 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Around the reading of a step's data."""
        begin = time.perf_counter()
        yield
        self._reading += time.perf_counter() - begin
        self._reads += 1

    def compare(self, step_seconds: float) -> list[Straggler]:
        """All ranks call this together; rank 0 gets the answer, the others nothing."""
        pace = Pace(
            dist.get_rank(), self._host, self._compute(), self._reading / max(1, self._reads)
        )
        self._reading, self._reads = 0.0, 0
        paces: list[Pace] | None = [pace] * dist.get_world_size() if pace.rank == 0 else None
        dist.gather_object(pace, paces)
        return find(paces, step_seconds) if paces is not None else []

    def _compute(self) -> float:
        """Seconds for the matrix products."""
        rows, width = self._shape
        states = torch.zeros(rows, width, device=self._device, dtype=self._dtype)
        weight = torch.zeros(width, 4 * width, device=self._device, dtype=self._dtype)
        (states @ weight)[0, 0].item()  # waits for the device; loads what the product needs
        begin = time.perf_counter()
        for _ in range(_PRODUCTS):
            product = states @ weight
        product[0, 0].item()
        return time.perf_counter() - begin


def find(paces: Sequence[Pace], step_seconds: float) -> list[Straggler]:
    """The ranks that need more than :data:`SLOWER` times the median, in either respect.

    Args:
        step_seconds: how long a step takes all of them.
    """
    found = []
    computing = statistics.median_low(pace.computing for pace in paces)
    reading = statistics.median_low(pace.reading for pace in paces)
    for pace in paces:
        if pace.computing > SLOWER * computing:
            found.append(Straggler(pace.rank, pace.host, "computing", pace.computing / computing))
        late = pace.reading - reading
        if pace.reading > SLOWER * reading and late > _SHARE_OF_STEP * step_seconds:
            times = pace.reading / max(reading, 1e-9)
            found.append(Straggler(pace.rank, pace.host, "reading", times))
    return found
