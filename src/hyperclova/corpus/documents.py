"""Documents and the files that hold them: one JSON object a line, plain, gzip or zstd.

A document is ``{"id", "source", "title", "text", "meta"}``. ``source`` is one of the kinds of
Table 1 of the paper (blog, cafe, news, comments, kin, modu, wiki, others). Only ``text`` is
required; a missing ``id`` becomes ``FILE:LINE``, and keys that are not named above are kept in
``meta``.
"""

import gzip
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson
import zstandard

from hyperclova.errors import UserError

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst")
_FIELDS = ("id", "source", "title", "text", "meta")


@dataclass(frozen=True, slots=True)
class Document:
    """One text with where it comes from."""

    id: str
    source: str
    title: str
    text: str
    meta: dict[str, Any] = field(default_factory=dict)


def serialise(document: Document) -> bytes:
    """The document as one JSON line; what ``meta`` holds becomes keys of its own again."""
    record = {
        "id": document.id,
        "source": document.source,
        "title": document.title,
        "text": document.text,
    }
    record.update((key, value) for key, value in document.meta.items() if key not in _FIELDS)
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def read_documents(paths: Iterable[Path | str]) -> Iterator[Document]:
    """Stream the documents of ``paths`` in order, one line in memory at a time.

    Args:
        paths: files named ``*.jsonl``, ``*.jsonl.gz`` or ``*.jsonl.zst``.

    Raises:
        UserError: a file is missing, has another suffix or is a broken archive; a line is not
            UTF-8, not a JSON object, or a field has the wrong type. The message names file and
            line.
    """
    for path in paths:
        path = Path(path)
        if not path.name.endswith(SUFFIXES):
            raise UserError(f"{path}: not a document file; expected {', '.join(SUFFIXES)}")
        for number, line in enumerate(read_lines(path), start=1):
            if line.strip():
                yield _parse(line, path, number)


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a plain, ``.gz`` or ``.zst`` file as bytes, with their line ends.

    Only the byte ``\\n`` ends a line, as JSON lines demand.

    Raises:
        UserError: the file is missing, unreadable, or a broken or cut-off archive.
    """
    try:
        with _open(path) as stream:
            yield from stream
    except (zstandard.ZstdError, gzip.BadGzipFile, EOFError) as error:
        raise UserError(f"{path}: broken archive: {error}; fetch or write it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    if path.suffix == ".gz":
        with gzip.open(path, "rb") as stream:
            yield cast(BinaryIO, stream)
    elif path.suffix == ".zst":
        with (
            path.open("rb") as compressed,
            zstandard.ZstdDecompressor().stream_reader(
                compressed, read_across_frames=True
            ) as plain,
            io.BufferedReader(cast(io.RawIOBase, plain), buffer_size=1 << 20) as stream,
        ):
            yield cast(BinaryIO, stream)
    else:
        with path.open("rb") as stream:
            yield stream


def _parse(line: bytes, path: Path, number: int) -> Document:
    where = f"{path}, line {number}"
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not UTF-8: {error.reason} at byte {error.start}") from None
    except ValueError as error:
        raise UserError(f"{where}: not JSON: {error}") from None
    if not isinstance(record, dict):
        raise UserError(f"{where}: expected a JSON object, found {type(record).__name__}")
    if "text" not in record:
        raise UserError(f"{where}: the field 'text' is missing")
    identifier = record.get("id")
    if isinstance(identifier, int) and not isinstance(identifier, bool):
        identifier = str(identifier)
    meta = record.get("meta")
    if meta is not None and not isinstance(meta, dict):
        raise UserError(f"{where}: the field 'meta' is {type(meta).__name__}; expected an object")
    others = {key: value for key, value in record.items() if key not in _FIELDS}
    return Document(
        id=_string(identifier, "id", where) or f"{path.name}:{number}",
        source=_string(record.get("source"), "source", where) or "others",
        title=_string(record.get("title"), "title", where),
        text=_string(record["text"], "text", where),
        meta={**others, **(meta or {})},
    )


def _string(value: object, name: str, where: str) -> str:
    if value is None and name != "text":
        return ""
    if not isinstance(value, str):
        raise UserError(f"{where}: the field {name!r} is {type(value).__name__}; expected a string")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:  # JSON can write "\\ud83d" alone
        raise UserError(
            f"{where}: the field {name!r} has a lone surrogate at character {error.start}, half "
            "of a character: write the file again from its source"
        ) from None
    return value
