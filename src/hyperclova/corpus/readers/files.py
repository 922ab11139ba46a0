"""Finding and opening files, local ones by Python alone and others by fsspec."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from hyperclova.corpus.compression import SUFFIXES as COMPRESSIONS
from hyperclova.corpus.config import Format, Input
from hyperclova.errors import UserError

FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".md": "markdown",
    ".markdown": "markdown",
    ".mdx": "markdown",
    ".xml": "mediawiki",
}
"""Formats by suffix; all but Parquet, which compresses itself, also as ``.gz``, ``.bz2`` and
``.zst``."""


def find_files(source: Input) -> list[str]:
    """The files that ``source`` names, sorted by name, each once.

    - A file is itself.
    - A directory is all files under it whose suffix is one of the input's format, or of any if
      it names none. Hidden files and directories are left out.
    - A glob (``**`` too) is all files that match it, whatever their suffix.

    Addresses with a protocol (``s3://…``, ``hf://…``, ``zip://*.jsonl::s3://…``) are fsspec's.

    Raises:
        UserError: nothing is there, nothing matches, or an address can't be listed.
    """
    if is_remote(source.path):
        return _find_remote(source)
    path = Path(source.path).expanduser()
    if not source.path.strip():
        raise UserError("an input's path is empty; name a file, a directory or a glob")
    if path.is_file():
        return [str(path)]
    if path.is_dir():
        found = [
            file
            for file in path.rglob("*")
            if not any(part.startswith(".") for part in file.relative_to(path).parts)
            and _wanted(file.name, source)
            and file.is_file()
        ]
        return _or_complain(source, (str(file) for file in found))
    if not glob.has_magic(source.path):
        raise UserError(f"input {source.path}: no such file or directory")
    # Path.glob takes no absolute pattern.
    matches = glob.iglob(str(path), recursive=True)  # noqa: PTH207
    return _or_complain(source, (match for match in matches if Path(match).is_file()))


def file_size(path: str) -> int:
    """Bytes of one of :func:`find_files`; 0 where the file system doesn't say.

    Raises:
        UserError: the file is gone, or its file system doesn't answer.
    """
    try:
        if not is_remote(path):
            return Path(path).stat().st_size
        filesystem, address = _fsspec().core.url_to_fs(path)
        return int(filesystem.info(address).get("size") or 0)
    except UserError:
        raise
    except Exception as error:  # every file system of fsspec's has its own
        raise _unreadable(path, error) from None


def format_of(path: str, source: Input) -> Format:
    """The format of the file ``path``: the input's if it names one, else by the suffix.

    Raises:
        UserError: the suffix is not known.
    """
    kind = source.format or FORMATS.get(_suffix(path))
    if kind is None:
        raise UserError(
            f"{path}: no format is known by this name; known are {', '.join(FORMATS)}, also with "
            f'{", ".join(COMPRESSIONS)}, or set format = "…" for this input'
        )
    return kind


def relative_name(path: str, source: Input) -> str:
    """``path`` without the directories that ``source`` itself names: the same on any machine.

    For a directory or a glob that is the part below the directory or the first wildcard, which
    makes names unique within an input; for one file, its name.
    """
    name, root = _bare(path), _bare(source.path)
    if name == root:
        return _clean(PurePosixPath(name).name)
    parts = PurePosixPath(root).parts
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    below = PurePosixPath(name).parts
    if below[:fixed] == parts[:fixed] and len(below) > fixed:
        return _clean(str(PurePosixPath(*below[fixed:])))
    return _clean(name.lstrip("/"))


def is_remote(path: str) -> bool:
    """Whether ``path`` is an address for fsspec."""
    return "://" in path or "::" in path


@contextmanager
def open_file(path: str) -> Iterator[BinaryIO]:
    """Open a local file or a remote one for reading bytes.

    Raises:
        UserError: it can't be opened.
    """
    with ExitStack() as opened:
        try:
            if is_remote(path):
                stream: BinaryIO = opened.enter_context(_fsspec().open(path, "rb"))
            else:
                stream = opened.enter_context(Path(path).open("rb"))
        except UserError:
            raise
        except Exception as error:  # every file system of fsspec's has its own
            raise _unreadable(path, error) from None
        yield stream


def reading(stream: BinaryIO, path: str) -> Callable[[int], bytes]:
    """``stream.read``, whose errors name the file.

    Raises (when called):
        UserError: the disk or the network failed; nothing is wrong with the records.
    """

    def read(size: int) -> bytes:
        try:
            return stream.read(size)
        except Exception as error:
            raise _unreadable(path, error) from None

    return read


def _unreadable(path: str, error: Exception) -> UserError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return UserError(f"{path}: cannot be read: {reason.partition(chr(10))[0]}")


def _fsspec() -> Any:
    try:
        import fsspec
    except ModuleNotFoundError:
        raise UserError(
            "files that are not on this machine need fsspec: pip install 'hyperclova[corpus]'"
        ) from None
    return fsspec


def _find_remote(source: Input) -> list[str]:
    try:
        return _or_complain(source, _list_remote(source.path, source))
    except UserError:
        raise
    except Exception as error:  # every file system of fsspec's has its own
        raise _unreadable(source.path, error) from None


def _list_remote(address: str, source: Input) -> list[str]:
    head, chained, rest = address.partition("::")
    if chained and "://" not in head:  # a cache before the address proper
        return [f"{head}::{found}" for found in _list_remote(rest, source)]
    system, path = _fsspec().core.url_to_fs(address)
    if glob.has_magic(path):
        found = [name for name, entry in system.glob(path, detail=True).items() if _is_file(entry)]
    elif system.isdir(path):
        found = [name for name in system.find(path) if _wanted(PurePosixPath(name).name, source)]
    elif system.exists(path):
        return [address]
    else:
        raise UserError(f"input {address}: no such file or directory")
    return [system.unstrip_protocol(name) + chained + rest for name in found]


def _is_file(entry: dict[str, Any]) -> bool:
    return bool(entry.get("type", "file") == "file")


def _or_complain(source: Input, files: Iterable[str]) -> list[str]:
    found = sorted(set(files))
    if not found:
        kind = f"{source.format} " if source.format else ""
        raise UserError(
            f"input {source.path}: no {kind}file is there; a directory is searched for files "
            f"called *{', *'.join(_suffixes(source))} (also compressed); a glob takes any"
        )
    return found


def _wanted(name: str, source: Input) -> bool:
    return not name.startswith(".") and _suffix(name) in _suffixes(source)


def _suffixes(source: Input) -> list[str]:
    return [suffix for suffix, kind in FORMATS.items() if source.format in (None, kind)]


def _suffix(path: str) -> str:
    """The suffix that says the format, without that of a compression."""
    name = PurePosixPath(_bare(path))
    suffix = name.suffix.lower()
    if suffix in COMPRESSIONS:
        suffix = PurePosixPath(name.stem).suffix.lower()
        return "" if suffix == ".parquet" else suffix
    return suffix


def _bare(path: str) -> str:
    """A path without protocol and chained archives, its separators as POSIX has them."""
    if not is_remote(path):
        return Path(path).expanduser().as_posix()
    first = next((part for part in path.split("::") if "://" in part), path)
    protocol, _, name = first.partition("://")
    if protocol in ("http", "https"):
        name = name.partition("?")[0]
    return name.strip("/")


def _clean(name: str) -> str:
    """File names need not be Unicode; what is written about them must be."""
    return os.fsencode(name).decode("utf-8", "replace")
