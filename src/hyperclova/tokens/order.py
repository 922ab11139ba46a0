"""Sample order as a pure function of (seed, step): nothing to store, nothing to replay.

A keyed permutation of ``0 .. size - 1`` that can be evaluated at any index: a four-round Feistel
network on the smallest even number of bits that covers ``size``, walked until it lands inside
(Black and Rogaway 2002, "cycle walking"; fewer than four steps on average). So the order of an
epoch of 10^11 samples costs no memory and any step can be reached at once, on any world size.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.uint64]


def key(*parts: int | str) -> int:
    """A 64-bit key from numbers and names, the same on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def permute(indices: Indices, size: int, seed: int) -> Indices:
    """Where each index goes in the permutation of ``range(size)`` named by ``seed``.

    Args:
        indices: any shape, each below ``size``.
        seed: from :func:`key`.

    Raises:
        ValueError: ``size`` is below 1 or an index is not below it.
    """
    if size < 1:
        raise ValueError(f"cannot permute {size} items")
    values = np.asarray(indices, dtype=np.uint64)
    if values.size and int(values.max()) >= size:
        raise ValueError(f"index {int(values.max())} is outside 0 .. {size - 1}")
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    keys = [np.uint64(key(seed, round_number)) for round_number in range(4)]
    result = _feistel(values, half, keys)
    outside = result >= size
    while outside.any():
        result[outside] = _feistel(result[outside], half, keys)
        outside = result >= size
    return result


def _feistel(values: Indices, half: int, keys: list[np.uint64]) -> Indices:
    shift, mask = np.uint64(half), np.uint64((1 << half) - 1)
    left, right = values >> shift, values & mask
    for round_key in keys:
        left, right = right, left ^ (_mix(right ^ round_key) & mask)
    mixed: Indices = (left << shift) | right
    return mixed


def _mix(values: Indices) -> Indices:
    """SplitMix64's finaliser (Steele et al. 2014); arithmetic is modulo 2^64 on purpose."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))
