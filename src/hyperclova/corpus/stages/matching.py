"""Match: from signatures of all pieces to the documents that are dropped as duplicates.

Keys are sorted within each piece; a task takes one range of keys from every piece, so memory is
bounded by the size of a range, and ranges are as many as the corpus needs.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperclova.corpus import quality
from hyperclova.corpus.config import Duplicates
from hyperclova.corpus.duplicates import (
    candidate_pairs,
    exact_pairs,
    keep_best,
    shingle_batch,
    verify,
)
from hyperclova.corpus.stages.lines import hash_range
from hyperclova.corpus.stages.signing import BAND, EXACT, RANK, compared_text
from hyperclova.corpus.stages.workspace import (
    Workspace,
    groups_of,
    number_of,
    stored_documents,
)

DROPPED = np.dtype([("row", np.uint32), ("kept", np.uint64), ("similarity", np.float32)])
"""Rows of a piece to drop; ``similarity`` 1.0 and above: exact (2.0)."""
_EXACT = 2.0
_NEAR_RANK = np.dtype([("score", np.float32), *RANK.descr])
"""Of near-duplicates the better written is kept, then as of equal texts."""


def _piece_numbers(piece: int, rows: NDArray[Any]) -> NDArray[np.uint64]:
    return rows.astype(np.uint64) + np.uint64(number_of(piece, 0))


def _ranks_of(
    workspace: Workspace, pieces: Sequence[str], numbers: NDArray[np.uint64]
) -> NDArray[Any]:
    """Ranks of documents given by sorted numbers."""
    ranks = np.zeros(len(numbers), RANK)
    owners = (numbers >> np.uint64(32)).astype(np.int64)
    for piece in np.unique(owners):
        mine = owners == piece
        stored = workspace.load("sign", f"{pieces[piece]}.ranks")
        ranks[mine] = stored[(numbers[mine] & np.uint64(0xFFFFFFFF)).astype(np.int64)]
    return ranks


def _near_ranks_of(
    workspace: Workspace, pieces: Sequence[str], numbers: NDArray[np.uint64]
) -> NDArray[Any]:
    """Ranks with quality, of candidates given by sorted numbers."""
    ranks = np.zeros(len(numbers), _NEAR_RANK)
    plain = _ranks_of(workspace, pieces, numbers)
    ranks["length"], ranks["tie"] = plain["length"], plain["tie"]
    owners = (numbers >> np.uint64(32)).astype(np.int64)
    for piece in np.unique(owners):
        mine = owners == piece
        rows = workspace.load("shingles", f"{pieces[piece]}.rows")
        places = np.searchsorted(rows, (numbers[mine] & np.uint64(0xFFFFFFFF)).astype(np.int64))
        ranks["score"][mine] = workspace.load("shingles", f"{pieces[piece]}.scores")[places]
    return ranks


def match_exact(
    workspace: Workspace, part: int, parts: int, pieces: Sequence[str]
) -> dict[str, Any]:
    """Exact duplicates whose keys fall into one of ``parts`` ranges."""
    tables, numbers = [np.zeros(0, EXACT)], [np.zeros(0, np.uint64)]
    for index, piece in enumerate(pieces):
        stored = workspace.load("sign", f"{piece}.exact")
        mine = np.array(stored[hash_range(stored["key"], part, parts)])
        tables.append(mine)
        numbers.append(_piece_numbers(index, mine["row"]))
    table = np.concatenate(tables)
    keys = np.stack((table["key"], table["rest"]), axis=1)
    pairs = exact_pairs(keys, np.concatenate(numbers))
    dropped = keep_best(pairs, _ranks_of(workspace, pieces, np.unique(pairs)))
    workspace.save("exact", f"{part:05}", dropped)
    return {"dropped": len(dropped)}


def _dropped_exactly(workspace: Workspace, parts: int) -> NDArray[np.uint64]:
    """Numbers of all exact duplicates, sorted: 8 bytes for each."""
    found = [workspace.load("exact", f"{part:05}")[:, 0] for part in range(parts)]
    return np.sort(np.concatenate([np.zeros(0, np.uint64), *found]))


def _contains(numbers: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of ``wanted`` are among the sorted ``numbers``, without a copy of these."""
    if not len(numbers):
        return np.zeros(len(wanted), np.bool_)
    places = np.searchsorted(numbers, wanted)
    places[places == len(numbers)] = 0
    found: NDArray[np.bool_] = numbers[places] == wanted
    return found


