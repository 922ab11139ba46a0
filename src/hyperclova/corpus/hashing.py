"""Hashes of many pieces of a text at once, the same on every machine and in every run.

A piece of code points ``c_0 … c_n`` hashes to ``Σ m(c_i) P^i mod 2^64``, mixed; prefix sums give
all pieces of a text from one pass. Against accidents 64 bits are ample: among a billion different
pieces the chance of any collision is 3 %. It is no cryptographic hash.
"""

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_STEP = 0x9E3779B97F4A7C15
_BASE = _STEP  # odd, so it has an inverse modulo 2^64
_INVERSE = pow(_BASE, -1, 1 << 64)


@lru_cache(maxsize=32)
def _powers(size: int) -> tuple[Hashes, Hashes]:
    """``P^i`` and ``P^-i`` for ``i < size``."""
    both = []
    for base in (_BASE, _INVERSE):
        factors = np.full(size, base, np.uint64)
        factors[0] = 1
        both.append(np.cumprod(factors, dtype=np.uint64))
    return both[0], both[1]


def mix(values: Hashes) -> Hashes:
    """A random-looking permutation of the 64-bit integers, applied to each of ``values``.

    The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014): three xor-shifts and two multiplications.
    """
    mixed = values >> np.uint64(30)
    mixed ^= values
    mixed *= _FIRST
    mixed ^= mixed >> np.uint64(27)
    mixed *= _SECOND
    mixed ^= mixed >> np.uint64(31)
    return mixed


def random_words(count: int, seed: int) -> Hashes:
    """``count`` fixed 64-bit words: SplitMix64's output from the state ``seed``."""
    counter = np.arange(1, count + 1, dtype=np.uint64)
    start = np.array([seed & 0xFFFF_FFFF_FFFF_FFFF], dtype=np.uint64)
    return mix(start + counter * np.uint64(_STEP))


def code_points(text: str) -> NDArray[np.uint32]:
    """The code points of ``text``, one each; lone surrogates too."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def span_hashes(
    values: NDArray[np.unsignedinteger], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> Hashes:
    """Hashes of ``values[start:end]`` for many spans.

    Args:
        values: ``(length,)``, code points or hashes.
        starts: ``(spans,)``.
        ends: ``(spans,)``, not before ``starts``.

    Returns:
        ``(spans,)`` uint64; equal spans, wherever they stand, have equal hashes.
    """
    size = 1 << max(10, len(values).bit_length())
    powers, inverses = _powers(size)
    sums = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(mix(values.astype(np.uint64) + np.uint64(1)) * powers[: len(values)], out=sums[1:])
    return mix((sums[ends] - sums[starts]) * inverses[starts])


def unit(*parts: str | int) -> float:
    """A number in [0, 1) that depends on ``parts`` and nothing else."""
    digest = hashlib.blake2b(
        "\0".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=8
    ).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)
