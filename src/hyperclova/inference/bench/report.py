"""What was measured, as figures, as a table and as JSON."""

import os
import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from hyperclova.inference.bench.load import Level

FORMAT = "hyperclova-bench-serve-1"
"""Of the JSON; changes when a field changes its meaning."""


@dataclass(frozen=True)
class Spread:
    """How long something took, in seconds: the mean, and what 50, 95 and 99 % stay below."""

    mean: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Summary:
    """One level in figures. Tokens are those of requests that were answered."""

    concurrency: int | None
    """Clients at once; None for an open loop."""
    rate: float | None
    """Requests a second that arrived; None for a closed loop."""
    answered: int
    refused: int
    failed: int
    complete: bool
    """False if it was interrupted."""
    seconds: float
    prompt_tokens: int
    completion_tokens: int
    output_tokens_per_second: float
    total_tokens_per_second: float
    """Prompts counted, too."""
    time_to_first_token: Spread | None
    """None where nothing was answered."""
    inter_token_latency: Spread | None
    request_latency: Spread | None
    peak_memory_bytes: int | None
    reasons: dict[str, int]
    """Why requests were refused or failed, and how often."""


def summarize(level: Level) -> Summary:
    """The figures of one level."""
    answered = [answer for answer in level.answers if answer.outcome == "answered"]
    outcomes = Counter(answer.outcome for answer in level.answers)
    read = sum(answer.prompt_tokens for answer in answered)
    written = sum(answer.completion_tokens for answer in answered)
    return Summary(
        concurrency=None if level.open_loop else round(level.load),
        rate=level.load if level.open_loop else None,
        answered=len(answered),
        refused=outcomes["refused"],
        failed=outcomes["failed"],
        complete=level.complete,
        seconds=level.seconds,
        prompt_tokens=read,
        completion_tokens=written,
        output_tokens_per_second=written / level.seconds,
        total_tokens_per_second=(read + written) / level.seconds,
        time_to_first_token=_spread(a.first_token for a in answered if a.arrivals),
        inter_token_latency=_spread(gap for answer in answered for gap in answer.gaps()),
        request_latency=_spread(answer.ended - answer.asked for answer in answered),
        peak_memory_bytes=level.peak_memory,
        reasons=dict(Counter(answer.message for answer in level.answers if answer.message)),
    )


def table(summaries: Sequence[Summary]) -> Table:
    """One row a level; it fits into 80 columns. An interrupted one says ``cut``."""
    load = "clients" if summaries[0].rate is None else "req/s"
    rows = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True)
    for heading in (
        load,
        "output\ntok/s",
        "total\ntok/s",
        "first token, ms\np50/p95/p99",
        "next token, ms\np50/p95/p99",
        "peak\nMiB",
        "refused\n/failed",
    ):
        rows.add_column(heading, justify="right", no_wrap=True)
    for summary in summaries:
        load = f"{summary.concurrency if summary.rate is None else summary.rate:g}"
        memory = summary.peak_memory_bytes
        rows.add_row(
            load if summary.complete else f"{load}, cut",
            f"{summary.output_tokens_per_second:.1f}",
            f"{summary.total_tokens_per_second:.1f}",
            _milliseconds(summary.time_to_first_token),
            _milliseconds(summary.inter_token_latency),
            "–" if memory is None else f"{memory / 2**20:,.0f}",
            f"{summary.refused}/{summary.failed}",
        )
    return rows


def to_json(
    target: dict[str, Any], workload: dict[str, Any], summaries: Sequence[Summary]
) -> dict[str, Any]:
    """Everything that was measured, and where, as plain data. Seconds, bytes, tokens."""
    return {
        "format": FORMAT,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "target": target,
        "workload": workload,
        "levels": [asdict(summary) for summary in summaries],
    }


def machine() -> dict[str, Any]:
    """What a figure depends on beside the code."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads_wanted": os.environ.get("OMP_NUM_THREADS"),
        "python": platform.python_version(),
        "torch": _version("torch"),
        "hyperclova": _version("hyperclova"),
    }


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            names = (line.partition(":")[2] for line in lines if line.startswith("model name"))
            return next(names, "").strip() or platform.processor()
    except OSError:
        return platform.processor()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _spread(seconds: Iterable[float]) -> Spread | None:
    values = np.fromiter(seconds, dtype=np.float64)
    if not values.size:
        return None
    p50, p95, p99 = np.quantile(values, (0.5, 0.95, 0.99)).tolist()
    return Spread(float(values.mean()), p50, p95, p99)


def _milliseconds(spread: Spread | None) -> str:
    if spread is None:
        return "–"
    values = [1000 * each for each in (spread.p50, spread.p95, spread.p99)]
    return "/".join(f"{value:.0f}" if value >= 100 else f"{value:.1f}" for value in values)
