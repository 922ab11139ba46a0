"""Finish: drop what other documents made superfluous, sample, split, mask, write."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from hyperclova.corpus.config import CorpusConfig
from hyperclova.corpus.contamination import Contamination
from hyperclova.corpus.documents import Document
from hyperclova.corpus.hashing import unit
from hyperclova.corpus.rule import Verdict
from hyperclova.corpus.split import HELD_OUT, TRAIN, is_held_out
from hyperclova.corpus.stages.cleaning import build_rules, follow, note_dropped
from hyperclova.corpus.stages.matching import DROPPED
from hyperclova.corpus.stages.workspace import (
    LineWriter,
    Workspace,
    groups_of,
    stored_documents,
    writing_lines,
)
from hyperclova.corpus.tally import Tally, Volume

EXACT, NEAR, SAMPLING = "exact-duplicate", "near-duplicate", "sampling"


def contaminated(name: str) -> str:
    """The label of the rule that drops documents with examples of an evaluation set."""
    return f"contaminated:{name}"


def prepare_contamination(workspace: Workspace, name: str, path: Any) -> dict[str, Any]:
    """Hash the runs of words of one evaluation set, once for all tasks."""
    runs = Contamination.from_files([path]).runs
    for length, hashes in runs.items():
        workspace.save("contamination", f"{name}.{length}", hashes)
    return {"lengths": sorted(runs)}


def _load_contamination(workspace: Workspace, name: str) -> Contamination:
    lengths = workspace.receipt("contamination", name)["lengths"]
    return Contamination.from_runs(
        {length: workspace.load("contamination", f"{name}.{length}") for length in lengths}
    )


class _Selection:
    """Which documents of a piece stay, and why the others don't."""

    def __init__(self, workspace: Workspace, piece: str, config: CorpusConfig) -> None:
        rows = (
            workspace.load("choose", piece) if config.duplicates.enabled else np.zeros(0, DROPPED)
        )
        self._duplicates = {
            int(row["row"]): (float(row["similarity"]), int(row["kept"])) for row in rows
        }
        self._sets = {
            path.stem: _load_contamination(workspace, path.stem)
            for path in config.decontamination.files
        }
        self._config = config

    def verdicts(
        self, group: Sequence[Document], first_row: int, tally: Tally
    ) -> list[tuple[str, str]]:
        """Label and reason of what drops each document; empty: it stays."""
        results = [("", "")] * len(group)
        if self._config.duplicates.enabled:
            for index, document in enumerate(group):
                results[index] = self._duplicate(first_row + index)
                label = results[index][0]
                verdict = Verdict(None, results[index][1])
                tally.note(EXACT, document, verdict if label == EXACT else Verdict(document))
                if label != EXACT:
                    tally.note(NEAR, document, verdict if label == NEAR else Verdict(document))
        for name, contamination in self._sets.items():
            left = [index for index, (label, _) in enumerate(results) if not label]
            found = contamination.found_in_each([group[index].text for index in left])
            for index, hit in zip(left, found.tolist(), strict=True):
                reason = f"shares a run of words with an example of {name}" if hit else ""
                tally.note(
                    contaminated(name),
                    group[index],
                    Verdict(None, reason) if hit else Verdict(group[index]),
                )
                if hit:
                    results[index] = contaminated(name), reason
        return results

    def _duplicate(self, row: int) -> tuple[str, str]:
        if row not in self._duplicates:
            return "", ""
        similarity, kept = self._duplicates[row]
        where = f"document {kept & 0xFFFFFFFF} of piece {kept >> 32}"
        if similarity > 1:
            return EXACT, f"the same text as {where}"
        return NEAR, f"Jaccard similarity {similarity:.2f}; its cluster keeps {where}"


def copies_of(document: Document, config: CorpusConfig) -> int:
    """How often a document is written: its source's epochs, the fraction by a hash of the id."""
    epochs = config.sampling.epochs.get(document.source, 1.0)
    whole = int(epochs)
    return whole + (unit("sampling", config.seed, document.id) < epochs - whole)


def finish(workspace: Workspace, piece: str, config: CorpusConfig) -> dict[str, Any]:
    """Write a piece's share of the corpus.

    Returns:
        ``tally``, and ``outputs`` (path under the output directory, source, documents, bytes
        of text).
    """
    selection = _Selection(workspace, piece, config)
    _, rules = build_rules(config)
    tally = Tally()
    outputs: dict[str, dict[str, Any]] = {}
    with ExitStack() as files:
        writers: dict[str, LineWriter] = {}

        def write(split: str, document: Document) -> None:
            # Names differ over the splits: other tools may want all files in one place.
            name = f"{document.source}-{piece}" + (".held-out" if split == HELD_OUT else "")
            path = f"{split}/{name}.jsonl.zst"
            if path not in writers:
                writers[path] = files.enter_context(writing_lines(workspace.output / path))
                outputs[path] = {
                    "path": path,
                    "source": document.source,
                    "documents": 0,
                    "bytes": 0,
                }
            writers[path].add(document)
            outputs[path]["documents"] += 1
            outputs[path]["bytes"] += len(document.text.encode())
            tally.after.setdefault(document.source, Volume()).add(document.text)

        dropped = files.enter_context(
            writing_lines(workspace.output / "dropped" / f"{piece}-3-finish.jsonl.zst")
        )
        row = 0
        for group in groups_of(stored_documents(workspace.file("sign", f"{piece}.jsonl.zst"))):
            verdicts = selection.verdicts(group, row, tally)
            row += len(group)
            for document, (label, reason) in zip(group, verdicts, strict=True):
                if label:
                    note_dropped(dropped, document, label, reason)
                    continue
                copies = copies_of(document, config)
                sampled = Verdict(document)
                if copies == 0:
                    sampled = Verdict(None, "not drawn")
                    note_dropped(dropped, document, SAMPLING, "not drawn")
                tally.note(SAMPLING, document, sampled)
                if sampled.document is None:
                    continue
                result, label, reason = follow(rules, document, tally)
                if result is None:
                    note_dropped(dropped, document, label, reason)
                elif is_held_out(result.id, config.sampling.held_out):
                    write(HELD_OUT, result)
                    tally.held_out[result.source] = tally.held_out.get(result.source, 0) + 1
                else:
                    for copy in range(copies):
                        # The same id: copies fall into the same split wherever that is decided.
                        meta = {**result.meta, "copy": copy + 1} if copy else result.meta
                        write(TRAIN, replace(result, meta=meta))
                    tally.effects[SAMPLING][result.source].changed += copies - 1
    return {"tally": tally.to_mapping(), "outputs": list(outputs.values())}
