"""Shingles: the runs of characters by which two texts are compared.

A text is folded to its letters and digits in lower case, so spacing, punctuation and line breaks
never count (in Korean, spacing is where copies differ first), and cut into all runs of ``length``
characters. Each run is a 64-bit hash. ``docs/deduplication.md`` gives the measurements that chose
characters over words and morphemes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hyperclova.corpus.hashing import Hashes, code_points, mix

_CODES = 0x323B0
"""Above it Unicode has no letters, only variation selectors, tags and private characters."""
_MULTIPLIER = 0xD6E8FEB86659FD93
"""Of the polynomial over characters; any odd number whose powers look random."""
_BATCH = 1 << 17
"""Characters folded and hashed at a time: what stays in a core's second-level cache."""


@dataclass(frozen=True, slots=True)
class Shingles:
    """The shingles of several documents, one after the other, repeated ones included."""

    hashes: Hashes
    """All of them, 64-bit."""
    starts: NDArray[np.int64]
    """Where each document's begin, and the end: ``(documents + 1,)``."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def counts(self) -> NDArray[np.int64]:
        """Shingles of each document, ``(documents,)``; 0 if it has no letter or digit."""
        return np.diff(self.starts)

    def of(self, index: int) -> Hashes:
        """The set of document ``index``: sorted, each once."""
        hashes = np.sort(self.hashes[self.starts[index] : self.starts[index + 1]])
        new = np.ones(len(hashes), dtype=bool)
        np.not_equal(hashes[1:], hashes[:-1], out=new[1:])
        return hashes[new]


def fold(text: str) -> str:
    """``text`` without all that is not a letter or digit, in lower case.

    The text should be in Unicode's form C. Marks that stand alone, as in Thai or Hindi, go too.
    """
    codes = _fold_codes(text)
    letters: bytes = codes[codes != 0].tobytes()
    return letters.decode("utf-32-le")


def exact_key(text: str) -> bytes:
    """16 bytes that are equal for texts equal up to runs of whitespace: BLAKE2b-128."""
    plain = " ".join(text.split()).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(plain, digest_size=16).digest()


def shingles(text: str, length: int) -> Hashes:
    """The set of ``text``'s shingles: 64-bit hashes of runs of ``length`` folded characters.

    Sorted, each once. A folded text shorter than ``length`` has one, itself whole; an empty one
    has none.
    """
    return shingle_batch([text], length).of(0)


def shingle_batch(texts: Sequence[str], length: int) -> Shingles:
    """The shingles of ``texts``, in order and with repetitions, computed many texts at a time.

    Temporary memory is some 40 bytes for each character of a batch, or of the longest text.

    Raises:
        ValueError: ``length`` is not positive.
    """
    if length < 1:
        raise ValueError(f"shingles of {length} characters; there must be at least one")
    parts: list[Hashes] = []
    counts: list[NDArray[np.int64]] = []
    first = characters = 0
    for index, text in enumerate(texts):
        characters += len(text)
        if characters >= _BATCH or index == len(texts) - 1:
            hashes, count = _shingle(texts[first : index + 1], length)
            parts.append(hashes)
            counts.append(count)
            first, characters = index + 1, 0
    starts = np.zeros(len(texts) + 1, dtype=np.int64)
    if not parts:
        return Shingles(np.zeros(0, dtype=np.uint64), starts)
    np.cumsum(np.concatenate(counts), out=starts[1:])
    return Shingles(parts[0] if len(parts) == 1 else np.concatenate(parts), starts)


def _shingle(texts: Sequence[str], length: int) -> tuple[Hashes, NDArray[np.int64]]:
    """Hashes of all texts' shingles, and how many each text has."""
    codes = _fold_codes("".join(texts))
    ends = np.cumsum([len(text) for text in texts])
    kept = codes != 0
    folded = codes[kept].astype(np.uint64)
    # Where each folded text begins and how long it is.
    stops = np.concatenate(([0], np.cumsum(kept)))[np.concatenate(([0], ends))]
    begins, lengths = stops[:-1], np.diff(stops)

    counts = np.maximum(lengths - length + 1, np.minimum(lengths, 1))
    if len(folded) < length:
        hashes = np.zeros(len(folded), dtype=np.uint64)
    else:
        hashes = np.zeros(len(folded), dtype=np.uint64)
        hashes[: len(folded) - length + 1] = _polynomial(folded, length)
    short = np.flatnonzero((lengths > 0) & (lengths < length))
    if len(short):  # one shingle each: as if filled up with zeros, which no text has
        columns = np.arange(length)
        inside = columns < lengths[short, None]
        places = np.where(inside, begins[short, None] + columns, 0)
        grid = np.where(inside, folded[places], np.uint64(0))
        powers = np.array([pow(_MULTIPLIER, length - 1 - n, 1 << 64) for n in range(length)])
        hashes[begins[short]] = (grid * powers.astype(np.uint64)).sum(axis=1, dtype=np.uint64)
    # A run that begins in one text and ends in the next is no shingle.
    is_shingle = np.ones(len(folded), dtype=bool)
    surplus = lengths - counts
    where = np.repeat(stops[1:] - surplus, surplus)
    within = np.arange(len(where)) - np.repeat(np.cumsum(surplus) - surplus, surplus)
    is_shingle[where + within] = False
    return mix(hashes[is_shingle]), counts


def _polynomial(values: Hashes, length: int) -> Hashes:
    """``sum(values[i + k] * M ** (length - 1 - k))`` modulo 2**64 for every ``i``.

    Built by doubling, so the work grows with the logarithm of ``length``.
    """
    powers, block, width, total, done = _MULTIPLIER, values, 1, values[:0], 0
    positions = len(values) - length + 1
    remaining = length
    while remaining:
        if remaining & 1:  # what is done so far stands to the left of this block
            shifted = block[done : done + positions]
            total = total * np.uint64(powers) + shifted if done else shifted.copy()
            done += width
        remaining >>= 1
        if remaining:
            longer = block[:-width] * np.uint64(powers)
            longer += block[width:]
            block, width, powers = longer, width * 2, powers * powers % (1 << 64)
    return total


def _fold_codes(text: str) -> NDArray[np.uint32]:
    """Folded code points, one for each character of ``text``; 0: not a letter or digit."""
    codes = code_points(text)
    if len(codes) and int(codes.max()) >= _CODES:
        codes = np.where(codes < _CODES, codes, np.uint32(0))
    folded: NDArray[np.uint32] = np.take(_folding(), codes)
    return folded


@cache
def _folding() -> NDArray[np.uint32]:
    """For every code point its lower case, or 0 if it is neither letter nor digit."""
    table = np.zeros(_CODES, dtype=np.uint32)
    for code in range(1, _CODES):
        character = chr(code)
        if character.isalnum():
            table[code] = ord(character.lower()[0])
    return table
