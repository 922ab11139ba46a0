"""Documents and the files that hold them: one JSON object a line, plain, gzip or zstd.

A document is ``{"id", "source", "title", "text", "meta"}``. ``source`` is one of the kinds of
Table 1 of the paper (blog, cafe, news, comments, kin, modu, wiki, others). Only ``text`` is
required; a missing ``id`` becomes ``FILE:LINE``, and keys that are not named above are kept in
``meta``.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from hyperclova.corpus import compression
from hyperclova.errors import UserError

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst")
_FIELDS = frozenset(("id", "source", "title", "text", "meta"))


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
                try:
                    yield document_of(parse_json(line), path.name, number)
                except ValueError as error:
                    raise UserError(f"{path}, line {number}: {error}") from None


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a plain, ``.gz`` or ``.zst`` file as bytes, with their line ends.

    Only the byte ``\\n`` ends a line, as JSON lines demand.

    Raises:
        UserError: the file is missing, unreadable, or a broken or cut-off archive.
    """
    try:
        with path.open("rb") as stream:
            yield from compression.lines(compression.decompress(stream.read, path.name))
    except compression.BrokenArchiveError as error:
        raise UserError(f"{path}: broken archive: {error}; fetch or write it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None


def parse_json(line: bytes) -> Any:
    """The value that one line of JSON holds; all of it can be written again.

    ``NaN``, which Python's ``json`` and R write but JSON does not know, is read as null.

    Raises:
        ValueError: not UTF-8, not JSON, a lone surrogate, too deeply nested. The message says
            which and where in the line.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        value = _parse_patiently(line)
    if isinstance(value, dict):
        for item in value.values():
            # orjson reads deeper nesting than it writes.
            if item.__class__ is dict or item.__class__ is list:
                _refuse_unwritable({"": item})
    return value


def _parse_patiently(line: bytes) -> Any:
    """What orjson refuses: an exact complaint, or the value where only a number isn't one."""
    try:
        value = json.loads(line.rstrip(b"\r\n").decode("utf-8"), parse_constant=lambda _: None)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason} at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, str):
                _refuse_surrogates(item, name)
    _refuse_unwritable(value)
    return value


def _refuse_unwritable(value: Any) -> None:
    try:
        orjson.dumps(value)
    except TypeError as error:
        raise ValueError(f"not JSON that can be written again: {error}") from None


def _refuse_surrogates(text: str, name: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:  # JSON can write half a pair alone
        raise ValueError(
            f"the field {name!r} has a lone surrogate at character {error.start}, half "
            "of a character: write the file again from its source"
        ) from None


def document_of(record: Any, file: str, line: int) -> Document:
    """The document that a parsed record describes, called ``FILE:LINE`` if it names no ``id``.

    Args:
        record: what :func:`parse_json` gave, or the like: strings without lone surrogates. It is
            used up: what is left of it becomes the document's ``meta``.

    Raises:
        ValueError: not an object, no text, or a field has the wrong type.
    """
    if not isinstance(record, dict):
        raise ValueError(f"expected a JSON object, found {type(record).__name__}")
    if "text" not in record:
        raise ValueError("the field 'text' is missing")
    take = record.pop
    identifier, source, title = take("id", None), take("source", None), take("title", None)
    text, meta = take("text"), take("meta", None)
    if not (
        isinstance(text, str)
        and isinstance(title, str)
        and isinstance(identifier, str)
        and isinstance(source, str)
    ):
        if not isinstance(text, str):
            raise _wrong_type("text", text)
        if isinstance(identifier, int) and not isinstance(identifier, bool):
            identifier = str(identifier)
        for name, value in (("id", identifier), ("source", source), ("title", title)):
            if not (value is None or isinstance(value, str)):
                raise _wrong_type(name, value)
    if meta is not None:
        if not isinstance(meta, dict):
            raise _wrong_type("meta", meta, "an object")
        record.update(meta)
    return Document(identifier or f"{file}:{line}", source or "others", title or "", text, record)


def _wrong_type(name: str, value: object, expected: str = "a string") -> ValueError:
    return ValueError(f"the field {name!r} is {type(value).__name__}; expected {expected}")
