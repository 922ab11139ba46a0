"""Lines that many documents of a source share: counted over the whole corpus, then cut.

The rule of C4 (Raffel et al. 2020, §2.2) and CCNet (Wenzek et al. 2020, §3.1) with a threshold
per source instead of one per shard.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperclova.corpus.config import SOURCES, RepeatedLines
from hyperclova.corpus.documents import Document
from hyperclova.corpus.hashing import code_points, span_hashes
from hyperclova.corpus.rule import Verdict
from hyperclova.corpus.stages.workspace import Workspace

COUNT = np.dtype([("source", np.uint8), ("hash", np.uint64), ("count", np.uint32)])
REPEATED = np.dtype([("source", np.uint8), ("hash", np.uint64)])
_FEWEST_LINES = 3
_FLUSH = 1 << 20


def _candidates(document: Document, settings: RepeatedLines) -> list[str]:
    """The document's lines, each once, that are long enough to be counted."""
    if document.text.count("\n") < _FEWEST_LINES - 1:
        return []
    lines = {line.strip() for line in document.text.split("\n")}
    return [line for line in lines if len(line) >= settings.characters]


def _hashes(lines: Sequence[str]) -> NDArray[np.uint64]:
    ends = np.cumsum([len(line) for line in lines])
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    return span_hashes(code_points("".join(lines)), starts, ends.astype(np.int64))


class LineCounter:
    """In how many documents of a piece each line stands."""

    def __init__(self, settings: RepeatedLines) -> None:
        self._settings = settings
        self._pending: list[tuple[int, list[str]]] = []
        self._characters = 0
        self._counts: list[NDArray[Any]] = []

    def add(self, document: Document) -> None:
        """Count the lines of one document."""
        if not self._settings.enabled:
            return
        lines = _candidates(document, self._settings)
        if lines:
            self._pending.append((SOURCES.index(document.source), lines))
            self._characters += sum(map(len, lines))
            if self._characters > _FLUSH:
                self._flush()

    def _flush(self) -> None:
        flat = [line for _, lines in self._pending for line in lines]
        if flat:
            counts = np.zeros(len(flat), COUNT)
            counts["hash"] = _hashes(flat)
            counts["source"] = np.repeat(
                [source for source, _ in self._pending], [len(lines) for _, lines in self._pending]
            )
            counts["count"] = 1
            self._counts.append(counts)
        self._pending, self._characters = [], 0

    def counted(self) -> NDArray[Any]:
        """Sorted by hash, then source; dtype :data:`COUNT`."""
        self._flush()
        return _added(np.concatenate([np.zeros(0, COUNT), *self._counts]))


def _added(counts: NDArray[Any]) -> NDArray[Any]:
    """Sum the counts of equal (hash, source)."""
    if not len(counts):
        return counts
    counts = counts[np.lexsort((counts["source"], counts["hash"]))]
    new = np.ones(len(counts), np.bool_)
    new[1:] = (counts["hash"][1:] != counts["hash"][:-1]) | (
        counts["source"][1:] != counts["source"][:-1]
    )
    starts = np.flatnonzero(new)
    total = counts[starts]
    total["count"] = np.add.reduceat(counts["count"], starts)
    return total


def hash_range(keys: NDArray[Any], part: int, parts: int) -> slice:
    """Where the keys of one of ``parts`` equal ranges of 64 bits lie in a sorted array."""
    low = np.uint64((part << 64) // parts)
    start = int(np.searchsorted(keys, low))
    if part + 1 == parts:
        return slice(start, len(keys))
    high = np.uint64(((part + 1) << 64) // parts)
    return slice(start, int(np.searchsorted(keys, high)))


def find_repeated(
    workspace: Workspace,
    part: int,
    parts: int,
    pieces: Sequence[str],
    settings: RepeatedLines,
    documents: dict[str, int],
) -> dict[str, Any]:
    """Find the repeated lines whose hashes fall into one of ``parts`` ranges.

    Args:
        documents: by source, in the whole corpus.
    """
    found = [np.zeros(0, COUNT)]
    for piece in pieces:
        counts = workspace.load("clean", f"{piece}.lines")
        found.append(np.array(counts[hash_range(counts["hash"], part, parts)]))
    total = _added(np.concatenate(found))
    limits = np.array(
        [max(settings.documents, settings.share * documents.get(source, 0)) for source in SOURCES]
    )
    repeated = total[total["count"] >= limits[total["source"]]]
    result = np.zeros(len(repeated), REPEATED)
    result["source"], result["hash"] = repeated["source"], repeated["hash"]
    workspace.save("lines", f"{part:05}", result)
    return {"repeated": len(result)}


class LineCutter:
    """Cuts repeated lines out of documents."""

    def __init__(self, repeated: NDArray[Any], settings: RepeatedLines) -> None:
        self._settings = settings
        self._known = {
            source: frozenset(repeated["hash"][repeated["source"] == number].tolist())
            for number, source in enumerate(SOURCES)
        }

    def __call__(self, document: Document) -> Verdict:
        """The document without repeated lines; dropped if nothing else is in it."""
        known = self._known[document.source]
        if not known:
            return Verdict(document)
        candidates = _candidates(document, self._settings)
        if not candidates:
            return Verdict(document)
        cut = {
            line
            for line, hashed in zip(candidates, _hashes(candidates).tolist(), strict=True)
            if hashed in known
        }
        if not cut:
            return Verdict(document)
        lines = [line for line in document.text.split("\n") if line.strip() not in cut]
        text = "\n".join(lines).strip()
        first = min(cut)
        reason = f"{len(cut)} lines that many documents of {document.source} share: {first[:60]}"
        return Verdict(replace(document, text=text) if text else None, reason, float(len(cut)))
