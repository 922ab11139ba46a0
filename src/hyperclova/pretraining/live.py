"""What a person sees while a model trains: a live panel in a terminal, plain lines elsewhere."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from hyperclova.model import GPTConfig, cost
from hyperclova.pretraining.config import PretrainingConfig
from hyperclova.pretraining.reports import Progress

_BRAILLE = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def curve(values: Sequence[float], columns: int, rows: int) -> list[str]:
    """A line chart in Braille dots, two by four to a character; the newest value at the right."""
    if not values:
        return [" " * columns] * rows
    width, height = 2 * columns, 4 * rows
    low, high = min(values), max(values)
    cells = [[0x2800] * columns for _ in range(rows)]
    for x in range(width):
        # Every column of dots shows the mean of its share of the values.
        start = x * len(values) // width
        share = values[start : max(start + 1, (x + 1) * len(values) // width)]
        level = (sum(share) / len(share) - low) / (high - low or 1.0)
        y = round((1 - level) * (height - 1))
        cells[y // 4][x // 2] |= _BRAILLE[x % 2][y % 4]
    return ["".join(map(chr, row)) for row in cells]


class LineWatcher:
    """One line per report: for log files and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def begin(
        self, shape: GPTConfig, config: PretrainingConfig, resumed_at: int, device: str
    ) -> None:
        self._say(_headline(shape, config, device))
        if resumed_at:
            self._say(f"going on from step {resumed_at}")

    def step(self, progress: Progress) -> None:
        self._say(
            f"step {progress.step}/{progress.steps}  loss {progress.loss:.4f}  "
            f"lr {progress.learning_rate:.2e}  norm {progress.gradient_norm:.2f}  "
            f"{progress.tokens_per_second:,.0f} tokens/s  "
            f"{progress.flops_per_second / 1e9:,.0f} GFLOP/s  "
            f"{duration(progress.seconds_left)} left"
        )

    def evaluated(self, step: int, bits_per_byte: float) -> None:
        self._say(f"step {step}  held-out {bits_per_byte:.4f} bits per byte")

    def sampled(self, step: int, prompts: Sequence[str], texts: Sequence[str]) -> None:
        for prompt, text in zip(prompts, texts, strict=True):
            self._say(f"step {step}  {prompt}|{text!r}")

    def saved(self, step: int, path: Path) -> None:
        self._say(f"step {step}  saved {path}")

    def noticed(self, step: int, what: str) -> None:
        self._say(f"step {step}  {what}")


class LiveWatcher:
    """Loss curve, rates, time left and the latest samples, in place."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._headline = ""
        self._losses: list[float] = []
        self._progress: Progress | None = None
        self._notes: dict[str, str] = {}
        self._samples: list[tuple[str, str]] = []
        self._bar = Bar(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(None),
            TextColumn("{task.percentage:.0f} %"),
        )
        self._task = self._bar.add_task("step")

    def begin(
        self, shape: GPTConfig, config: PretrainingConfig, resumed_at: int, device: str
    ) -> None:
        self._headline = _headline(shape, config, device)
        self._bar.update(self._task, total=config.steps.count, completed=resumed_at)
        self._refresh()

    def step(self, progress: Progress) -> None:
        self._progress = progress
        self._losses.append(progress.loss)
        self._bar.update(self._task, completed=progress.step)
        self._refresh()

    def evaluated(self, step: int, bits_per_byte: float) -> None:
        self._notes["held-out"] = f"{bits_per_byte:.4f} bits per byte at step {step}"
        self._refresh()

    def sampled(self, step: int, prompts: Sequence[str], texts: Sequence[str]) -> None:
        self._samples = list(zip(prompts, texts, strict=True))
        self._refresh()

    def saved(self, step: int, path: Path) -> None:
        self._notes["checkpoint"] = str(path)
        self._refresh()

    def noticed(self, step: int, what: str) -> None:
        self._notes["noticed"] = f"{what} at step {step}"
        self._refresh()

    def _refresh(self) -> None:
        self._live.update(self._view())

    def _view(self) -> Panel:
        parts: list[Text | Table | Bar] = [self._bar]
        if self._progress is not None:
            now = self._progress
            figures = Table.grid(padding=(0, 3))
            figures.add_row(
                f"loss [bold]{now.loss:.4f}[/]",
                f"{now.tokens_per_second:,.0f} tokens/s",
                f"{now.flops_per_second / 1e9:,.0f} GFLOP/s",
                f"lr {now.learning_rate:.2e}",
                f"norm {now.gradient_norm:.2f}",
                f"{duration(now.seconds_left)} left",
            )
            parts.append(figures)
            chart = curve(self._losses, columns=64, rows=6)
            chart[0] += f" {max(self._losses):.2f}"
            chart[-1] += f" {min(self._losses):.2f}"
            parts += [Text(line, style="green") for line in chart]
        parts += [Text(f"{name}: {note}", style="dim") for name, note in self._notes.items()]
        for prompt, text in self._samples:
            parts.append(Text.assemble((prompt, "bold"), (text.replace("\n", " "), "")))
        return Panel(Group(*parts), title=self._headline, title_align="left", border_style="dim")


def _headline(shape: GPTConfig, config: PretrainingConfig, device: str) -> str:
    return (
        f"{cost.parameters(shape) / 1e6:.1f}M parameters "
        f"({shape.layers} layers, width {shape.width}, {shape.heads} heads, "
        f"{shape.vocab_size:,} tokens) on {device}; "
        f"{config.training.tokens / 1e6:,.1f}M tokens in {config.steps.count:,} steps"
    )


def duration(seconds: float) -> str:
    """``1 h 02 min``, ``3 min``, ``12 s``."""
    minutes = int(seconds // 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min" if minutes else f"{int(seconds)} s"
