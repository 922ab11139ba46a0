"""Reading what a corpus is made of: any format, any place, broken records put aside.

:func:`find_files` lists an input's files, :func:`read_file` streams the documents of one. A broken
record is reported and costs no other; only a file that can't be opened is an error.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from hyperclova.corpus.compression import BrokenArchiveError, decompress
from hyperclova.corpus.config import Format, Input
from hyperclova.corpus.documents import Document
from hyperclova.corpus.readers.files import (
    find_files,
    format_of,
    open_file,
    reading,
    relative_name,
)
from hyperclova.corpus.readers.html import read_html
from hyperclova.corpus.readers.jsonl import read_jsonl
from hyperclova.corpus.readers.markdown import read_markdown
from hyperclova.corpus.readers.mediawiki import read_mediawiki
from hyperclova.corpus.readers.parquet import read_parquet
from hyperclova.corpus.readers.quarantine import Quarantined, Reject, excerpt
from hyperclova.corpus.readers.records import Records
from hyperclova.corpus.readers.tables import read_csv
from hyperclova.errors import UserError

__all__ = ["Quarantined", "find_files", "format_of", "read_file"]

_READERS: dict[Format, Callable[[Iterator[bytes], Records, Reject], Iterator[Document]]] = {
    "jsonl": read_jsonl,
    "csv": read_csv,
    "html": read_html,
    "markdown": read_markdown,
    "mediawiki": read_mediawiki,
}

_PAGES = ("html", "markdown", "mediawiki")  # they have no columns


def read_file(
    path: str, source: Input, quarantine: Callable[[Quarantined], None]
) -> Iterator[Document]:
    """Stream the documents of one file, a few megabytes in memory at a time.

    Args:
        path: one of :func:`find_files`.
        source: the input it belongs to, which says what documents don't say themselves (see
            :class:`~hyperclova.corpus.readers.records.Records`).
        quarantine: called with each record that is broken, in order, between the documents.

    Raises:
        UserError: the file can't be opened or read, is no archive although its name says so, or
            is a table without a column of text.
        ModuleNotFoundError: the format needs a package of the extra ``corpus``.
    """
    kind = format_of(path, source)
    name = relative_name(path, source)
    if kind in _PAGES:
        source = replace(source, columns={})
    records = Records(source, name)

    def reject(line: int, reason: str, record: bytes | str) -> None:
        quarantine(Quarantined(name, line, reason, excerpt(record)))

    with open_file(path) as stream:
        if kind == "parquet":
            yield from read_parquet(stream, records, reject)
            return
        try:
            yield from _READERS[kind](decompress(reading(stream, path), name), records, reject)
        except BrokenArchiveError as error:
            if not error.opened:
                raise UserError(f"{path}: broken archive: {error}; fetch it again") from None
            reject(error.line, f"broken archive: {error}; the rest is lost", error.rest)
