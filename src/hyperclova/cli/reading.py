"""What a person sees while documents are read: a bar a file, or lines where no terminal is."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_SECONDS_BETWEEN_LINES = 10

Show = Callable[[str, int, int], None]
"""Called with a name, and the documents and bytes of text read so far under it."""


@contextmanager
def reading(console: "Console") -> Iterator[Show]:
    """Show names, documents, bytes and speed: as bars, or as a line every ten seconds.

    A new name ends the one before.
    """
    if console.is_terminal:
        with _bars(console) as show:
            yield show
    else:
        yield _lines(console)


@contextmanager
def _bars(console: "Console") -> Iterator[Show]:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TransferSpeedColumn,
    )

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[documents]:,} documents"),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
        console=console,
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def finish() -> None:
            for task in bars.tasks:
                if not task.finished:
                    bars.update(task.id, total=task.completed)

        def show(name: str, documents: int, text_bytes: int) -> None:
            if name not in tasks:
                finish()
                tasks[name] = bars.add_task(name, total=None, documents=0)
            bars.update(tasks[name], completed=text_bytes, documents=documents)

        yield show
        finish()


def _lines(console: "Console") -> Show:
    said = latest = started = time.monotonic()
    current = ""

    def show(name: str, documents: int, text_bytes: int) -> None:
        nonlocal current, said, latest, started
        if name != current:
            current, started = name, latest
        latest = time.monotonic()
        if latest - said < _SECONDS_BETWEEN_LINES:
            return
        said = latest
        megabytes = text_bytes / 1e6
        seconds = max(latest - started, 0.001)
        console.print(
            f"{name}: {documents:,} documents, {megabytes:,.1f} MB, {megabytes / seconds:.1f} MB/s",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    return show
