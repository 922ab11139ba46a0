"""Files that are either whole or absent, whatever kills the program or the machine."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open ``path`` for writing; it appears under its name when the block ends, and only then.

    If the block raises, what stood at ``path`` before is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".incomplete")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    partial.replace(path)


def write_json(path: Path, value: object) -> None:
    """Write JSON for people and machines, whole or not at all."""
    with writing(path) as file:
        file.write(json.dumps(value, ensure_ascii=False, indent=2).encode())
        file.write(b"\n")
