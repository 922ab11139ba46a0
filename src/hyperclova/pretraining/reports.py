"""What a run tells while it goes: to a watcher, and to ``metrics.jsonl``."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from hyperclova.model import GPTConfig
from hyperclova.pretraining.config import PretrainingConfig
from hyperclova.pretraining.guard import Skipped
from hyperclova.pretraining.metrics import Metrics
from hyperclova.pretraining.stragglers import Straggler


@dataclass(frozen=True)
class Progress:
    """What a watcher may want to show after a step."""

    step: int
    steps: int
    tokens: int
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens_per_second: float
    flops_per_second: float
    seconds_left: float


class Watcher(Protocol):
    """Sees a run as it happens."""

    def begin(
        self, shape: GPTConfig, config: PretrainingConfig, resumed_at: int, device: str
    ) -> None: ...
    def step(self, progress: Progress) -> None: ...
    def evaluated(self, step: int, bits_per_byte: float) -> None: ...
    def sampled(self, step: int, prompts: Sequence[str], texts: Sequence[str]) -> None: ...
    def saved(self, step: int, path: Path) -> None: ...
    def noticed(self, step: int, what: str) -> None: ...


class Reports:
    """Both at once, in the first process of a run; in the others nothing happens.

    Args:
        metrics: None in the others.
    """

    def __init__(self, watcher: Watcher, metrics: Metrics | None) -> None:
        self._watcher, self._metrics = watcher, metrics

    def step(self, progress: Progress, z_loss: float | None) -> None:
        if self._metrics is None:
            return
        self._metrics.write(
            "train",
            progress.step,
            tokens=progress.tokens,
            loss=progress.loss,
            **({} if z_loss is None else {"z_loss": z_loss}),
            learning_rate=progress.learning_rate,
            gradient_norm=progress.gradient_norm,
            tokens_per_second=round(progress.tokens_per_second, 1),
            flops_per_second=round(progress.flops_per_second),
        )
        self._watcher.step(progress)

    def evaluated(self, step: int, tokens: int, bits_per_byte: float) -> None:
        if self._metrics is None:
            return
        self._metrics.write("evaluation", step, tokens=tokens, bits_per_byte=bits_per_byte)
        self._watcher.evaluated(step, bits_per_byte)

    def sampled(self, step: int, prompts: Sequence[str], texts: Sequence[str]) -> None:
        if self._metrics is None:
            return
        self._metrics.write("samples", step, prompts=list(prompts), texts=list(texts))
        self._watcher.sampled(step, prompts, texts)

    def saved(self, step: int, path: Path) -> None:
        if self._metrics is not None:
            self._watcher.saved(step, path)

    def skipped(self, found: Sequence[Skipped]) -> None:
        if self._metrics is None:
            return
        for one in found:
            values = {"loss": one.loss, "gradient_norm": one.gradient_norm}
            self._metrics.write("skipped", one.step, reason=one.reason, **values)
            self._watcher.noticed(one.step, str(one))

    def slow(self, step: int, found: Sequence[Straggler]) -> None:
        if self._metrics is None:
            return
        for one in found:
            self._metrics.write("straggler", step, **asdict(one))
            self._watcher.noticed(step, str(one))

    def close(self) -> None:
        if self._metrics is not None:
            self._metrics.close()
