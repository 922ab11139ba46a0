"""The quality classifier: how likely a text is an edited one, not crawled and not degraded."""

import io
import json
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from hyperclova.corpus.quality.features import BUCKETS, SHARES, Features, extract
from hyperclova.errors import UserError

FORMAT = 1
WEIGHTS = "quality.npz"
"""Name of the weights file, in a directory that training writes and in this package."""

Array = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class QualityModel:
    """Logistic regression over hashed n-grams, with Platt's calibration.

    The decision is ``z = bias + weights · x / |x| + dense · s``, where ``x`` counts the n-grams in
    each bucket and ``s`` are the shares; the probability is ``1 / (1 + exp(-(slope z + offset)))``
    (Platt 1999). The classes weighed alike in training: 0.5 means "as much the one as the other",
    whatever the shares of good and bad text in a corpus.
    """

    weights: Array
    """Shape ``(BUCKETS,)``."""
    dense: Array
    """Shape ``(len(SHARES),)``."""
    bias: float
    slope: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if self.weights.shape != (BUCKETS,) or self.dense.shape != (len(SHARES),):
            raise ValueError(
                f"weights of shape {self.weights.shape} and {self.dense.shape}; expected "
                f"({BUCKETS},) and ({len(SHARES)},)"
            )

    def decision(self, features: Features) -> float:
        """``z`` above, before calibration."""
        total = self.bias + float(self.dense @ features.dense)
        indices = features.indices
        if indices.size:
            total += float(self.weights[indices].sum(dtype=np.float64)) / _norm(indices)
        return total

    def score(self, text: str) -> float:
        """Probability, in [0, 1], that ``text`` is edited prose.

        Only Korean is judged: of a text without Hangul nothing is known, and it gets 0.5.
        """
        features = extract(text)
        if not (features.dense[0] or features.dense[1]):
            return 0.5
        z = self.slope * self.decision(features) + self.offset
        # Two forms, so that the exponent never overflows.
        return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))

    def save(self, path: Path) -> None:
        """Write the weights, the n-grams' in half precision. The same model gives the same bytes.

        Raises:
            UserError: the file can't be written.
        """
        header = {"format": FORMAT, "bias": self.bias, "slope": self.slope, "offset": self.offset}
        stream = io.BytesIO()
        np.savez_compressed(
            stream,
            header=np.frombuffer(json.dumps(header).encode(), np.uint8),
            weights=self.weights.astype(np.float16),
            dense=self.dense,
        )
        try:
            path.write_bytes(stream.getvalue())
        except OSError as error:
            raise UserError(f"{path}: can't be written: {error.strerror}") from None

    @classmethod
    def load(cls, path: Path) -> "QualityModel":
        """Read what :meth:`save` wrote.

        Raises:
            UserError: the file is missing, broken or of another format.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: can't be read: {error.strerror}") from None
        try:
            return cls._parse(data)
        except Exception as error:  # numpy and zipfile raise what they like on broken files
            raise UserError(
                f"{path}: not a quality classifier ({error}); train one with "
                "hyperclova corpus train-quality"
            ) from None

    @classmethod
    def _parse(cls, data: bytes) -> "QualityModel":
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            header = json.loads(arrays["header"].tobytes())
            if header["format"] != FORMAT:
                raise ValueError(f"format {header['format']}, expected {FORMAT}")
            return cls(
                weights=arrays["weights"].astype(np.float32),
                dense=arrays["dense"].astype(np.float32),
                bias=float(header["bias"]),
                slope=float(header["slope"]),
                offset=float(header["offset"]),
            )


def _norm(indices: np.ndarray[Any, np.dtype[np.uint32]]) -> float:
    """Euclidean length of the vector of counts."""
    ordered = np.sort(indices)
    starts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    counts = np.diff(starts, prepend=0, append=indices.size)
    return math.sqrt(float(counts @ counts))


@cache
def shipped() -> QualityModel:
    """The classifier that comes with the package (``docs/quality-classifier.md``)."""
    with resources.as_file(resources.files(__package__) / WEIGHTS) as path:
        return QualityModel.load(path)


def score(text: str) -> float:
    """Quality of ``text`` by the shipped classifier, in [0, 1]; see :meth:`QualityModel.score`."""
    return shipped().score(text)
