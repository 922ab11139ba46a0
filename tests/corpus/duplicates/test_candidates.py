"""Pairs from keys: all of a small group, few of a giant one."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperclova.corpus.duplicates import candidate_pairs, exact_key, exact_pairs
from hyperclova.corpus.duplicates.candidates import LARGEST_GROUP, NEIGHBOURS

KEYED = st.lists(st.integers(0, 5), max_size=40)


def numbers(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint64) * np.uint64(3) + np.uint64(2**40)


@settings(max_examples=40, deadline=None)
@given(KEYED)
def test_all_pairs_of_equal_keys(keys: list[int]) -> None:
    documents = numbers(len(keys))
    pairs = candidate_pairs(np.array(keys, dtype=np.uint64), documents)
    expected = [
        [int(documents[i]), int(documents[j])]
        for i, j in itertools.combinations(range(len(keys)), 2)
        if keys[i] == keys[j] != 0
    ]
    if max((keys.count(key) for key in set(keys) - {0}), default=0) <= LARGEST_GROUP:
        assert pairs.tolist() == expected


@settings(max_examples=40, deadline=None)
@given(KEYED, st.randoms(use_true_random=False))
def test_the_order_of_documents_means_nothing(keys: list[int], rng) -> None:
    documents = numbers(len(keys))
    order = list(range(len(keys)))
    rng.shuffle(order)
    left = candidate_pairs(np.array(keys, dtype=np.uint64), documents)
    right = candidate_pairs(np.array(keys, dtype=np.uint64)[order], documents[order])
    np.testing.assert_array_equal(left, right)


def test_a_giant_group_grows_linearly_and_stays_connected() -> None:
    size = 20_000
    keys = np.full(size, 7, dtype=np.uint64)
    pairs = candidate_pairs(keys, numbers(size))
    assert len(pairs) < (NEIGHBOURS + 1) * size
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    assert (pairs[:, 0] < pairs[:, 1]).all()
    with_first = pairs[pairs[:, 0] == numbers(1)[0]]
    assert len(with_first) == size - 1


def test_in_a_giant_group_those_near_in_the_given_order_meet() -> None:
    size = 4 * LARGEST_GROUP
    order = np.random.default_rng(0).permutation(size).astype(np.uint64)
    pairs = candidate_pairs(np.ones(size, dtype=np.uint64), np.arange(size, dtype=np.uint64), order)
    place = {document: int(place) for document, place in enumerate(order)}
    distances = [abs(place[a] - place[b]) for a, b in pairs.tolist()]
    assert distances.count(1) == size - 1
    assert {
        d for d, (a, b) in zip(distances, pairs.tolist(), strict=True) if place[a] and place[b]
    } == set(range(1, NEIGHBOURS + 1))


def test_numbering_documents_otherwise_gives_the_same_pairs_of_documents() -> None:
    rng = np.random.default_rng(1)
    size = 500
    keys = rng.integers(1, 6, size, dtype=np.uint64)
    content = rng.integers(0, 2**64, size, dtype=np.uint64)
    renumbered = rng.permutation(size).astype(np.uint64)

    def contents(numbering: np.ndarray) -> set[frozenset[int]]:
        of = dict(zip(numbering.tolist(), content.tolist(), strict=True))
        pairs = candidate_pairs(keys, numbering, content)
        return {frozenset((of[a], of[b])) for a, b in pairs.tolist()}

    assert contents(np.arange(size, dtype=np.uint64)) == contents(renumbered)


def test_exact_pairs_are_stars_around_the_smallest_number() -> None:
    texts = ["봄", "여름", "봄", "가을", " 봄\n", "여름", "겨울"]
    keys = np.frombuffer(b"".join(map(exact_key, texts)), dtype="<u8").reshape(-1, 2)
    documents = np.array([60, 50, 40, 30, 20, 10, 0], dtype=np.uint64)
    pairs = exact_pairs(keys, documents)
    assert pairs.tolist() == [[10, 50], [20, 40], [20, 60]]


def test_no_documents_no_pairs() -> None:
    nothing = np.zeros(0, dtype=np.uint64)
    assert candidate_pairs(nothing, nothing).shape == (0, 2)
    assert exact_pairs(nothing.reshape(0, 2), nothing).shape == (0, 2)
