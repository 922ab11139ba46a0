"""Pairs of documents that share a key."""

import numpy as np
from numpy.typing import NDArray

from hyperclova.corpus.hashing import Hashes

LARGEST_GROUP = 32
"""Documents that share a key are compared each with each up to so many."""
NEIGHBOURS = 4
"""In a larger group each is compared with the group's first and with so many that follow it."""


def exact_pairs(keys: Hashes, documents: Hashes) -> Hashes:
    """Pairs of documents with equal keys: each with the one of smallest number in its group.

    Equal is equal, so a star says as much as all pairs.

    Args:
        keys: ``(documents, words)``, such as the 16 bytes of
            :func:`~hyperclova.corpus.duplicates.exact_key` seen as two words
            (``numpy.frombuffer(b"".join(keys), "<u8").reshape(-1, 2)``).
        documents: their numbers, ``(documents,)``.

    Returns:
        ``(pairs, 2)``, the smaller number first; sorted.
    """
    order = np.lexsort((documents, *keys.T[::-1]))
    keys, documents = keys[order], documents[order]
    first = _group_starts((keys[1:] != keys[:-1]).any(axis=1), len(keys))
    leader = np.repeat(first, np.diff(np.append(first, len(keys))))
    others = np.flatnonzero(leader != np.arange(len(keys)))
    return _sorted_pairs(documents[leader[others]], documents[others])


def candidate_pairs(keys: Hashes, documents: Hashes, order: Hashes | None = None) -> Hashes:
    """Pairs of documents with equal keys in one band.

    Groups of up to :data:`LARGEST_GROUP` documents give all their pairs. A larger group (a
    template, a disclaimer) would give too many: each document is paired with the group's first
    and with the :data:`NEIGHBOURS` next ones, the group being sorted by ``order``. With the keys
    of another band as ``order``, the documents most alike lie next to each other.

    Args:
        keys: one band's, ``(documents,)``; 0: the document takes no part.
        documents: their numbers, ``(documents,)``, each once.
        order: ``(documents,)``; equal values, and None, go by the number. Where it depends on the
            documents' content alone, so do the pairs, however documents are numbered.

    Returns:
        ``(pairs, 2)``, the smaller number first; sorted, each once.
    """
    taking_part = np.flatnonzero(keys)
    keys, documents = keys[taking_part], documents[taking_part]
    second = documents if order is None else order[taking_part]
    sorting = np.lexsort((documents, second, keys))
    keys, documents = keys[sorting], documents[sorting]
    starts = _group_starts(keys[1:] != keys[:-1], len(keys))
    sizes = np.diff(np.append(starts, len(keys)))

    # What each document is paired with: the next so many of its group.
    position = np.arange(len(keys)) - np.repeat(starts, sizes)
    size = np.repeat(sizes, sizes)
    following = size - 1 - position
    small = size <= LARGEST_GROUP
    ahead = np.where(small, following, np.minimum(following, NEIGHBOURS))
    left = np.repeat(np.arange(len(keys)), ahead)
    right = left + 1 + np.arange(len(left)) - np.repeat(np.cumsum(ahead) - ahead, ahead)
    # The first of a large group meets also those further away than its neighbours.
    distant = np.flatnonzero(~small & (position > NEIGHBOURS))
    left = np.concatenate((left, np.repeat(starts, sizes)[distant]))
    right = np.concatenate((right, distant))
    return _sorted_pairs(documents[left], documents[right])


def _group_starts(changes: NDArray[np.bool_], length: int) -> NDArray[np.int64]:
    """Indices where a run of equal keys begins, from where neighbours differ."""
    if not length:
        return np.zeros(0, dtype=np.int64)
    return np.concatenate(([0], np.flatnonzero(changes) + 1))


def _sorted_pairs(left: Hashes, right: Hashes) -> Hashes:
    pairs = np.stack((np.minimum(left, right), np.maximum(left, right)), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
