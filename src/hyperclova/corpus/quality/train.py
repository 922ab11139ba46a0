"""Training the quality classifier: encyclopedia against crawled text (paper, appendix A.1).

Length and layout would tell the two apart and say nothing of quality, so both are taken away
before training: short documents of a kind are joined into pages, and of every page one window is
seen, its length drawn from the same distribution for both classes, at the beginning or anywhere.
"""

import heapq
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hyperclova.corpus.documents import Document, read_documents
from hyperclova.corpus.hashing import unit
from hyperclova.corpus.quality.features import BUCKETS, LIMIT, SHARES, extract
from hyperclova.corpus.quality.model import QualityModel
from hyperclova.errors import UserError

SHORTEST_WINDOW = 20
"""Characters; the longest is :data:`~hyperclova.corpus.quality.features.LIMIT`."""
FEWEST_PAGES = 20
"""Of each class, below which training makes no sense."""
_TEST, _CALIBRATION = 0.1, 0.2
_ANYWHERE = 0.5
_HANGUL = re.compile("[가-힣]")


@dataclass(frozen=True, slots=True)
class Text:
    """A labelled text."""

    id: str
    group: str
    """Where it is from: ``source, licence``."""
    text: str
    good: bool


def gather(paths: Iterable[Path], good: bool, characters: int, seed: int = 0) -> list[Text]:
    """A random sample of the documents of ``paths``.

    Args:
        paths: document files.
        good: label of all of them.
        characters: so many are taken of each group, whole documents in a random order that
            depends on their ids and ``seed`` alone.

    Raises:
        UserError: see :func:`hyperclova.corpus.documents.read_documents`.
    """
    kept: dict[str, list[tuple[float, str, str]]] = {}
    sizes: dict[str, int] = {}
    for document in read_documents(paths):
        group, text = _group(document), document.text
        if not text.strip():
            continue
        heap = kept.setdefault(group, [])
        heapq.heappush(heap, (-unit("sample", seed, document.id), document.id, text))
        sizes[group] = sizes.get(group, 0) + len(text)
        while sizes[group] > characters and len(heap) > 1:
            sizes[group] -= len(heapq.heappop(heap)[2])
    return [
        Text(identifier, group, text, good)
        for group in sorted(kept)
        for _, identifier, text in sorted(kept[group], reverse=True)
    ]


def _group(document: Document) -> str:
    licence = document.meta.get("licence")
    return f"{document.source}, {licence}" if licence else document.source


def split(texts: Iterable[Text]) -> tuple[list[Text], list[Text], list[Text]]:
    """Training, calibration and test texts, 80, 10 and 10 %, by a hash of their ids."""
    parts: tuple[list[Text], list[Text], list[Text]] = ([], [], [])
    for text in texts:
        place = unit("quality", text.id)
        parts[2 if place < _TEST else 1 if place < _CALIBRATION else 0].append(text)
    return parts


def windows(texts: Iterable[Text], seed: int = 0) -> Iterator[Text]:
    """One window of each page; see the module's docstring. Short texts of a group are joined.

    A window without Hangul, of which the classifier knows nothing, is left out.
    """
    return (window for window in _windows(texts, seed) if korean(window.text))


def korean(text: str) -> bool:
    """Whether there is Hangul in ``text``."""
    return _HANGUL.search(text) is not None


def _windows(texts: Iterable[Text], seed: int) -> Iterator[Text]:
    page: list[Text] = []
    length = wanted = 0
    for text in texts:
        if page and page[0].group != text.group:
            yield _window(page, wanted, seed)
            page = []
        if not page:
            spread = math.log(LIMIT / SHORTEST_WINDOW)
            wanted = int(SHORTEST_WINDOW * math.exp(spread * unit("length", seed, text.id)))
            length = 0
        page.append(text)
        length += len(text.text) + 1
        if length > wanted:
            yield _window(page, wanted, seed)
            page = []
    if page:
        yield _window(page, wanted, seed)


