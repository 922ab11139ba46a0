"""What the quality classifier sees of a text: hashed n-grams of characters and a few shares.

Everything that tells where a text was found rather than how it is written is folded away first:
markup, brackets, symbols and foreign letters are dropped, runs of white space and of digits become
one character each, only the first :data:`LIMIT` characters count, and the norm of the n-grams does
not grow with the length. What remains is Hangul, loose jamo and the punctuation of sentences:
only Korean is judged.

Numpy works on all characters at once; there is no loop over characters or n-grams.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hyperclova.corpus.hashing import code_points

LIMIT = 3000
"""Characters looked at, from the beginning."""
ORDERS = 3
"""N-grams of one to so many characters."""
BUCKETS = 1 << 17
"""Each n-gram is one of so many, by its hash."""
SHARES = ("hangul", "jamo", "digit", "punctuation", "word length")
"""The dense features, in order: shares of the folded characters, and the characters in a word
(the mean, divided by ten, at most two)."""

Codes = np.ndarray[Any, np.dtype[np.uint16]]
Indices = np.ndarray[Any, np.dtype[np.uint32]]
Dense = np.ndarray[Any, np.dtype[np.float32]]

_SPACE, _DIGIT, _EMOJI = 1, 2, 3
_FOLDED = 2
"""Codes up to this one stand for a whole run of characters."""
_PUNCTUATION = ".,?!~…^;:"
_SHIFT = np.uint32(32 - (BUCKETS.bit_length() - 1))
# Odd constants with well-mixed bits: a product spreads a character over the high bits, of which
# the bucket is made (Knuth, The Art of Computer Programming 3, §6.4, multiplicative hashing).
_MULTIPLIERS = tuple(np.uint32(value) for value in (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F))


def _code_table() -> Codes:
    """Code of every character of the basic plane; 0: dropped."""
    table = np.zeros(1 << 16, np.uint16)
    for start, stop in ((0x09, 0x0E), (0x1C, 0x21), (0x85, 0x86), (0xA0, 0xA1), (0x2000, 0x200B)):
        table[start:stop] = _SPACE
    table[[0x2028, 0x2029, 0x202F, 0x205F, 0x3000]] = _SPACE
    table[0x30:0x3A] = _DIGIT
    table[0xFF10:0xFF1A] = _DIGIT
    table[[0x2661, 0x2665, 0x2605, 0x2606]] = _EMOJI  # ♡♥★☆
    for character in _PUNCTUATION:
        table[ord(character)] = ord(character)
    for start, stop in ((0x1100, 0x1200), (0x3131, 0x3190), (0xAC00, 0xD7A4)):
        table[start:stop] = np.arange(start, stop)
    return table


def _kind_table() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Number of the share that a code adds to (see :data:`SHARES`); 4: none."""
    table = np.full(1 << 16, 4, np.uint8)
    table[0xAC00:0xD7A4] = 0
    table[0x1100:0x3190] = 1
    table[_DIGIT] = 2
    for character in _PUNCTUATION:
        table[ord(character)] = 3
    return table


_CODES = _code_table()
_KINDS = _kind_table()


@dataclass(frozen=True, slots=True)
class Features:
    """What is known of one text."""

    indices: Indices
    """Buckets of its n-grams, repeated as often as they occur; shape (n-grams,)."""
    dense: Dense
    """The shares; shape ``(len(SHARES),)``."""


def fold(text: str) -> Codes:
    """The first :data:`LIMIT` characters as codes, without markup and runs; shape (characters,)."""
    points = code_points(text[:LIMIT])
    if points.size and points.max() > 0xFFFF:
        points = np.where(points > 0xFFFF, np.uint32(0x2661), points)  # mostly emoji
    codes: Codes = _CODES[points]
    codes = codes[codes != 0]
    if codes.size < 2:
        return codes
    keep = np.empty(codes.size, bool)
    keep[0] = True
    np.not_equal(codes[1:], codes[:-1], out=keep[1:])
    keep |= codes > _FOLDED
    return codes[keep]


def extract(text: str) -> Features:
    """The features of ``text``. Any string has some; an empty one has none but zeros."""
    codes = fold(text)
    dense = np.zeros(len(SHARES), np.float32)
    if not codes.size:
        return Features(np.empty(0, np.uint32), dense)
    counts = np.bincount(_KINDS[codes], minlength=5)
    dense[:4] = counts[:4] / codes.size
    spaces = int(np.count_nonzero(codes == _SPACE))
    dense[4] = min(2.0, (codes.size - spaces) / (spaces + 1) / 10)
    wide = codes.astype(np.uint32)
    hashed = wide * _MULTIPLIERS[0]
    parts = [hashed]
    for order in range(1, min(ORDERS, codes.size)):
        hashed = (hashed[:-1] ^ wide[order:]) * _MULTIPLIERS[order]
        parts.append(hashed)
    return Features(np.concatenate(parts) >> _SHIFT, dense)
