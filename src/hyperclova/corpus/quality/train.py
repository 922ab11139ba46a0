"""Training the quality classifier: encyclopedia against crawled text (paper, appendix A.1).

Length and layout would tell the two apart and say nothing of quality, so both are taken away
before training: short documents of a kind are joined into pages, and of every page one window is
seen, its length drawn from the same distribution for both classes, at the beginning or anywhere.

Subject and register tell them apart, too. So half of what is learned comes from pairs: a window and
a degraded copy of it (:mod:`hyperclova.corpus.quality.degrade`). Only the difference of their
features is seen, in which everything that the two have in common is zero.
"""

import heapq
import math
import random
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hyperclova.corpus.documents import read_documents
from hyperclova.corpus.hashing import unit
from hyperclova.corpus.quality.degrade import DAMAGES
from hyperclova.corpus.quality.features import BUCKETS, LIMIT, SHARES, extract
from hyperclova.corpus.quality.model import QualityModel
from hyperclova.errors import UserError

SHORTEST_WINDOW = 20
"""Characters; the longest is :data:`~hyperclova.corpus.quality.features.LIMIT`."""
FEWEST_PAGES = 20
"""Of each class, below which training makes no sense."""
_TEST, _CALIBRATION = 0.1, 0.2
_ANYWHERE = 0.5
_COPIES = 2
"""Degraded copies of each window, by damages in turn."""
_FROM_PAIRS = 0.5
"""Share of the weight that pairs have in training."""
_HANGUL = re.compile("[가-힣]")


@dataclass(frozen=True, slots=True)
class Text:
    """A labelled text."""

    id: str
    group: str
    """Its kind: the name of the file it is from; of a degraded copy the damage."""
    text: str
    good: bool | None
    """None: neither good nor crawled; only compared with its own degraded copies."""


def gather(paths: Iterable[Path], good: bool | None, characters: int, seed: int = 0) -> list[Text]:
    """A random sample of the documents of ``paths``.

    Args:
        paths: document files, one of each kind of text.
        good: label of all of them.
        characters: so many are taken of each kind, whole documents in a random order that
            depends on their ids and ``seed`` alone.

    Raises:
        UserError: see :func:`hyperclova.corpus.documents.read_documents`.
    """
    texts = []
    for path in paths:
        kind = path.name.partition(".")[0]
        kept: list[tuple[float, str, str]] = []
        size = 0
        for document in read_documents([path]):
            if not document.text.strip():
                continue
            place = -unit("sample", seed, document.id)
            heapq.heappush(kept, (place, document.id, document.text))
            size += len(document.text)
            while size > characters and len(kept) > 1:
                size -= len(heapq.heappop(kept)[2])
        texts += [Text(name, kind, text, good) for _, name, text in sorted(kept, reverse=True)]
    return texts


def split(texts: Iterable[Text]) -> tuple[list[Text], list[Text], list[Text]]:
    """Training, calibration and test texts, 80, 10 and 10 %, by a hash of their ids."""
    parts: tuple[list[Text], list[Text], list[Text]] = ([], [], [])
    for text in texts:
        place = unit("quality", text.id)
        parts[2 if place < _TEST else 1 if place < _CALIBRATION else 0].append(text)
    return parts


def windows(texts: Iterable[Text], seed: int = 0) -> Iterator[Text]:
    """One window of each page; see the module's docstring.

    Short texts of a group are joined, long ones are cut into pages of at most
    :data:`~hyperclova.corpus.quality.features.LIMIT` characters.

    A window without Hangul, of which the classifier knows nothing, is left out.
    """
    return (window for window in _windows(texts, seed) if korean(window.text))


def korean(text: str) -> bool:
    """Whether there is Hangul in ``text``."""
    return _HANGUL.search(text) is not None


def _windows(texts: Iterable[Text], seed: int) -> Iterator[Text]:
    page: list[Text] = []
    length = wanted = 0
    for text in _parts(texts):
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


def _parts(texts: Iterable[Text]) -> Iterator[Text]:
    """Texts, the long ones in parts."""
    for text in texts:
        for number, start in enumerate(range(0, len(text.text), LIMIT)):
            name = f"{text.id}, part {number + 1}" if number else text.id
            yield replace(text, id=name, text=text.text[start : start + LIMIT])


def _window(page: Sequence[Text], length: int, seed: int) -> Text:
    first = page[0]
    text = "\n".join(part.text for part in page)
    start, room = 0, max(0, len(text) - length)
    if unit("anywhere", seed, first.id) < _ANYWHERE:
        start = int(room * unit("start", seed, first.id))
    return Text(first.id, first.group, text[start : start + length], first.good)


def cut(texts: Iterable[Text], length: int, most: int) -> list[Text]:
    """Windows of exactly ``length`` characters, at most ``most`` of each kind."""
    found: list[Text] = []
    counts: Counter[str] = Counter()
    page: list[Text] = []
    for text in texts:
        if page and page[0].group != text.group:
            page = []
        if counts[text.group] == most:
            continue
        page.append(text)
        joined = "\n".join(part.text for part in page)[:length]
        if len(joined) == length:
            if korean(joined):
                counts[text.group] += 1
                found.append(Text(page[0].id, text.group, joined, text.good))
            page = []
    return found


