"""Which layouts fit, and which of them is the fastest."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hyperclova.errors import UserError
from hyperclova.model import cost
from hyperclova.parallel.layout import Layout
from hyperclova.pretraining.plan.assumptions import Assumptions
from hyperclova.pretraining.plan.gpu import Gpu
from hyperclova.pretraining.plan.memory import Memory, memory
from hyperclova.pretraining.plan.speed import Speed, StepTime
from hyperclova.pretraining.plan.tensors import held
from hyperclova.pretraining.plan.workload import Setting, Workload

HORIZONS = (150_000_000_000, 300_000_000_000)
"""Tokens of the paper's models in its sections 4 and 5.2."""


@dataclass(frozen=True)
class Plan:
    """One way to run a workload, and what is predicted of it."""

    work: Workload
    gpu: Gpu
    gpu_name: str
    setting: Setting
    memory: Memory
    """Of the pipeline rank with the most."""
    time: StepTime
    assumed: Assumptions
    price: float
    """Dollars per GPU and hour."""
    configured: bool = False
    """What a configuration already says, rather than what the planner proposes."""

    @property
    def fits(self) -> bool:
        """Whether some of the memory stays free (:attr:`Assumptions.headroom`), the host's too."""
        return _fits(self.work, self.gpu, self.assumed, self.setting, self.memory)

    @property
    def gpus(self) -> int:
        return self.setting.layout.processes

    @property
    def tokens_per_second(self) -> float:
        """Of all devices together, while training."""
        return self.work.batch_tokens / self.time.total

    @property
    def mfu(self) -> float:
        """Model operations (6 N + 12 L T d a token, as in ``model/cost.py``) over the peak."""
        work = cost.training_flops_per_token(self.work.shape, self.work.sequence_length)
        return self.tokens_per_second * work / (self.gpus * self.gpu.peak)

    def days(self, tokens: int) -> float:
        """With interruptions (:attr:`Assumptions.availability`)."""
        return tokens / self.tokens_per_second / 86_400 / self.assumed.availability

    def dollars(self, tokens: int) -> float:
        return self.days(tokens) * 24 * self.gpus * self.price

    def megawatt_hours(self, tokens: int) -> float:
        watts = self.gpus * self.gpu.server_watts * self.assumed.load
        watts *= self.assumed.power_usage_effectiveness
        return watts * self.days(tokens) * 24 / 1e6

    def to_json(self) -> dict[str, Any]:
        """Plain data for machines."""
        work, tokens = self.work, self.work.tokens
        return {
            "model": work.name,
            "gpu": self.gpu_name,
            "gpus": self.gpus,
            "layout": dataclasses.asdict(self.setting.layout),
            "microbatch_tokens": self.setting.microbatch_samples * work.sequence_length,
            "microbatches": self.setting.microbatches(work),
            "batch_tokens": work.batch_tokens,
            "sequence_length": work.sequence_length,
            "configured": self.configured,
            "fits": self.fits,
            "precision": self.gpu.precision,
            "tokens": tokens,
            "days": round(self.days(tokens), 3),
            "days_cautious": round(self.days(tokens) * self.assumed.caution, 3),
            "days_by_tokens": {str(each): round(self.days(each), 3) for each in HORIZONS},
            "tokens_per_second": round(self.tokens_per_second, 1),
            "mfu": round(self.mfu, 4),
            "memory_gb": round(self.memory.total / 1e9, 3),
            "memory_by_kind_gb": self.memory.in_gigabytes(),
            "step_seconds": round(self.time.total, 4),
            "time_by_kind_seconds": {
                kind: round(seconds, 4) for kind, seconds in dataclasses.asdict(self.time).items()
            },
            "energy_mwh": round(self.megawatt_hours(tokens), 2),
            "cost_usd": round(self.dollars(tokens)),
            "assumptions": dataclasses.asdict(self.assumed),
        }


