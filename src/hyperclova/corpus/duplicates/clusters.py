"""From pairs of duplicates to the documents that are dropped."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperclova.corpus.hashing import Hashes


def keep_best(pairs: Hashes, rank: NDArray[Any]) -> Hashes:
    """Which documents to drop so that of each connected component only the best stays.

    Args:
        pairs: ``(pairs, 2)`` numbers of documents; order and repetition don't matter.
        rank: one value for each document that occurs in ``pairs``, in the order of
            ``numpy.unique(pairs)``; the highest is kept. An array of a structured type ranks by
            its first field, then its second, …: end with a hash of the content, and the result
            doesn't depend on how documents are numbered. Of equal ranks the smallest number wins.

    Returns:
        ``(dropped, 2)``: a dropped document and the one kept for it; sorted.

    Raises:
        ValueError: ``rank`` has another length than there are documents in ``pairs``.
    """
    documents, places = np.unique(pairs, return_inverse=True)
    if len(rank) != len(documents):
        raise ValueError(f"{len(rank)} ranks for {len(documents)} documents")
    edges = places.reshape(-1, 2)
    label = components(edges, len(documents))
    fields = [rank[name] for name in rank.dtype.names] if rank.dtype.names else [rank]
    worst_first = np.lexsort((np.arange(len(documents))[::-1], *fields[::-1]))
    standing = np.empty(len(documents), dtype=np.int64)
    standing[worst_first] = np.arange(len(documents))
    highest = np.full(len(documents), -1)
    np.maximum.at(highest, label, standing)
    kept = worst_first[highest[label]]
    dropped = np.flatnonzero(kept != np.arange(len(documents)))
    return np.stack((documents[dropped], documents[kept[dropped]]), axis=1)


def components(edges: NDArray[np.int64], nodes: int) -> NDArray[np.int64]:
    """The connected component of each node: the smallest node in it.

    Every root is hung under the smallest root that an edge leads to; then chains are cut short,
    and edges within a component are forgotten. The rounds number about the logarithm of the
    longest chain (Shiloach and Vishkin, "An O(log n) parallel connectivity algorithm", 1982).
    Memory is some 50 bytes for each edge.

    Args:
        edges: ``(edges, 2)``, each entry from 0 to ``nodes - 1``.

    Returns:
        ``(nodes,)``.
    """
    label = np.arange(nodes)
    left, right = edges[:, 0], edges[:, 1]
    while len(left):
        np.minimum.at(label, np.maximum(left, right), np.minimum(left, right))
        while True:
            further = label[label]
            if np.array_equal(further, label):
                break
            label = further
        left, right = label[left], label[right]
        between = left != right
        left, right = left[between], right[between]
    return label
