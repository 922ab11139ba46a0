"""Where a build keeps what it is doing, and how a task is done once and for all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import zstandard
from numpy.typing import NDArray

from hyperclova import durable
from hyperclova.corpus.documents import Document, read_lines, serialise

_LEVEL = 3
"""zstd's: as fast as the stages that write."""
_CHUNK = 1 << 17


@dataclass(frozen=True)
class Task:
    """A unit of work: a pure function of the files that earlier stages wrote."""

    stage: str
    name: str
    function: Callable[..., dict[str, Any]]
    """Returns the task's receipt, plain data for JSON."""
    arguments: tuple[Any, ...]
    weight: int
    """Bytes of text it goes through, for progress."""


@dataclass(frozen=True)
class Workspace:
    """The directory of a build: ``work/`` inside the output."""

    output: Path

    def file(self, stage: str, name: str) -> Path:
        """Where ``stage`` keeps the file ``name``."""
        return self.output / "work" / stage / name

    def receipt(self, stage: str, name: str) -> dict[str, Any]:
        """What the task ``name`` of ``stage`` returned."""
        data: dict[str, Any] = orjson.loads(self._receipt(stage, name).read_bytes())
        return data

    def is_done(self, task: Task) -> bool:
        """Whether the task's receipt is there, and with it all that the task wrote."""
        return self._receipt(task.stage, task.name).exists()

    def perform(self, task: Task) -> None:
        """Do the task and write its receipt, last."""
        receipt = task.function(self, *task.arguments)
        with durable.writing(self._receipt(task.stage, task.name)) as file:
            file.write(orjson.dumps(receipt))

    def _receipt(self, stage: str, name: str) -> Path:
        return self.file(stage, f"{name}.done.json")

    def save(self, stage: str, name: str, array: NDArray[Any]) -> None:
        """Keep an array."""
        with durable.writing(self.file(stage, f"{name}.npy")) as file:
            np.save(file, array)

    def load(self, stage: str, name: str) -> NDArray[Any]:
        """The array, memory-mapped: only what is looked at is read."""
        path = self.file(stage, f"{name}.npy")
        # An empty array can't be mapped.
        array: NDArray[Any] = np.load(path, mmap_mode="r" if path.stat().st_size > 256 else None)
        return array


class LineWriter:
    """A ``.jsonl.zst`` file in the making."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._lines: list[bytes] = []
        self._size = 0
        self.documents = 0

    def add(self, document: Document) -> None:
        """Append a document."""
        self._append(serialise(document))
        self.documents += 1

    def add_record(self, record: dict[str, Any]) -> None:
        """Append any JSON object."""
        self._append(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))

    def _append(self, line: bytes) -> None:
        self._lines.append(line)
        self._size += len(line)
        if self._size >= _CHUNK:
            self.flush()

    def flush(self) -> None:
        """Hand what was gathered to the compressor: one call for many short lines."""
        self._stream.write(b"".join(self._lines))
        self._lines, self._size = [], 0


@contextmanager
def writing_lines(path: Path) -> Iterator[LineWriter]:
    """Write a ``.jsonl.zst`` file that appears when it is whole."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    with durable.writing(path) as file, compressor.stream_writer(file, closefd=False) as stream:
        writer = LineWriter(stream)
        yield writer
        writer.flush()


def stored_documents(path: Path) -> Iterator[Document]:
    """The documents of a file that we wrote ourselves: no checks."""
    for line in read_lines(path):
        record = orjson.loads(line)
        yield Document(
            record.pop("id"), record.pop("source"), record.pop("title"), record.pop("text"), record
        )


def groups_of(documents: Iterator[Document], characters: int = 1 << 19) -> Iterator[list[Document]]:
    """Documents in groups of about ``characters``, for what is faster on many at once."""
    group: list[Document] = []
    size = 0
    for document in documents:
        group.append(document)
        size += len(document.text)
        if size >= characters:
            yield group
            group, size = [], 0
    if group:
        yield group


def number_of(piece: int, row: int) -> int:
    """The number of a document in the build: pieces are counted in order, rows within."""
    return piece << 32 | row
