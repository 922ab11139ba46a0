"""Plain bytes out of plain, gzip, bzip2 and zstd files, in bounded memory, and their lines.

Archives of several parts (as ``pbzip2``, ``pzstd`` and Wikipedia's dumps write them) are read to
their end. An archive that is cut off is an error even where the cut falls between two lines.
"""

import bz2
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Protocol, cast

import zstandard

SUFFIXES = (".gz", ".bz2", ".zst")

_CHUNK = 1 << 20
# Compressed bytes per step. One step's output is all in memory, and text that repeats itself
# shrinks a thousandfold.
_STEP = 1 << 14
_LARGEST_WINDOW = 1 << 31  # what `zstd --long=31` needs


class BrokenArchiveError(Exception):
    """An archive that can't be decompressed (further); the message says why."""

    def __init__(self, reason: str, opened: bool) -> None:
        super().__init__(reason)
        self.opened = opened
        """Whether it is an archive of its kind at all; what it held until here has been given."""
        self.line = 0
        """The line that could not be read whole, if lines were read."""
        self.rest = b""
        """What came of that line."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def _gzip() -> _Decompressor:
    return zlib.decompressobj(wbits=31)


def _zstd() -> _Decompressor:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
    return cast(_Decompressor, decompressor.decompressobj())


_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    ".gz": _gzip,
    ".bz2": bz2.BZ2Decompressor,
    ".zst": _zstd,
}


def decompress(read: Callable[[int], bytes], name: str) -> Iterator[bytes]:
    """The file's bytes in chunks; by the suffix of ``name`` (:data:`SUFFIXES`), else as they are.

    Args:
        read: gives at most so many bytes of the file, none at its end.

    Raises:
        BrokenArchiveError: the file is not such an archive, is damaged or cut off. All that could
            be decompressed has been given before.
    """
    start = _DECOMPRESSORS.get(PurePosixPath(name).suffix)
    if start is None:
        while chunk := read(_CHUNK):
            yield chunk
        return
    part: _Decompressor | None = None
    opened = False
    while chunk := read(_STEP):
        while chunk:
            part = part or start()
            try:
                plain = part.decompress(chunk)
            except (zlib.error, zstandard.ZstdError, OSError) as error:
                raise BrokenArchiveError(str(error), opened) from None
            if plain:
                opened = True
                yield plain
            if not part.eof:
                break
            # gzip files on tapes and some servers are padded with zeros.
            chunk = part.unused_data.lstrip(b"\0") if start is _gzip else part.unused_data
            part = None
    if part is not None:
        raise BrokenArchiveError("it is cut off", opened=True)


def lines(chunks: Iterator[bytes], longest: int | None = None) -> Iterator[bytes]:
    """The lines of ``chunks`` with their line ends; only the byte ``\\n`` ends a line.

    Args:
        longest: a line of more bytes is cut to so many, the rest of it skipped, so that memory
            stays bounded whatever the file holds. None: no bound.

    Raises:
        BrokenArchiveError: passed on from ``chunks``, with the line where it happened.
    """
    complete = 0
    pending: list[bytes] = []
    size = 0
    try:
        for chunk in chunks:
            first, last = chunk.find(b"\n") + 1, chunk.rfind(b"\n") + 1
            if first:
                pending.append(chunk[:first])
                yield b"".join(pending)[:longest]
                yield from io.BytesIO(chunk[first:last])
                pending, size = [], 0
            if last < len(chunk) and (longest is None or size < longest):
                pending.append(chunk[last:])
                size += len(chunk) - last
            complete += chunk.count(b"\n")
    except BrokenArchiveError as error:
        error.line = complete + 1
        error.rest = b"".join(pending)
        raise
    if pending:
        yield b"".join(pending)[:longest]
