"""Training speeds that others measured, beside what the planner says of the same runs."""

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from hyperclova import configuration
from hyperclova.model import cost
from hyperclova.model.shape import GPTConfig
from hyperclova.parallel.layout import Layout, ScheduleName
from hyperclova.pretraining.plan.assumptions import Assumptions
from hyperclova.pretraining.plan.gpu import gpu_named
from hyperclova.pretraining.plan.speed import Speed
from hyperclova.pretraining.plan.workload import Setting, Workload


@dataclass(frozen=True)
class Run:
    """One published figure: tokens per second and GPU, or MFU."""

    name: str
    gpu: str
    gpus: int
    layers: int
    width: int
    heads: int
    vocabulary: int
    sequence_length: int
    batch_samples: int
    microbatch_samples: int
    recompute: Literal["none", "selective", "full"]
    compiled: bool
    fitted: bool
    """Whether the planner's efficiencies were chosen to match it."""
    source: str
    tokens_per_second: float | None = None
    mfu: float | None = None
    tp: int = 1
    pp: int = 1
    schedule: ScheduleName = "1f1b"
    stages_per_rank: int = 1

    @property
    def shape(self) -> GPTConfig:
        return GPTConfig(self.vocabulary, self.sequence_length, self.layers, self.width, self.heads)

    @property
    def measured(self) -> float:
        """Share of the peak, by :func:`cost.training_flops_per_token`."""
        if self.mfu is not None:
            return self.mfu
        assert self.tokens_per_second is not None
        work = cost.training_flops_per_token(self.shape, self.sequence_length)
        return self.tokens_per_second * work / gpu_named(self.gpu).peak

    def predicted(self, assumed: Assumptions | None = None) -> float:
        """The same by the planner."""
        layout = Layout(
            tp=self.tp,
            pp=self.pp,
            schedule=self.schedule,
            stages_per_rank=self.stages_per_rank,
            recompute=self.recompute,
        ).resolve(self.gpus)
        work = Workload(
            self.name,
            self.shape,
            self.sequence_length,
            self.batch_samples * self.sequence_length,
            compiled=self.compiled,
        )
        gpu = gpu_named(self.gpu)
        seconds = Speed(work, gpu, assumed or Assumptions()).step(
            Setting(layout, self.microbatch_samples)
        )
        flops = work.batch_tokens * cost.training_flops_per_token(self.shape, self.sequence_length)
        return flops / seconds.total / self.gpus / gpu.peak


def published() -> list[Run]:
    """All of ``published.toml``."""
    text = resources.files(__package__).joinpath("published.toml").read_text(encoding="utf-8")
    return [
        configuration.build(Run, run, where=f"published.toml: {run.get('name')}")
        for run in tomllib.loads(text)["run"]
    ]
