"""Tables as text: comma-separated values (RFC 4180) and tab-separated ones.

The first row names the columns. UTF-8, or CP949 as Korean Excel and many offices write it: the
first line that is not ASCII decides. Empty cells are missing values, but for the text.
"""

import csv
from collections import deque
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import orjson

from hyperclova.corpus import compression
from hyperclova.corpus.documents import Document
from hyperclova.corpus.readers.quarantine import Reject
from hyperclova.corpus.readers.records import LONGEST, TOO_LONG, Records, missing_column

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONGEST_FIELD = 1 << 24  # characters


class _Lines(Iterator[str]):
    """Decoded lines with what a parser of rows needs to find its way back."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._source = enumerate(compression.lines(chunks, LONGEST), start=1)
        self._ahead: deque[tuple[int, bytes]] = deque()
        self._encoding = "utf-8"
        self._decided = False
        self.taken: list[tuple[int, bytes]] = []
        """The lines since :meth:`start_row`, numbered."""
        self.broken = ""
        """Why one of them is not text, if so."""

    def __next__(self) -> str:
        number, line = self._ahead.popleft() if self._ahead else next(self._source)
        self.taken.append((number, line))
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if len(line) >= LONGEST:
            self.broken = TOO_LONG
        try:
            text = line.decode(self._encoding)
        except UnicodeDecodeError as error:
            if not self._decided:
                self._decided = True
                try:
                    text = line.decode("cp949")
                except UnicodeDecodeError:
                    pass
                else:
                    self._encoding = "cp949"
                    return text
            name = self._encoding.upper()
            self.broken = f"not {name}: {error.reason} at byte {error.start}"
            return line.decode(self._encoding, "replace")
        self._decided = self._decided or not text.isascii()
        return text

    def peek(self) -> str:
        """The next line, which stays the next; empty at the end."""
        text = next(self, "")
        self._ahead.extendleft(reversed(self.taken))
        return text

    def start_row(self) -> None:
        """Forget the lines of the row before."""
        self.taken, self.broken = [], ""

    def back_to_second_line(self) -> None:
        """Read all but the first line of this row again."""
        self._ahead.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]

    @property
    def number(self) -> int:
        """Where this row starts."""
        return self.taken[0][0] if self.taken else 0

    @property
    def raw(self) -> bytes:
        """This row as it is in the file."""
        return b"".join(line for _, line in self.taken)


def read_csv(chunks: Iterator[bytes], records: Records, reject: Reject) -> Iterator[Document]:
    """The documents of a table with a header row.

    A tab separates fields if the file is called ``.tsv`` or its header holds one, else a comma.
    Fields between commas may be quoted and then hold commas, quotes and line ends. Fields between
    tabs are taken as they are, as the media type ``text/tab-separated-values`` has it: in Korean
    data sets a quotation mark that opens a tab-separated field is more often a part of the text.

    A row that cannot be parsed, as after a quote that nobody closed, is rejected and reading goes
    on at the line after its first.

    Raises:
        UserError: no column holds the text.
    """
    lines = _Lines(chunks)
    text = records.columns.get("text", "text")
    header: list[str] = []
    for row in _rows(lines, records.file, reject):
        if not header:
            header = row
            if text not in header:
                raise missing_column(records.file, text, header)
        elif len(row) != len(header):
            reason = f"{len(row)} fields; the header has {len(header)}"
            reject(lines.number, reason, lines.raw)
        else:
            cells = zip(header, row, strict=True)
            record: dict[str, Any] = {name: cell for name, cell in cells if cell or name == text}
            if "meta" in record:
                record["meta"] = object_in(record["meta"])
            try:
                yield records.document(record, lines.number)
            except ValueError as error:
                reject(lines.number, str(error), lines.raw)


def object_in(value: Any) -> Any:
    """The object that a cell of a table holds as JSON, if it does; else ``value``."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def _rows(lines: _Lines, file: str, reject: Reject) -> Iterator[list[str]]:
    """The rows that can be parsed; rows of empty cells, as spreadsheets leave them, are skipped."""
    first = lines.peek()
    if ".tsv" in PurePosixPath(file).suffixes or "\t" in first:
        rows: Iterator[list[str]] = (line.rstrip("\r\n").split("\t") for line in lines)
    else:
        # The limit is one for the process; its default, 128 KiB, is less than many documents.
        # Without any, a quote that nobody closed would draw the rest of the file into memory.
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
        rows = csv.reader(lines, strict=True)
    while True:
        lines.start_row()
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            lines.back_to_second_line()
            reject(lines.number, lines.broken or f"not CSV: {error}", lines.raw)
            continue
        if lines.broken:
            reject(lines.number, lines.broken, lines.raw)
        elif any(row):
            yield row
