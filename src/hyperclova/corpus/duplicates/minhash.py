"""MinHash signatures in bands, fast for texts of any length.

Classic MinHash hashes every shingle once for each value of the signature, 120 times. Here a
shingle is hashed once: the hash chooses one of the 120 places and a value, and each place keeps
its least value. Places that stay empty are filled by further rounds of the same with other
hashes, at last by a hash of their own for each place. Every place so holds the least of all
shingles under an order that doesn't prefer any, therefore two documents agree in it with
probability equal to the Jaccard similarity of their sets, as in MinHash (Broder 1997). (Dahlgaard,
Knudsen and Thorup, "Fast similarity sketching", FOCS 2017, who show that it also varies less.)
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hyperclova.corpus.duplicates.shingling import Shingles, shingle_batch
from hyperclova.corpus.hashing import Hashes, mix, random_words

_ROUNDS = 16
"""Shared rounds before each empty place gets a hash of its own."""
_EMPTY = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_LOW = np.uint64(0xFFFF_FFFF)
_HALF = np.uint64(32)
_BATCH = 1 << 16
"""Shingles signed at a time."""


def collision_probability(similarity: float, bands: int, rows: int) -> float:
    """Probability that two documents of this Jaccard similarity agree in at least one band.

    ``1 - (1 - s**rows)**bands`` (Leskovec, Rajaraman and Ullman, *Mining of Massive Datasets*,
    section 3.4).
    """
    return float(1 - (1 - similarity**rows) ** bands)


class MinHash:
    """Signs documents: ``bands`` keys each, every one made of ``rows`` minimum hashes.

    Two documents whose keys of some band are equal are candidates for near-duplicates.
    """

    def __init__(self, bands: int, rows: int, seed: int = 0) -> None:
        """
        Args:
            seed: of the hash functions; documents signed under different seeds don't compare.

        Raises:
            ValueError: ``bands`` or ``rows`` is not positive.
        """
        if bands < 1 or rows < 1:
            raise ValueError(f"{bands} bands of {rows} rows; there must be at least one of each")
        self.bands = bands
        self.rows = rows
        self._places = bands * rows
        words = random_words(_ROUNDS + 2 * self._places + bands, seed)
        self._rounds, words = words[:_ROUNDS], words[_ROUNDS:]
        self._own, words = words[: self._places], words[self._places :]
        self._factors = words[: self._places].reshape(bands, rows) | np.uint64(1)
        self._bands = words[self._places :]

    def band_keys(self, shingles: Hashes) -> Hashes:
        """Keys ``(bands,)`` of one document's shingles, in any order; zeros if it has none."""
        starts = np.array([0, len(shingles)], dtype=np.int64)
        keys: Hashes = self.sign(Shingles(shingles, starts))[0]
        return keys

    def band_keys_batch(self, texts: Sequence[str], length: int, fewest: int = 1) -> Hashes:
        """Keys ``(texts, bands)`` of texts cut into shingles of ``length`` characters.

        Texts with fewer than ``fewest`` shingles get zeros, which
        :func:`~hyperclova.corpus.duplicates.candidate_pairs` takes for "no key".
        """
        return self.sign(shingle_batch(texts, length), fewest)

    def sign(self, shingles: Shingles, fewest: int = 1) -> Hashes:
        """Keys ``(documents, bands)``; never 0 but for documents with too few shingles."""
        keys = np.zeros((len(shingles), self.bands), dtype=np.uint64)
        long_enough = np.flatnonzero(shingles.counts() >= max(fewest, 1))
        first = total = 0
        for position, count in enumerate(shingles.counts()[long_enough].tolist()):
            total += count
            if total >= _BATCH or position == len(long_enough) - 1:
                batch = long_enough[first : position + 1]
                begins = shingles.starts[batch]
                keys[batch] = self._keys(
                    self._signatures(shingles.hashes, begins, shingles.starts[batch + 1] - begins)
                )
                first, total = position + 1, 0
        return keys

    def _signatures(
        self, hashes: Hashes, begins: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> Hashes:
        """Signatures ``(documents, places)``; the documents' shingles may lie anywhere."""
        table = np.full((len(begins), self._places), _EMPTY, dtype=np.uint64)
        flat = table.reshape(-1)
        unfinished = np.arange(len(begins))
        owned = hashes[_ranges(begins, counts)]
        for number, salt in enumerate(self._rounds):
            mixed = mix(owned ^ salt)
            place = mixed >> _HALF
            place *= np.uint64(self._places)
            place >>= _HALF
            place += np.repeat(unfinished.astype(np.uint64) * self._places, counts[unfinished])
            mixed &= _LOW
            mixed |= np.uint64(number << 32)  # so that a round never undoes an earlier one
            np.minimum.at(flat, place.view(np.int64), mixed)
            if number & (number + 1):  # looking whether all is full costs as much as a round
                continue
            still = (table[unfinished] == _EMPTY).any(axis=1)
            if not still.any():
                return table
            if not still.all():
                owned = owned[np.repeat(still, counts[unfinished])]
                unfinished = unfinished[still]
        # Few places are left, of documents with few shingles.
        document, place_left = np.nonzero(table == _EMPTY)
        lengths = counts[document]
        own = hashes[_ranges(begins[document], lengths)] ^ np.repeat(self._own[place_left], lengths)
        least = np.minimum.reduceat(mix(own) & _LOW, np.cumsum(lengths) - lengths)
        table[document, place_left] = least | np.uint64(_ROUNDS << 32)
        return table

    def _keys(self, table: Hashes) -> Hashes:
        banded = table.reshape(-1, self.bands, self.rows) * self._factors
        keys = mix(banded.sum(axis=2, dtype=np.uint64) ^ self._bands)
        return np.maximum(keys, np.uint64(1))


def _ranges(begins: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """``begins[0], begins[0] + 1, …`` for each of ``counts``, one range after the other."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    places: NDArray[np.int64] = np.arange(total) + np.repeat(begins - (ends - counts), counts)
    return places
