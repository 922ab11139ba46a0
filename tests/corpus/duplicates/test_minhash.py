"""Signatures: agreement as the formula says, and no dependence on who is signed with whom."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperclova.corpus.duplicates import MinHash, Shingles, collision_probability, shingles

SETS = st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=40), min_size=1, max_size=8)


def several(sets: list[list[int]]) -> Shingles:
    hashes = np.array([value for one in sets for value in one], dtype=np.uint64)
    return Shingles(hashes, np.cumsum([0, *map(len, sets)]))


@settings(max_examples=40, deadline=None)
@given(SETS, st.randoms(use_true_random=False))
def test_a_batch_gives_what_each_document_gives_alone(sets: list[list[int]], rng) -> None:
    minhash = MinHash(7, 3)
    together = minhash.sign(several(sets))
    for keys, values in zip(together, sets, strict=True):
        rng.shuffle(values)  # the order of shingles and their repetition mean nothing
        alone = minhash.band_keys(np.array(values + values[:3], dtype=np.uint64))
        np.testing.assert_array_equal(keys, alone)


@settings(max_examples=40, deadline=None)
@given(SETS)
def test_only_documents_with_too_few_shingles_have_key_zero(sets: list[list[int]]) -> None:
    keys = MinHash(4, 2).sign(several(sets), fewest=3)
    for row, values in zip(keys, sets, strict=True):
        assert (row == 0).all() if len(values) < 3 else (row != 0).all()


def test_texts_batched_or_not() -> None:
    texts = ["비가 오면 우산을 쓴다.", "", "ㅋㅋ", "긴 글 " * 5_000, "비가오면 우산을 쓴다"]
    minhash = MinHash(20, 6)
    keys = minhash.band_keys_batch(texts, 5)
    for row, text in zip(keys, texts, strict=True):
        np.testing.assert_array_equal(row, minhash.band_keys(shingles(text, 5)))
    np.testing.assert_array_equal(keys[0], keys[4])  # spacing does not count


def test_keys_never_change() -> None:
    # Signatures may be written by one run and read by another.
    keys = MinHash(2, 3).band_keys(shingles("봄이 왔다고 모두 말한다", 5))
    assert keys.tolist() == [16845962768083681281, 7072552033556430841]


def test_another_seed_gives_other_keys() -> None:
    values = np.arange(100, dtype=np.uint64)
    assert not (MinHash(20, 6).band_keys(values) == MinHash(20, 6, seed=1).band_keys(values)).any()


@pytest.mark.parametrize("size", [12, 60, 600])
@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8, 0.9])
def test_bands_agree_as_often_as_the_formula_says(size: int, similarity: float) -> None:
    trials, bands, rows = 600, 20, 6
    shared = round(2 * size * similarity / (1 + similarity))
    similarity = shared / (2 * size - shared)
    rng = np.random.default_rng(size)
    union = rng.integers(0, 2**64, (trials, 2 * size - shared), dtype=np.uint64)
    minhash = MinHash(bands, rows)
    starts = np.arange(trials + 1) * size
    left = minhash.sign(Shingles(union[:, :size].reshape(-1), starts))
    right = minhash.sign(Shingles(union[:, -size:].reshape(-1), starts))
    equal = left == right
    chance = similarity**rows
    # Bands of one pair are not quite independent: four standard errors of twice the variance.
    assert abs(equal.mean() - chance) < 4 * np.sqrt(2 * chance / (trials * bands))
    expected = collision_probability(similarity, bands, rows)
    error = np.sqrt(max(expected * (1 - expected), 0.01) / trials)
    assert abs(equal.any(axis=1).mean() - expected) < 4 * error


def test_bands_and_rows_must_be_positive() -> None:
    with pytest.raises(ValueError, match="0 bands of 6 rows"):
        MinHash(0, 6)