def degraded(texts: Sequence[Text], copies: int, seed: int = 0) -> list[tuple[int, Text]]:
    """Degraded copies of ``texts``, with the index of the original; their group is the damage."""
    found = []
    names = list(DAMAGES)
    for index, text in enumerate(texts):
        for copy in range(copies):
            name = names[(copies * index + copy) % len(names)]
            generator = random.Random(f"{seed} {name} {text.id}")
            worse = DAMAGES[name](text.text, generator)[:LIMIT]
            if korean(worse) and len(worse) >= SHORTEST_WINDOW and worse != text.text:
                found.append((index, Text(text.id, name, worse, False)))
    return found


@dataclass(frozen=True)
class Examples:
    """What is trained on, with features."""

    windows: Sequence[Text]
    copies: Sequence[tuple[int, Text]]
    """From :func:`degraded`."""
    features: Any
    """Sparse, one row for each window and then for each copy."""

    @classmethod
    def of(cls, windows: Sequence[Text], seed: int = 0) -> "Examples":
        """Examples made of ``windows`` and degraded copies of them."""
        copies = degraded(windows, _COPIES, seed)
        return cls(windows, copies, _matrix([*windows, *(copy for _, copy in copies)]))


def fit(
    examples: Examples,
    without: Collection[str] = (),
    regularisation: float = 1.0,
) -> QualityModel:
    """Logistic regression over ``examples``, not calibrated.

    Both classes weigh alike, and so do the kinds of a class. The pairs weigh as much as the classes
    together.

    Args:
        examples: windows of both classes and their degraded copies.
        without: kinds and damages that are left out, for evaluation.
        regularisation: the inverse of the strength of the L2 penalty.

    Raises:
        UserError: too few of one class.
    """
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

    kinds = Counter(
        (text.good, text.group) for text in examples.windows if text.group not in without
    )
    for name, good in (("positive", True), ("negative", False)):
        count = sum(number for (label, _), number in kinds.items() if label is good)
        if count < FEWEST_PAGES:
            raise UserError(
                f"only {count} {name} pages to train on; give at least {FEWEST_PAGES}, better "
                "thousands: more files, or longer ones"
            )
    classes = Counter(label for label, _ in kinds)
    rows = [
        index
        for index, text in enumerate(examples.windows)
        if text.good is not None and text.group not in without
    ]
    chosen = [examples.windows[row] for row in rows]
    weights = [0.5 / classes[t.good] / kinds[t.good, t.group] for t in chosen]
    pairs = [
        (original, len(examples.windows) + index)
        for index, (original, copy) in enumerate(examples.copies)
        if copy.group not in without and examples.windows[original].group not in without
    ]
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    # Every second difference is turned round: both signs are needed, and the better one wins.
    signs = np.where(np.arange(len(pairs)) % 2, 1.0, -1.0)
    differences = sparse.diags(signs) @ (examples.features[first] - examples.features[second])
    share = _FROM_PAIRS if pairs else 0.0
    weight = np.concatenate(
        [(1 - share) * np.array(weights), np.full(len(pairs), share / max(1, len(pairs)))]
    )
    # Differences have no bias: it is a column of its own.
    bias = np.concatenate([np.ones(len(rows)), np.zeros(len(pairs))])[:, None]
    matrix = sparse.hstack(
        [sparse.vstack([examples.features[rows], differences]), sparse.csr_matrix(bias)],
        format="csr",
    )
    labels = np.concatenate([[bool(text.good) for text in chosen], signs > 0])
    regression = LogisticRegression(
        C=regularisation,
        solver="liblinear",
        fit_intercept=False,
        max_iter=200,
        tol=1e-3,
        random_state=0,
    )
    regression.fit(matrix, labels, weight * len(weight))
    coefficients = regression.coef_[0].astype(np.float32)
    return QualityModel(
        # In the precision in which they are stored, so that what is measured is what is used.
        weights=coefficients[:BUCKETS].astype(np.float16).astype(np.float32),
        dense=coefficients[BUCKETS:-1],
        bias=float(coefficients[-1]),
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
    """``model`` with slope and offset fitted to texts that it was not trained on (Platt 1999).

    Good windows are set against crawled ones and degraded copies of the good, which weigh alike.
    """
    from sklearn.linear_model import LogisticRegression

    good = [text for text in texts if text.good]
    crawled = [text for text in texts if text.good is False]
    if not good or not crawled:
        raise UserError("no calibration texts of one of the classes; give more documents")
    worse = [copy for _, copy in degraded(good, 1)]
    groups = (good, crawled, worse)
    decisions = np.array([[model.decision(extract(t.text))] for group in groups for t in group])
    labels = np.concatenate([np.full(len(group), group is good) for group in groups])
    shares = (0.5, 0.25, 0.25)
    weights = np.concatenate(
        [
            np.full(len(group), share / max(1, len(group)))
            for group, share in zip(groups, shares, strict=True)
        ]
    )
    sigmoid = LogisticRegression(C=1e6).fit(decisions, labels, weights * len(labels))
    return QualityModel(
        weights=model.weights,
        dense=model.dense,
        bias=model.bias,
        slope=float(sigmoid.coef_[0, 0]),
        offset=float(sigmoid.intercept_[0]),
    )