class Planner:
    """Judges settings of one workload on one kind of device."""

    def __init__(
        self,
        work: Workload,
        gpu: Gpu,
        gpu_name: str,
        assumed: Assumptions | None = None,
        price: float | None = None,
    ) -> None:
        self._work, self._gpu, self._name = work, gpu, gpu_name
        self._assumed = assumed or Assumptions()
        self._price = gpu.dollars_per_hour if price is None else price
        self._speed = Speed(work, gpu, self._assumed)

    def judge(self, setting: Setting) -> Plan:
        """What is predicted of a setting, whether it fits or not.

        Raises:
            UserError: the layout can't hold the model or divide the batch.
        """
        self._check(setting)
        return self._plan(setting, self._memory(setting))

    def as_configured(self, setting: Setting, gpus: int) -> list[Plan]:
        """What a configuration's own layout would do, if it can be for that many GPUs."""
        try:
            layout = setting.layout.resolve(gpus)
            plan = self.judge(Setting(layout, setting.microbatch_samples))
        except UserError:
            return []
        return [dataclasses.replace(plan, configured=True)]

    def best(self, gpus: int, top: int) -> list[Plan]:
        """The fastest settings that fit, at most one for each (tp, pp, schedule), best first.

        Where nothing fits otherwise, parameters and optimiser state move to the host's memory.

        Raises:
            UserError: nothing fits.
        """
        for offload in (False, True) if gpus > 1 else (False,):
            found: dict[tuple[object, ...], Plan] = {}
            least: tuple[Memory, Setting] | None = None
            for setting in self._settings(gpus, offload):
                try:
                    self._check(setting)
                except UserError:  # does not divide
                    continue
                used = self._memory(setting)
                if least is None or used.total < least[0].total:
                    least = used, setting
                if not _fits(self._work, self._gpu, self._assumed, setting, used):
                    continue
                plan = self._plan(setting, used)
                layout = setting.layout
                key = (layout.tp, layout.pp, layout.schedule if layout.pp > 1 else "")
                if key not in found or _rank(plan) < _rank(found[key]):
                    found[key] = plan
            if found:
                return sorted(found.values(), key=_rank)[:top]
        if least is None:
            raise UserError(
                f"{gpus} GPUs can't divide a batch of {self._work.batch_samples} sequences and "
                f"{self._work.shape.heads} heads: choose another --gpus or --batch-tokens"
            )
        used, setting = least
        kept = host_memory(self._work, setting)
        host = f" and {kept / 1e9:.0f} GB of its host" if kept else ""
        raise UserError(
            f"{self._work.name} does not fit on {gpus} × {self._name}: even the leanest layout "
            f"needs {used.total / 1e9:.0f} GB of each{host}; use more GPUs or larger ones"
        )

    def _check(self, setting: Setting) -> None:
        work = self._work
        setting.layout.check(
            work.shape, work.sequence_length, work.batch_samples, setting.microbatch_samples
        )

    def _plan(self, setting: Setting, used: Memory) -> Plan:
        return Plan(
            self._work,
            self._gpu,
            self._name,
            setting,
            used,
            self._speed.step(setting),
            self._assumed,
            self._price,
        )

    def _memory(self, setting: Setting) -> Memory:
        layout = setting.layout
        ranks = sorted({0, layout.pp // 2, layout.pp - 1})
        return max(
            (memory(self._work, setting, self._gpu, self._assumed, rank) for rank in ranks),
            key=lambda each: each.total,
        )

    def _settings(self, gpus: int, offload: bool) -> Iterator[Setting]:
        shape, per_node = self._work.shape, self._gpu.per_node
        for tp in _divisors(min(per_node, gpus)):
            if gpus % tp or shape.heads % tp or shape.vocab_size % tp:
                continue
            for pp in _divisors(gpus // tp):
                if pp > shape.layers or (offload and pp > 1):
                    continue
                groups = gpus // tp // pp
                if self._work.batch_samples % groups:
                    continue
                rows = self._work.batch_samples // groups
                for layout in self._layouts(tp, pp, groups, offload):
                    for microbatch in _divisors(rows):
                        if microbatch * self._work.sequence_length <= 131_072:
                            yield Setting(layout, microbatch)

    def _layouts(self, tp: int, pp: int, groups: int, offload: bool) -> Iterator[Layout]:
        layers, per_node = self._work.shape.layers, self._gpu.per_node
        if groups * tp * pp == 1:  # nothing to divide
            replicas, reshards = [1], [True]
        else:
            node = max(1, per_node // tp)
            spread = {groups, *(node * servers for servers in (1, 2, 4, 8))}
            replicas = sorted(groups // each for each in spread if groups % each == 0)
            reshards = [True, False] if pp == 1 else [True]
        schedules: list[tuple[Any, int]] = [("1f1b", 1)]
        if pp > 1:
            schedules += [
                (name, v)
                for name in ("interleaved-1f1b", "zero-bubble")
                for v in (2, 3, 4, 5, 6, 8)
                if pp * v <= layers and layers % (pp * v) == 0
            ]
            if 2 * pp <= layers:
                schedules += [("zero-bubble-v", 2), ("dual-pipe-v", 2)]
        for schedule, v in schedules:
            splits = schedule not in ("1f1b", "interleaved-1f1b")
            for recompute in ("none",) if splits else ("none", "selective", "full"):
                for copies in replicas:
                    for reshard in reshards:
                        yield Layout(
                            dp=groups,
                            tp=tp,
                            pp=pp,
                            replicas=copies,
                            schedule=schedule,
                            stages_per_rank=v,
                            recompute=recompute,  # type: ignore[arg-type]
                            reshard=reshard,
                            offload=offload,
                        )


def host_memory(work: Workload, setting: Setting) -> float:
    """Bytes of the host that offloading takes for each device."""
    return 16.0 * held(work.shape, setting.layout, 0).sharded if setting.layout.offload else 0.0


def _fits(work: Workload, gpu: Gpu, assumed: Assumptions, setting: Setting, used: Memory) -> bool:
    share = 1e9 * (1 - assumed.headroom)
    return (
        used.total <= gpu.memory_gb * share
        and host_memory(work, setting) <= gpu.host_memory_gb * share
    )


def _rank(plan: Plan) -> tuple[float, float]:
    """Faster first; of those within some two thousandths, the one with more memory to spare."""
    return -round(math.log(plan.tokens_per_second) * 500), plan.memory.total


def _divisors(number: int) -> list[int]:
    return [each for each in range(1, number + 1) if number % each == 0]


def to_toml(plan: Plan) -> str:
    """The sections of a run's configuration that a plan decides."""
    setting, layout = plan.setting, plan.setting.layout
    default = Layout()
    lines = ["[layout]"]
    for field in dataclasses.fields(Layout):
        value = getattr(layout, field.name)
        if field.name in ("dp", "tp", "pp") or value != getattr(default, field.name):
            text = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else None
            text = text or (f'"{value}"' if isinstance(value, str) else str(value))
            lines.append(f"{field.name} = {text}")
    lines += [
        "",
        "[training]",
        f"batch_tokens = {plan.work.batch_tokens:_}",
        f"microbatch_tokens = {setting.microbatch_samples * plan.work.sequence_length:_}",
        f"sequence_length = {plan.work.sequence_length}",
    ]
    return "\n".join(lines) + "\n"
