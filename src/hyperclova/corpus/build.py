"""Raw documents -> a corpus, its account and its report.

The order of the stages is here; what each does is in :mod:`hyperclova.corpus.stages`. Every task
writes files that are whole or absent and a receipt last, so a build that was killed goes on where
it stood, and its output is the same to the byte, whatever the number of workers.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hyperclova import durable
from hyperclova.corpus.account import Counter, Receipts, account
from hyperclova.corpus.config import CorpusConfig
from hyperclova.corpus.plan import FileGroup, check_plan, group_files, plan_of, remove_build
from hyperclova.corpus.stages import cleaning, finishing, lines, matching, reading, signing
from hyperclova.corpus.stages.runner import Progress, executor, run
from hyperclova.corpus.stages.workspace import Task, Workspace
from hyperclova.corpus.tally import Tally

_LINES_PER_TASK = 4_000_000
_KEYS_PER_TASK = 1_000_000


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
    groups = group_files(config)
    plan = plan_of(config, groups)
    if fresh and output.exists():
        remove_build(output)
    check_plan(output, plan)
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
    record = account(workspace, config, plan, receipts, counter)
    durable.write_json(output / "build.json", record)
    if not keep_work:
        shutil.rmtree(output / "work")
    return output / "build.json"


def _run_stages(
    pool: Any,
    workspace: Workspace,
    config: CorpusConfig,
    groups: Sequence[FileGroup],
    progress: Progress | None,
) -> Receipts:
    tally = Tally()

    def stage(tasks: list[Task]) -> list[dict[str, Any]]:
        run(pool, workspace, tasks, progress)
        receipts = []
        for task in tasks:
            receipt = workspace.receipt(task.stage, task.name)
            # Added up here: they hold examples, and a large corpus has many tasks.
            if "tally" in receipt:
                tally.merge(Tally.from_mapping(receipt.pop("tally")))
            receipts.append(receipt)
        return receipts

    reads = stage(
        [
            Task(
                "read",
                group.name,
                reading.read,
                (group.name, config, group.files),
                sum(group.sizes),
            )
            for group in groups
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
    return Receipts(
        reads,
        tally,
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
                (index, pieces, settings, parts),
                sizes[index],
            )
            for index in range(len(pieces))
        ]
    )
    names = [f"{index:05}" for index in range(len(pieces))]
    stage([Task("choose", "all", matching.choose, (pieces, parts, names), total)])
