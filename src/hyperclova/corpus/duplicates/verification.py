"""Looking at candidates: how alike are they really."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hyperclova.corpus.hashing import Hashes


def similarity(left: Hashes, right: Hashes) -> float:
    """Jaccard similarity of two sets, given as sorted arrays of unique values.

    The size of their intersection over that of their union; 0 if both are empty, since documents
    without letters have nothing in common that we know of.
    """
    together = len(left) + len(right)
    if not together:
        return 0.0
    merged = np.concatenate((left, right))
    merged.sort(kind="stable")  # two sorted runs: the radix or merge sort is done in one pass
    shared = int(np.count_nonzero(merged[1:] == merged[:-1]))
    return shared / (together - shared)


def verify(
    pairs: Hashes, shingles_of: Callable[[int], Hashes], threshold: float
) -> tuple[Hashes, NDArray[np.float64]]:
    """The pairs whose documents' sets of shingles are alike, and how much.

    ``shingles_of`` is called once for each run of equal first documents and, for the second
    documents, once a pair unless sizes already tell them apart: it should keep what it computed.

    Args:
        pairs: ``(pairs, 2)`` numbers of documents, sorted as
            :func:`~hyperclova.corpus.duplicates.candidate_pairs` gives them.
        shingles_of: the sorted unique shingles of a document.
        threshold: least Jaccard similarity, above 0.

    Returns:
        The pairs that reach it, ``(verified, 2)`` in the same order, and their similarities.
    """
    found = np.zeros(len(pairs))
    previous, left = -1, np.zeros(0, dtype=np.uint64)
    for index, (first, second) in enumerate(pairs.tolist()):
        if first != previous:
            previous, left = first, shingles_of(first)
        right = shingles_of(second)
        smaller, larger = sorted((len(left), len(right)))
        if larger and smaller / larger >= threshold:  # else not even a subset would be alike
            found[index] = similarity(left, right)
    alike = found >= threshold
    return pairs[alike], found[alike]