def _window(page: Sequence[Text], length: int, seed: int) -> Text:
    first = page[0]
    text = "\n".join(part.text for part in page)
    start, room = 0, max(0, len(text) - length)
    if unit("anywhere", seed, first.id) < _ANYWHERE:
        start = int(room * unit("start", seed, first.id))
    return Text(first.id, first.group, text[start : start + length], first.good)


def fit(texts: Sequence[Text], regularisation: float = 1.0) -> QualityModel:
    """Logistic regression over ``texts``, not calibrated.

    Both classes weigh alike. Groups of a class weigh as the square root of their size, so that
    one large kind does not drown the others.

    Args:
        texts: windows of both classes.
        regularisation: the inverse of the strength of the L2 penalty.

    Raises:
        UserError: too few of one class.
    """
    from sklearn.linear_model import LogisticRegression

    labels = np.array([text.good for text in texts])
    for name, count in (("positive", labels.sum()), ("negative", (~labels).sum())):
        if count < FEWEST_PAGES:
            raise UserError(
                f"only {count} {name} pages to train on; give at least {FEWEST_PAGES}, better "
                "thousands: more files, or longer ones"
            )
    regression = LogisticRegression(
        C=regularisation,
        solver="liblinear",
        max_iter=200,
        tol=1e-3,
        random_state=0,
    )
    regression.fit(_matrix(texts), labels, _weights(texts))
    coefficients = regression.coef_[0].astype(np.float32)
    return QualityModel(
        # In the precision in which they are stored, so that what is measured is what is used.
        weights=coefficients[:BUCKETS].astype(np.float16).astype(np.float32),
        dense=coefficients[BUCKETS:],
        bias=float(regression.intercept_[0]),
    )


def _weights(texts: Sequence[Text]) -> Any:
    """Weights with mean 1: classes alike, groups of a class by the square root of their size."""
    sizes = Counter((text.good, text.group) for text in texts)
    totals = {
        good: sum(math.sqrt(size) for (label, _), size in sizes.items() if label is good)
        for good in (False, True)
    }
    return np.array(
        [
            len(texts) / (2 * totals[text.good] * math.sqrt(sizes[text.good, text.group]))
            for text in texts
        ]
    )


def _matrix(texts: Sequence[Text]) -> Any:
    """Features of ``texts`` as a sparse matrix ``(texts, BUCKETS + len(SHARES))``."""
    from scipy import sparse

    features = [extract(text.text) for text in texts]
    pointers = np.cumsum([0, *(f.indices.size for f in features)])
    counts = sparse.csr_matrix(
        (
            np.ones(pointers[-1], np.float32),
            np.concatenate([f.indices for f in features]).astype(np.int32),
            pointers,
        ),
        shape=(len(features), BUCKETS),
    )
    counts.sum_duplicates()
    norms = np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1)).ravel())
    scaled = sparse.diags((1 / np.maximum(norms, 1)).astype(np.float32)) @ counts
    dense = np.stack([f.dense for f in features])
    assert dense.shape[1] == len(SHARES)
    return sparse.hstack([scaled, sparse.csr_matrix(dense)], format="csr")


def calibrate(model: QualityModel, texts: Sequence[Text]) -> QualityModel:
    """``model`` with slope and offset fitted to texts that it was not trained on (Platt 1999)."""
    from sklearn.linear_model import LogisticRegression

    if len({text.good for text in texts}) < 2:
        raise UserError("no calibration texts of one of the classes; give more documents")
    decisions = np.array([[model.decision(extract(text.text))] for text in texts])
    labels = np.array([text.good for text in texts])
    sigmoid = LogisticRegression(C=1e6, class_weight="balanced").fit(decisions, labels)
    return QualityModel(
        weights=model.weights,
        dense=model.dense,
        bias=model.bias,
        slope=float(sigmoid.coef_[0, 0]),
        offset=float(sigmoid.intercept_[0]),
    )
