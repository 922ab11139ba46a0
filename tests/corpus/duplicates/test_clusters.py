"""Components, and which document stays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperclova.corpus.duplicates import components, keep_best

EDGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60)


def by_search(edges: list[tuple[int, int]], nodes: int) -> list[int]:
    label = list(range(nodes))
    changed = True
    while changed:
        changed = False
        for a, b in edges:
            low = min(label[a], label[b])
            changed |= label[a] != low or label[b] != low
            label[a] = label[b] = low
    return label


@settings(max_examples=40, deadline=None)
@given(EDGES)
def test_components_are_those_of_a_plain_search(edges: list[tuple[int, int]]) -> None:
    found = components(np.array(edges, dtype=np.int64).reshape(-1, 2), 31)
    assert found.tolist() == by_search(edges, 31)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_long_chain_is_one_component(seed: int) -> None:
    nodes = 30_000
    order = np.random.default_rng(seed).permutation(nodes)
    label = components(np.stack((order[1:], order[:-1]), axis=1), nodes)
    assert not label.any()


def test_a_chain_keeps_its_best() -> None:
    pairs = np.array([[10, 20], [20, 30], [40, 50]], dtype=np.uint64)
    dropped = keep_best(pairs, np.array([3.0, 1.0, 5.0, 2.0, 2.0]))
    assert dropped.tolist() == [[10, 30], [20, 30], [50, 40]]  # of equals the smallest number


def test_rank_by_several_fields() -> None:
    pairs = np.array([[1, 2], [2, 3]], dtype=np.uint64)
    rank = np.array(
        [(1, 900, 5), (1, 900, 7), (0, 9_999, 9)],
        dtype=[("curated", "u1"), ("characters", "u4"), ("content", "u8")],
    )
    assert keep_best(pairs, rank).tolist() == [[1, 2], [3, 2]]


@settings(max_examples=40, deadline=None)
@given(EDGES, st.permutations(range(31)), st.randoms(use_true_random=False))
def test_neither_order_nor_numbering_of_documents_matters(
    edges: list[tuple[int, int]], renumbered: list[int], rng
) -> None:
    edges = [(a, b) for a, b in edges if a != b]
    pairs = np.array(edges, dtype=np.uint64).reshape(-1, 2)
    quality = np.array([(n * 7 % 5, n) for n in range(31)], dtype=[("q", "i4"), ("content", "i4")])
    first = keep_best(pairs, quality[np.unique(pairs).astype(int)])

    shuffled = [rng.choice(((a, b), (b, a))) for a, b in edges]
    rng.shuffle(shuffled)
    twice = np.array(shuffled + shuffled[:5], dtype=np.int64).reshape(-1, 2)
    new_number = np.array(renumbered, dtype=np.uint64)
    old_number = np.argsort(renumbered)
    again = new_number[twice]
    second = keep_best(again, quality[old_number[np.unique(again).astype(int)]])
    assert {tuple(row) for row in first.tolist()} == {
        tuple(row) for row in old_number[second.astype(int)].tolist()
    }


def test_ranks_must_match_documents() -> None:
    with pytest.raises(ValueError, match="3 ranks for 2 documents"):
        keep_best(np.array([[1, 2]], dtype=np.uint64), np.ones(3))


def test_no_pairs_nothing_dropped() -> None:
    assert keep_best(np.zeros((0, 2), dtype=np.uint64), np.zeros(0)).shape == (0, 2)
