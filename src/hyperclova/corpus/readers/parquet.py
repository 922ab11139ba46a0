"""Parquet files, a few rows at a time."""

import math
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, BinaryIO

import orjson

from hyperclova.corpus.documents import Document
from hyperclova.corpus.readers.quarantine import Reject
from hyperclova.corpus.readers.records import Records, missing_column
from hyperclova.corpus.readers.tables import object_in
from hyperclova.errors import UserError

_BATCH_BYTES = 1 << 23
_MOST_ROWS = 4096


def read_parquet(stream: BinaryIO, records: Records, reject: Reject) -> Iterator[Document]:
    """The documents of a Parquet file; a row group that can't be read is rejected as one.

    Columns of bytes are read only where they hold a text or another part of a document, as some
    writers store strings; others (pictures, embeddings) are no metadata of a text.

    Raises:
        UserError: not a Parquet file, or no column holds the text.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(stream, pre_buffer=False, buffer_size=1 << 20)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{records.file}: not a Parquet file, or cut off: {_line(error)}") from None
    schema = file.schema_arrow
    text = records.columns.get("text", "text")
    if text not in schema.names:
        raise missing_column(records.file, text, schema.names)
    parts = {"id", "source", "title", "text", "licence", "license", *records.columns.values()}
    names = [
        field.name for field in schema if field.name in parts or not _is_binary(field.type, pyarrow)
    ]
    row = 0
    for group in range(file.num_row_groups):
        size = file.metadata.row_group(group)
        rows = max(1, min(_MOST_ROWS, size.num_rows * _BATCH_BYTES // (size.total_byte_size or 1)))
        done = 0
        try:
            for batch in file.iter_batches(rows, [group], names, use_threads=False):
                for number, record in enumerate(_records(batch), start=row + done + 1):
                    yield from _document(record, number, records, reject)
                done += len(batch)
        except (pyarrow.ArrowException, OSError) as error:
            reason = f"rows {row + done + 1} to {row + size.num_rows} can't be read: {_line(error)}"
            reject(row + done + 1, reason, b"")
        row += size.num_rows


def _is_binary(kind: Any, pyarrow: Any) -> bool:
    types = pyarrow.types
    return bool(
        types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    )


def _records(batch: Any) -> Iterator[dict[str, Any] | UnicodeDecodeError]:
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:  # Arrow does not check what it reads
        for row in range(len(batch)):
            try:
                yield from batch.slice(row, 1).to_pylist()
            except UnicodeDecodeError as error:
                yield error


def _document(
    record: dict[str, Any] | UnicodeDecodeError, row: int, records: Records, reject: Reject
) -> Iterator[Document]:
    if isinstance(record, UnicodeDecodeError):
        reject(row, f"not UTF-8: {record.reason} at byte {record.start}", record.object)
        return
    try:
        plain = {name: _plain(value) for name, value in record.items() if value is not None}
        if "meta" in plain:
            plain["meta"] = object_in(plain["meta"])
        orjson.dumps(plain)
        yield records.document(plain, row)
    except UnicodeDecodeError as error:
        reject(row, f"not UTF-8: {error.reason} at byte {error.start}", error.object)
    except (TypeError, ValueError) as error:
        reject(row, _line(error), repr(record)[:2000])


def _plain(value: Any) -> Any:
    """A value of Arrow's as one that JSON has too."""
    if isinstance(value, str | int):  # most are; bool is an int
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]
