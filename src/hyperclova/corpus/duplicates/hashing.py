"""The hash under shingles and signatures: the same on every machine, run and Python."""

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_STEP = 0x9E3779B97F4A7C15


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
