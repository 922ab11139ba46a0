"""Raw documents -> a corpus, its account and its report.

The order of the stages is here; what each does is in :mod:`hyperclova.corpus.stages`. Every task
writes files that are whole or absent and a receipt last, so a build that was killed goes on where
it stood, and its output is the same to the byte, whatever the number of workers.
"""

import os
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from hyperclova import configuration, durable
from hyperclova.corpus.config import CorpusConfig, Input
from hyperclova.corpus.documents import Document, read_lines
from hyperclova.corpus.hashing import unit
from hyperclova.corpus.readers import find_files
from hyperclova.corpus.readers.files import file_size, is_remote, relative_name
from hyperclova.corpus.stages import cleaning, finishing, lines, matching, reading, signing
from hyperclova.corpus.stages.runner import Progress, executor, run
from hyperclova.corpus.stages.workspace import (
    Task,
    Workspace,
    stored_documents,
    writing_lines,
)
from hyperclova.corpus.tally import Tally
from hyperclova.errors import UserError

FORMAT = 1
_LINES_PER_TASK = 4_000_000
_KEYS_PER_TASK = 8_000_000
_SAMPLE_BYTES = 2_000_000
"""Text of each source that is tokenized to estimate its tokens."""

TokenCounter = Callable[[Sequence[str]], Sequence[int]]


@dataclass(frozen=True)
class Counter:
    """How to count tokens: the corpus itself knows no tokenizer."""

    name: str
    count: TokenCounter


def build(
    config: CorpusConfig,
    *,
    workers: int = os.cpu_count() or 1,
    cluster: str | None = None,
    fresh: bool = False,
    keep_work: bool = False,
    counter: Counter | None = None,
    progress: Progress | None = None,
) -> Path:
    """Build a corpus, or go on with a build that was interrupted.

    Args:
        workers: processes on this machine; the output does not depend on it.
        cluster: address of a Dask scheduler to use instead.
        fresh: throw away what an earlier build left in the output directory.
        keep_work: keep intermediate files, some twice the size of the corpus.
        counter: counts tokens on a sample of the result.

    Returns:
        ``build.json``.

    Raises:
        UserError: nothing to read, a rule that does not exist, an output directory that holds
            another build, an evaluation set that can't be read.
    """
    output = config.output
    cleaning.build_rules(config)  # errors now, not in an hour
    groups, shown = _groups(config)
    if fresh and output.exists():
        _remove(output)
    plan = _plan(config, shown)
    _check_plan(output, plan)
    if (output / "build.json").exists():
        return output / "build.json"
    config = replace(
        config,
        output=output.absolute(),
        decontamination=replace(
            config.decontamination,
            files=tuple(path.absolute() for path in config.decontamination.files),
        ),
    )
    workspace = Workspace(output.absolute())
    with executor(workers, cluster) as pool:
        receipts = _run_stages(pool, workspace, config, groups, progress)
    record = _record(workspace, config, plan, receipts, counter)
    durable.write_json(output / "build.json", record)
    if not keep_work:
        shutil.rmtree(output / "work")
    return output / "build.json"


def _groups(
    config: CorpusConfig,
) -> tuple[list[tuple[str, list[tuple[str, str, Input]], int]], list[list[Any]]]:
    """Files in groups of at least a piece's size, so that many small ones make few tasks."""
    groups: list[tuple[str, list[tuple[str, str, Input]], int]] = []
    shown = []
    if not config.inputs:
        raise UserError("inputs: nothing to read; name at least one [[inputs]] path")
    for given in config.inputs:
        path = os.path.expandvars(given.path)
        if "$" in path:
            raise UserError(f"inputs: {given.path}: the variable is not set in the environment")
        if not is_remote(path):  # workers may run elsewhere
            path = str(Path(path).expanduser().absolute())
        source = replace(given, path=path)
        group: list[tuple[str, str, Input]] = []
        size = 0
        for file in find_files(source):
            name = relative_name(file, source)
            file_bytes = file_size(file)
            shown.append([given.path, name, file_bytes])
            group.append((file, name, source))
            size += file_bytes
            if size >= config.piece_megabytes * 1_000_000:
                groups.append((f"{len(groups):05}", group, size))
                group, size = [], 0
        if group:
            groups.append((f"{len(groups):05}", group, size))
    return groups, shown


