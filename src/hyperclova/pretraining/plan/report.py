"""Plans on the terminal."""

import dataclasses
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from hyperclova.model import cost
from hyperclova.pretraining.plan.search import HORIZONS, Plan, to_toml

_BEFORE = 13.4
"""Days the paper's 82B model took for 150 billion tokens on 1,024 A100."""


def print_plans(plans: Sequence[Plan], refused: Mapping[str, str]) -> None:
    """A table, best first; then the best in detail, and what was assumed.

    Args:
        refused: sizes that have no plan, and why.
    """
    console = Console()
    if not console.is_terminal:  # a file or a pipe has room for whole lines
        console = Console(width=160)
    several = len({plan.work.name for plan in plans}) > 1 or bool(refused)
    if plans:
        _print_head(plans[0], several, console)
        console.print(_table(plans, several))
    for reason in refused.values():
        console.print(reason, markup=False, soft_wrap=True)
    if plans and not several:
        _print_details(plans[0], console)


def layout_in_words(plan: Plan) -> str:
    """Such as ``dp 64 · tp 2 · pp 8 · interleaved-1f1b × 8``."""
    layout = plan.setting.layout
    words = [f"dp {layout.dp}"]
    if layout.replicas > 1:
        words[0] += f" ({layout.replicas} replicas)"
    if layout.tp > 1:
        words.append(f"tp {layout.tp}")
    if layout.pp > 1:
        words.append(f"pp {layout.pp}")
        each = f" × {layout.stages_per_rank}" if layout.stages_per_rank > 1 else ""
        words.append(layout.schedule + each)
    elif layout.processes > 1 and not layout.reshard:
        words.append("no reshard")
    if layout.recompute != "none":
        words.append(f"recompute {layout.recompute}")
    if layout.offload:
        words.append("offload")
    return " · ".join(words)


def _print_head(plan: Plan, several: bool, console: Console) -> None:
    work = plan.work
    if not several:
        console.print(
            f"{work.name}: {cost.parameters(work.shape):,} parameters",
            markup=False,
            highlight=False,
        )
    console.print(
        f"{plan.gpus:,} × {plan.gpu.title}, {plan.gpu.precision}; "
        f"{work.batch_tokens:,} tokens a step, {work.sequence_length:,} a sequence",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _table(plans: Sequence[Plan], several: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    if several:
        table.add_column("model", no_wrap=True)
    table.add_column("layout", overflow="fold")
    for name in ("microbatch", "GB", "tokens/s", "MFU"):
        table.add_column(name, justify="right", no_wrap=True)
    horizons = sorted({plans[0].work.tokens, *HORIZONS})
    if not several and plans[0].work.tokens not in HORIZONS:
        horizons = [plans[0].work.tokens]
    for tokens in horizons:
        table.add_column(f"days {_short(tokens)}", justify="right", no_wrap=True)
    table.add_column("MWh", justify="right", no_wrap=True)
    table.add_column("$", justify="right", no_wrap=True)
    for plan in plans:
        tokens = plan.work.tokens
        table.add_row(
            *([plan.work.name] if several else []),
            layout_in_words(plan) + (" (as configured)" if plan.configured else ""),
            f"{plan.setting.microbatch_samples * plan.work.sequence_length:,}",
            f"{plan.memory.total / 1e9:.1f}" + ("" if plan.fits else " !"),
            f"{plan.tokens_per_second:,.0f}",
            f"{plan.mfu:.1%}",
            *(_number(plan.days(each)) for each in horizons),
            _number(plan.megawatt_hours(tokens)),
            f"{plan.dollars(tokens):,.0f}",
        )
    return table


def _print_details(plan: Plan, console: Console) -> None:
    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    memory = [
        f"{name} {getattr(plan.memory, name) / 1e9:.1f}"
        for name in (field.name for field in dataclasses.fields(plan.memory))
    ]
    line(f"The first, in GB of {plan.gpu.memory_gb:.0f}: " + ", ".join(memory))
    time = [
        f"{name.replace('_', ' ')} {seconds / plan.time.total:.1%}"
        for name, seconds in dataclasses.asdict(plan.time).items()
    ]
    line(f"A step takes {plan.time.total:.2f} s: " + ", ".join(time))
    days, assumed = plan.days(plan.work.tokens), plan.assumed
    line(
        f"Days: {_number(days)} expected, up to {_number(days * assumed.caution)} if it is "
        "predicted as badly as the worst published run it was held against"
        if plan.gpu.fitted
        else f"Days: {_number(days)} expected; no published runs of this device were compared"
    )
    if plan.work.name == "82B" and plan.gpus == 1024 and plan.gpu_name.startswith("a100"):
        line(f"The paper's run of 150 billion tokens took {_BEFORE} days")
    line(
        f"Assumed: large products at {plan.gpu.matmul_efficiency:.0%} of "
        f"{plan.gpu.peak / 1e12:,.3g} TFLOP/s, attention at {plan.gpu.attention_efficiency:.0%}; "
        f"links {assumed.link_efficiency:.0%} of {plan.gpu.link_gb_s:g} GB/s, network "
        f"{assumed.network_efficiency:.0%} of {plan.gpu.network_gb_s:g} GB/s; FSDP hides behind "
        f"{assumed.overlap:.0%} of a layer's work, tensor parallelism behind none; progress in "
        f"{assumed.availability:.0%} of the days; ${plan.price:g} per GPU and hour; the rest in "
        "--json and the manual"
    )
    line("")
    line(to_toml(plan).rstrip())


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _short(tokens: int) -> str:
    for size, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M")):
        if tokens >= size:
            return f"{tokens / size:g}{letter}"
    return str(tokens)
