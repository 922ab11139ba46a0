"""What could not be read, and where: one broken record costs no other."""

from collections.abc import Callable
from dataclasses import dataclass

_EXCERPT = 500

Reject = Callable[[int, str, bytes | str], None]
"""Takes a line, row or page number (0: the whole file), a reason and the record itself."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One record that is not in the corpus because it is broken."""

    file: str
    """Its name, relative to the directory that the input names."""
    line: int
    """Line, row (Parquet) or first line of the page (MediaWiki), from 1; 0: the whole file."""
    reason: str
    """One line for people."""
    record: str
    """The start of it, at most 500 characters; bytes that are not UTF-8 as U+FFFD."""


def excerpt(record: bytes | str) -> str:
    """The start of ``record`` as text that any JSON can hold."""
    if isinstance(record, str):
        record = record[:_EXCERPT].encode("utf-8", "replace")
    return record[: 4 * _EXCERPT].decode("utf-8", "replace")[:_EXCERPT].rstrip("\r\n")