def _plan(config: CorpusConfig, shown: list[list[Any]]) -> dict[str, Any]:
    settings = configuration.to_mapping(config)
    del settings["output"]
    settings["decontamination"]["files"] = [path.name for path in config.decontamination.files]
    for path in config.decontamination.files:
        if not path.exists():
            raise UserError(f"decontamination.files: {path}: no such file")
    return {
        "format": FORMAT,
        "config": settings,
        "inputs": shown,
        "versions": {
            "hyperclova": version("hyperclova"),
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
    }


def _check_plan(output: Path, plan: dict[str, Any]) -> None:
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


def _remove(output: Path) -> None:
    """Remove what a build writes, and nothing else."""
    if not (output / "plan.json").exists():
        if any(output.iterdir()):
            raise UserError(f"{output}: is not empty and holds no build; choose another output")
        return
    for name in ("work", "train", "held-out", "dropped", "report"):
        shutil.rmtree(output / name, ignore_errors=True)
    for name in ("build.json", "quarantine.jsonl.zst", "plan.json"):
        (output / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class _Receipts:
    reads: list[dict[str, Any]]
    tallies: list[dict[str, Any]]
    outputs: list[dict[str, Any]]


def _run_stages(
    pool: Any,
    workspace: Workspace,
    config: CorpusConfig,
    groups: list[tuple[str, list[tuple[str, str, Input]], int]],
    progress: Progress | None,
) -> _Receipts:
    def stage(tasks: list[Task]) -> list[dict[str, Any]]:
        run(pool, workspace, tasks, progress)
        return [workspace.receipt(task.stage, task.name) for task in tasks]

    reads = stage(
        [
            Task("read", name, reading.read, (name, config, files), size)
            for name, files, size in groups
        ]
    )
    sizes = {piece["name"]: piece["bytes"] for read in reads for piece in read["pieces"]}
    pieces = list(sizes)
    cleaned = stage(
        [Task("clean", name, cleaning.clean, (name, config), size) for name, size in sizes.items()]
    )
    parts = _find_lines(stage, config, pieces, cleaned)
    signed = stage(
        [
            Task("sign", name, signing.sign, (name, config, parts), receipt["bytes"])
            for name, receipt in zip(pieces, cleaned, strict=True)
        ]
    )
    if config.duplicates.enabled:
        _match(stage, config, pieces, signed)
    if config.decontamination.files:
        stage(
            [
                Task(
                    "contamination",
                    path.stem,
                    finishing.prepare_contamination,
                    (path.stem, path),
                    path.stat().st_size,
                )
                for path in config.decontamination.files
            ]
        )
    finished = stage(
        [
            Task("finish", name, finishing.finish, (name, config), receipt["bytes"])
            for name, receipt in zip(pieces, signed, strict=True)
        ]
    )
    return _Receipts(
        reads,
        [receipt["tally"] for receipt in (*cleaned, *signed, *finished)],
        [output for receipt in finished for output in receipt["outputs"]],
    )


_Stage = Callable[[list[Task]], list[dict[str, Any]]]


def _find_lines(
    stage: _Stage, config: CorpusConfig, pieces: list[str], cleaned: list[dict[str, Any]]
) -> int:
    """Find the lines to cut; returns in how many parts they are."""
    if not config.repeated_lines.enabled:
        return 0
    documents: dict[str, int] = {}
    for receipt in cleaned:
        for source, count in receipt["sources"].items():
            documents[source] = documents.get(source, 0) + count
    parts = -(-sum(receipt["lines"] for receipt in cleaned) // _LINES_PER_TASK) or 1
    stage(
        [
            Task(
                "lines",
                f"{part:05}",
                lines.find_repeated,
                (part, parts, pieces, config.repeated_lines, documents),
                sum(receipt["bytes"] for receipt in cleaned) // parts,
            )
            for part in range(parts)
        ]
    )
    return parts


def _match(
    stage: _Stage, config: CorpusConfig, pieces: list[str], signed: list[dict[str, Any]]
) -> None:
    settings = config.duplicates
    sizes = [receipt["bytes"] for receipt in signed]
    total = sum(sizes)
    documents = sum(receipt["documents"] for receipt in signed)
    parts = -(-documents // _KEYS_PER_TASK) or 1
    stage(
        [
            Task("exact", f"{part:05}", matching.match_exact, (part, parts, pieces), total // parts)
            for part in range(parts)
        ]
    )
    stage(
        [
            Task(
                "bands",
                f"{band:02}-{part:05}",
                matching.match_band,
                (band, part, parts, pieces, parts),
                total // parts // settings.bands,
            )
            for band in range(settings.bands)
            for part in range(parts)
        ]
    )
    stage(
        [
            Task(
                "shingles",
                name,
                matching.shingle_candidates,
                (index, name, settings, parts),
                sizes[index],
            )
            for index, name in enumerate(pieces)
        ]
    )
    stage(
        [
            Task(
                "verify",
                f"{index:05}",
                matching.verify_pairs,
                (index, index + 1, pieces, settings, parts),
                sizes[index],
            )
            for index in range(len(pieces))
        ]
    )
    names = [f"{index:05}" for index in range(len(pieces))]
    stage([Task("choose", "all", matching.choose, (pieces, parts, names), total)])


def _record(
    workspace: Workspace,
    config: CorpusConfig,
    plan: dict[str, Any],
    receipts: _Receipts,
    counter: Counter | None,
) -> dict[str, Any]:
    tally = Tally()
    for part in receipts.tallies:
        tally.merge(Tally.from_mapping(part))
    with writing_lines(workspace.output / "quarantine.jsonl.zst") as quarantine:
        for path in sorted((workspace.output / "work" / "read").glob("*.quarantine.jsonl.zst")):
            for line in read_lines(path):
                quarantine.add_record(orjson.loads(line))
    rules, finish = cleaning.build_rules(config)
    order = list(rules)
    if config.repeated_lines.enabled:
        order.append(signing.REPEATED_LINES)
    if config.duplicates.enabled:
        order += [finishing.EXACT, finishing.NEAR]
    order += [finishing.contaminated(path.stem) for path in config.decontamination.files]
    order.append(finishing.SAMPLING)
    order += finish
    outputs = sorted(receipts.outputs, key=lambda output: str(output["path"]))
    return {
        **plan,
        "inputs": [file for read in receipts.reads for file in read["inputs"]],
        "tally": tally.to_mapping(),
        "order": order,
        "tokens": _count_tokens(workspace.output, outputs, counter) if counter else None,
        "outputs": outputs,
    }


def _count_tokens(output: Path, outputs: list[dict[str, Any]], counter: Counter) -> dict[str, Any]:
    """Tokens per byte of each source, estimated on a random sample of its documents.

    The estimate is a ratio of sums, its standard error the usual one of a ratio estimator.
    """
    by_source: dict[str, Any] = {}
    sources = sorted({str(file["path"]).split("/")[1].split("-")[0] for file in outputs})
    for source in sources:
        files = [file for file in outputs if file["path"].split("/")[1].startswith(f"{source}-")]
        size = sum(file["bytes"] for file in files)
        share = min(1.0, _SAMPLE_BYTES / max(1, size))
        texts = [
            document.text
            for file in files
            for document in stored_documents(output / file["path"])
            if unit("tokens", document.id) < share
        ]
        if not texts:
            continue
        tokens = np.array(counter.count(texts), np.float64)
        text_bytes = np.array([len(text.encode()) for text in texts], np.float64)
        ratio = tokens.sum() / max(1.0, text_bytes.sum())
        spread = tokens - ratio * text_bytes
        error = float(np.sqrt((spread**2).sum())) / max(1.0, float(text_bytes.sum()))
        by_source[source] = {
            "tokens_per_byte": round(float(ratio), 6),
            "standard_error": round(error, 6),
            "sampled_bytes": int(text_bytes.sum()),
        }
    return {"tokenizer": counter.name, "by_source": by_source}


def read_outputs(output: Path, split: str) -> Iterator[Document]:
    """The documents of a finished build's split, ``train`` or ``held-out``."""
    for path in sorted((output / split).glob("*.jsonl.zst")):
        yield from stored_documents(path)
