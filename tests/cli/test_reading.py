"""What is shown while documents are read, in a terminal and elsewhere."""

import io
import re

import pytest
from rich.console import Console

from hyperclova.cli import reading as module
from hyperclova.cli.reading import reading


def test_lines_where_no_terminal_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_LINES", 0)
    console = Console(file=io.StringIO(), width=20)
    with reading(console) as show:
        show("위키 [한국어].jsonl", 64, 1_250_000)
        show("b.jsonl", 3, 100_000)
    assert re.fullmatch(
        r"위키 \[한국어\]\.jsonl: 64 documents, 1\.2 MB, [\d.]+ MB/s\n"
        r"b\.jsonl: 3 documents, 0\.1 MB, [\d.]+ MB/s\n",
        console.file.getvalue(),
    )


def test_lines_are_few() -> None:
    console = Console(file=io.StringIO())
    with reading(console) as show:
        for count in range(1000):
            show("a.jsonl", count, count)
    assert console.file.getvalue() == ""


def test_a_terminal_gets_a_bar_for_each_name() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    with reading(console) as show:
        show("a [1].jsonl", 64, 1_250_000)
        show("a [1].jsonl", 70, 1_500_000)
        show("b.jsonl", 3, 100_000)
    frames = [line for line in console.file.getvalue().splitlines() if "documents" in line]
    first, second = frames[-2:]
    assert "a [1].jsonl" in first and "70 documents" in first and "1.5/1.5 MB" in first
    assert "b.jsonl" in second and "3 documents" in second and "100.0/100.0 kB" in second