def match_band(
    workspace: Workspace,
    band: int,
    part: int,
    parts: int,
    pieces: Sequence[str],
    exact_parts: int,
) -> dict[str, Any]:
    """Pairs that share a key of one band, in one of ``parts`` ranges of keys."""
    gone = _dropped_exactly(workspace, exact_parts)
    tables, numbers = [np.zeros(0, BAND)], [np.zeros(0, np.uint64)]
    for index, piece in enumerate(pieces):
        stored = workspace.load("sign", f"{piece}.band{band:02}")
        mine = np.array(stored[hash_range(stored["key"], part, parts)])
        documents = _piece_numbers(index, mine["row"])
        left = ~_contains(gone, documents)
        tables.append(mine[left])
        numbers.append(documents[left])
    table = np.concatenate(tables)
    pairs = candidate_pairs(table["key"], np.concatenate(numbers), table["order"])
    name = f"{band:02}-{part:05}"
    workspace.save("bands", f"{name}.pairs", pairs)
    workspace.save("bands", f"{name}.involved", np.unique(pairs))
    return {"pairs": len(pairs)}


def _band_names(settings: Duplicates, parts: int) -> list[str]:
    return [f"{band:02}-{part:05}" for band in range(settings.bands) for part in range(parts)]


def _between(numbers: NDArray[np.uint64], piece: int, last: int) -> slice:
    """Where numbers of documents of pieces ``piece`` to before ``last`` lie in a sorted array."""
    low, high = number_of(piece, 0), number_of(last, 0)
    start, end = np.searchsorted(numbers, np.array([low, high], np.uint64))
    return slice(int(start), int(end))


def shingle_candidates(
    workspace: Workspace, piece: int, name: str, settings: Duplicates, band_parts: int
) -> dict[str, Any]:
    """The sets of shingles of a piece's candidates, for verification, and their quality.

    Quality is scored here and not of every document: few are candidates.
    """
    wanted: set[int] = set()
    for band in _band_names(settings, band_parts):
        involved = workspace.load("bands", f"{band}.involved")
        mine = involved[_between(involved, piece, piece + 1)]
        wanted.update((mine & np.uint64(0xFFFFFFFF)).tolist())
    hashes, starts, rows = [np.zeros(0, np.uint64)], [0], []
    scores = []
    position = 0
    for group in groups_of(stored_documents(workspace.file("sign", f"{name}.jsonl.zst"))):
        chosen = [row for row in range(position, position + len(group)) if row in wanted]
        batch = shingle_batch(
            [compared_text(group[row - position]) for row in chosen], settings.shingle
        )
        for index, row in enumerate(chosen):
            mine = batch.of(index)
            hashes.append(mine)
            starts.append(starts[-1] + len(mine))
            rows.append(row)
            scores.append(quality.score(group[row - position].text))
        position += len(group)
    workspace.save("shingles", f"{name}.hashes", np.concatenate(hashes))
    workspace.save("shingles", f"{name}.starts", np.array(starts, np.int64))
    workspace.save("shingles", f"{name}.rows", np.array(rows, np.int64))
    workspace.save("shingles", f"{name}.scores", np.array(scores, np.float32))
    return {"documents": len(rows)}


