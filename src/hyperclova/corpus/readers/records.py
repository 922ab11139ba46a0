"""What all formats share: a mapping of names to values becomes a document."""

from typing import Any

from hyperclova.corpus.config import SOURCES, Input
from hyperclova.corpus.documents import Document, document_of
from hyperclova.errors import UserError

LONGEST = 1 << 26
"""Bytes of a line or a page from which it is refused, so that memory stays bounded."""
TOO_LONG = f"longer than {LONGEST >> 20} MiB"

COLUMNS = ("id", "source", "title", "text", "licence")
"""What the input's ``columns`` may rename."""
_SOURCES = frozenset(SOURCES)


class Records:
    """Makes documents of one file's records.

    - A document without an ``id`` is called ``FILE:LINE``.
    - ``source`` is one of the paper's eight kinds. A document that names none gets the input's,
      or ``others``. So does one that names something else ("조선일보", "reddit"): what it named
      is kept as ``original_source``. Case does not matter.
    - ``licence`` (or ``license``) goes to the metadata; where it is missing, the input's does.
    - Keys that the input's ``columns`` names are read in place of those of the usual name.
    """

    def __init__(self, source: Input, file: str) -> None:
        for name in source.columns:
            if name not in COLUMNS:
                raise UserError(
                    f"input {source.path}: columns names {name!r}; it can rename only "
                    f"{', '.join(COLUMNS)}"
                )
        self.file = file
        self.columns = {name: key for name, key in source.columns.items() if name != key}
        self._source = source.source or "others"
        self._licence = source.licence

    def document(self, record: Any, line: int) -> Document:
        """The document of a ``record``, which is changed on the way.

        Raises:
            ValueError: as :func:`~hyperclova.corpus.documents.document_of`.
        """
        if isinstance(record, dict):
            if self.columns:
                self._rename(record)
            source = record.get("source")
            if source is None or source == "":
                record["source"] = self._source
            elif isinstance(source, str) and source not in _SOURCES:
                folded = source.strip().lower()
                if folded in _SOURCES:
                    record["source"] = folded
                else:
                    record["source"] = self._source
                    record["original_source"] = source
            if not record.get("licence"):
                self._license(record)
        return document_of(record, self.file, line)

    def _rename(self, record: dict[str, Any]) -> None:
        if "text" in self.columns and self.columns["text"] not in record:
            raise ValueError(f"the field {self.columns['text']!r} (text) is missing")
        values = {name: record.get(key) for name, key in self.columns.items()}
        for key in self.columns.values():
            record.pop(key, None)
        record.update(values)

    def _license(self, record: dict[str, Any]) -> None:
        licence = record.pop("license", None) or self._licence
        record.pop("licence", None)
        if licence:
            record["licence"] = licence


def missing_column(file: str, column: str, found: list[str]) -> UserError:
    """The error of a table none of whose rows can have a text."""
    return UserError(
        f"{file}: no column {column!r} (found: {', '.join(found)}); name the one that holds the "
        'text: columns = {text = "NAME"}'
    )
