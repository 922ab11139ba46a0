"""Plans as a picture: where the time and the memory of each go."""

from collections.abc import Sequence
from pathlib import Path

from hyperclova import style
from hyperclova.pretraining.plan.report import layout_in_words
from hyperclova.pretraining.plan.search import Plan

_TIME = {
    "work": ("layers", style.ACCENT),
    "head": ("head and loss", "#5fae8c"),
    "recompute": ("recomputing", "#a9d6bf"),
    "tensor_traffic": ("tensor parallelism", style.AMBER),
    "data_traffic": ("FSDP", "#dcb57a"),
    "pipeline_traffic": ("between stages", "#f0dfc2"),
    "bubble": ("bubble", style.DANGER),
    "optimizer": ("optimiser", style.INK),
    "other": ("waiting, host", style.MUTED),
}
_MEMORY = {
    "parameters": ("parameters", style.ACCENT),
    "gradients": ("gradients", "#5fae8c"),
    "optimizer": ("optimiser", "#a9d6bf"),
    "gathered": ("gathered", style.AMBER),
    "activations": ("activations", "#dcb57a"),
    "loss": ("loss", style.DANGER),
    "buffers": ("buffers, gaps", style.MUTED),
}


def draw(plans: Sequence[Plan], path: Path) -> None:
    """Two bars for each plan, the first plan on top. The file's ending says which format."""
    height = 1.9 + 0.42 * len(plans)
    with style.chart(11, height, columns=2) as (figure, (time, memory)):
        rows = range(len(plans), 0, -1)
        tokens = plans[0].work.tokens
        several = len({plan.work.name for plan in plans}) > 1
        for axes, kinds, attribute in ((time, _TIME, "time"), (memory, _MEMORY, "memory")):
            left = [0.0] * len(plans)
            for kind, (name, colour) in kinds.items():
                values = [
                    getattr(getattr(plan, attribute), kind)
                    * (plan.days(tokens) / plan.time.total if attribute == "time" else 1e-9)
                    for plan in plans
                ]
                if max(values) > 0:
                    axes.barh(rows, values, left=left, color=colour, height=0.62, label=name)
                left = [a + b for a, b in zip(left, values, strict=True)]
            for row, plan, end in zip(rows, plans, left, strict=True):
                text = f" MFU {plan.mfu:.0%}" if attribute == "time" else ""
                axes.text(end, row, text, va="center", color=style.MUTED, fontsize=8)
            axes.margins(x=0.12)
            axes.grid(axis="x")
            axes.set_axisbelow(True)
            axes.legend(
                loc="upper center",
                bbox_to_anchor=(0.5, -0.1 - 0.25 / height),
                ncols=4,
                fontsize=8,
                frameon=False,
            )
        label = [
            (f"{plan.work.name}: " if several else "") + layout_in_words(plan) for plan in plans
        ]
        time.set_yticks(list(rows), label, fontsize=8)
        memory.set_yticks([])
        first = plans[0]
        memory.axvline(first.gpu.memory_gb, color=style.DANGER, linewidth=1, linestyle=":")
        what = "" if several else f"{first.work.name} on "
        time.set_title(
            f"{what}{first.gpus:,} × {first.gpu.title}: days for {tokens / 1e9:g}B tokens"
        )
        memory.set_title("GB on the fullest device; dotted: what it has")
        figure.savefig(path)