class _StoredShingles:
    """Shingles of the candidates of a few pieces, memory-mapped."""

    def __init__(self, workspace: Workspace, pieces: Sequence[str], numbers: set[int]) -> None:
        self._open = {
            number: (
                workspace.load("shingles", f"{pieces[number]}.hashes"),
                workspace.load("shingles", f"{pieces[number]}.starts"),
                workspace.load("shingles", f"{pieces[number]}.rows"),
            )
            for number in numbers
        }

    def __call__(self, number: int) -> NDArray[np.uint64]:
        hashes, starts, rows = self._open[number >> 32]
        index = int(np.searchsorted(rows, number & 0xFFFFFFFF))
        return hashes[starts[index] : starts[index + 1]]


def verify_pairs(
    workspace: Workspace,
    piece: int,
    pieces: Sequence[str],
    settings: Duplicates,
    band_parts: int,
) -> dict[str, Any]:
    """True similarities of the pairs whose first document is in the piece with this number.

    Two pieces are open at a time, however many the corpus has.
    """
    found = [np.zeros((0, 2), np.uint64)]
    for band in _band_names(settings, band_parts):
        pairs = workspace.load("bands", f"{band}.pairs")
        found.append(np.array(pairs[_between(pairs[:, 0], piece, piece + 1)]))
    pairs = np.unique(np.concatenate(found), axis=0)
    verified, similarities = [np.zeros((0, 2), np.uint64)], [np.zeros(0)]
    others = (pairs[:, 1] >> np.uint64(32)).astype(np.int64)
    for other in np.unique(others).tolist():
        shingles = _StoredShingles(workspace, pieces, {piece, other})
        alike, shares = verify(pairs[others == other], shingles, settings.similarity)
        verified.append(alike)
        similarities.append(shares)
    alike, shares = np.concatenate(verified), np.concatenate(similarities)
    order = np.lexsort((alike[:, 1], alike[:, 0]))
    workspace.save("verify", f"{piece:05}.pairs", alike[order])
    workspace.save("verify", f"{piece:05}.similarities", shares[order].astype(np.float32))
    return {"candidates": len(pairs), "pairs": len(alike)}


def choose(
    workspace: Workspace, pieces: Sequence[str], exact_parts: int, verify_names: Sequence[str]
) -> dict[str, Any]:
    """Of each cluster of duplicates keep the best; write what each piece must drop.

    Memory is some 160 bytes for each pair of near-duplicates: one machine with 64 GB chooses for
    400 million pairs.
    """
    exact = np.concatenate(
        [np.zeros((0, 2), np.uint64)]
        + [workspace.load("exact", f"{part:05}") for part in range(exact_parts)]
    )
    pairs = np.concatenate(
        [np.zeros((0, 2), np.uint64)]
        + [workspace.load("verify", f"{name}.pairs") for name in verify_names]
    )
    similarities = np.concatenate(
        [np.zeros(0, np.float32)]
        + [workspace.load("verify", f"{name}.similarities") for name in verify_names]
    )
    near = keep_best(pairs, _near_ranks_of(workspace, pieces, np.unique(pairs)))
    # A document's likeness to the one kept for it: its highest to any in its cluster will do
    # where the two were not compared themselves.
    flat = np.concatenate((pairs[:, 0], pairs[:, 1]))
    order = np.argsort(flat, kind="stable")
    documents, starts = np.unique(flat[order], return_index=True)
    both = np.concatenate((similarities, similarities))[order]
    best = np.maximum.reduceat(both, starts) if len(both) else both
    numbers = np.concatenate((exact[:, 0], near[:, 0]))
    rows = np.zeros(len(numbers), DROPPED)
    rows["row"] = numbers & np.uint64(0xFFFFFFFF)
    rows["kept"] = np.concatenate((exact[:, 1], near[:, 1]))
    rows["similarity"][: len(exact)] = _EXACT
    rows["similarity"][len(exact) :] = best[np.searchsorted(documents, near[:, 0])]
    order = np.argsort(numbers)
    numbers, rows = numbers[order], rows[order]
    for index, name in enumerate(pieces):
        workspace.save("choose", name, rows[_between(numbers, index, index + 1)])
    return {"exact": len(exact), "near": len(near)}
