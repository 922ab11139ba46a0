"""What a build is about to do, and whether an output directory was begun with the same."""

import hashlib
import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from hyperclova import configuration, durable
from hyperclova.corpus.config import CorpusConfig, Input
from hyperclova.corpus.readers import find_files
from hyperclova.corpus.readers.files import file_size, is_remote, relative_name
from hyperclova.corpus.record import FORMAT
from hyperclova.errors import UserError


@dataclass(frozen=True)
class FileGroup:
    """Input files that one task reads."""

    name: str
    files: tuple[tuple[str, str, Input], ...]
    """Address, name for reports, and the input it belongs to."""
    sizes: tuple[int, ...]
    """Bytes of each, as stored."""


def group_files(config: CorpusConfig) -> list[FileGroup]:
    """All input files, in groups of at least a piece's size: many small ones make few tasks.

    Raises:
        UserError: there is nothing to read.
    """
    groups: list[FileGroup] = []
    if not config.inputs:
        raise UserError("inputs: nothing to read; name at least one [[inputs]] path")
    for given in config.inputs:
        path = os.path.expandvars(given.path)
        if "$" in path:
            raise UserError(f"inputs: {given.path}: the variable is not set in the environment")
        if not is_remote(path):  # workers may run elsewhere
            path = str(Path(path).expanduser().absolute())
        source = replace(given, path=path)
        files: list[tuple[str, str, Input]] = []
        sizes: list[int] = []
        found = find_files(source)
        for number, file in enumerate(found, start=1):
            files.append((file, relative_name(file, source), source))
            sizes.append(file_size(file))
            if sum(sizes) >= config.piece_megabytes * 1_000_000 or number == len(found):
                groups.append(FileGroup(f"{len(groups):05}", tuple(files), tuple(sizes)))
                files, sizes = [], []
    return groups


def plan_of(config: CorpusConfig, groups: Sequence[FileGroup]) -> dict[str, Any]:
    """All that decides a build's output, as plain data without paths of this machine.

    Input files are known by name and size, evaluation sets by their content.

    Raises:
        UserError: an evaluation set can't be read.
    """
    settings = configuration.to_mapping(config)
    del settings["output"]
    settings["decontamination"]["files"] = [path.name for path in config.decontamination.files]
    try:
        evaluation = {
            path.stem: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in config.decontamination.files
        }
    except OSError as error:
        raise UserError(
            f"decontamination.files: {error.filename}: can't be read: {error.strerror}"
        ) from None
    return {
        "format": FORMAT,
        "config": settings,
        "inputs": [
            [name, size]
            for group in groups
            for (_, name, _), size in zip(group.files, group.sizes, strict=True)
        ],
        "evaluation": evaluation,
        "versions": {
            "hyperclova": version("hyperclova"),
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
    }


def check_plan(output: Path, plan: dict[str, Any]) -> None:
    """Write the plan down, or compare it with the one that the directory was begun with.

    Raises:
        UserError: they differ, or the directory holds other things.
    """
    path = output / "plan.json"
    if not path.exists():
        if output.exists() and any(output.iterdir()):
            raise UserError(f"{output}: is not empty and holds no build; choose another output")
        durable.write_json(path, plan)
        return
    earlier = orjson.loads(path.read_bytes())
    for key in plan:
        if earlier.get(key) != orjson.loads(orjson.dumps(plan[key])):
            raise UserError(
                f"{output}: was begun with other {key}; choose another output, or --fresh to "
                "begin again"
            )


def remove_build(output: Path) -> None:
    """Remove what a build writes, and nothing else.

    Raises:
        UserError: the directory holds other things and no build.
    """
    if not (output / "plan.json").exists():
        if any(output.iterdir()):
            raise UserError(f"{output}: is not empty and holds no build; choose another output")
        return
    for name in ("work", "train", "held-out", "dropped", "report"):
        shutil.rmtree(output / name, ignore_errors=True)
    for name in ("build.json", "quarantine.jsonl.zst", "plan.json"):
        (output / name).unlink(missing_ok=True)
