"""Sample order and mixtures: permutations, shares, and nothing but a function of the number."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperclova.errors import UserError
from hyperclova.tokens.mixture import BLOCK, Mixture
from hyperclova.tokens.order import key, permute


@given(size=st.integers(1, 3000), seed=st.integers(0, 2**63))
def test_every_index_goes_somewhere_of_its_own(size: int, seed: int) -> None:
    there = permute(np.arange(size, dtype=np.uint64), size, key(seed))
    assert sorted(there.tolist()) == list(range(size))


@given(size=st.integers(1, 10**12), seed=st.integers(0, 100), data=st.data())
def test_one_index_alone_goes_where_it_goes_among_others(
    size: int, seed: int, data: st.DataObject
) -> None:
    indices = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20))
    together = permute(np.array(indices, np.uint64), size, seed).tolist()
    alone = [int(permute(np.array([index], np.uint64), size, seed)[0]) for index in indices]
    assert together == alone
    assert all(0 <= value < size for value in together)


def test_another_seed_is_another_order() -> None:
    indices = np.arange(1000, dtype=np.uint64)
    first, second = permute(indices, 1000, key(1)), permute(indices, 1000, key(2))
    assert (first == second).mean() < 0.01
    assert (first == indices).mean() < 0.01


def test_order_looks_random() -> None:
    """Neighbours end up unrelated: the rank correlation of index and place is small."""
    size = 100_000
    there = permute(np.arange(size, dtype=np.uint64), size, key(5)).astype(np.float64)
    assert abs(np.corrcoef(np.arange(size), there)[0, 1]) < 0.02
    assert abs(np.corrcoef(there[:-1], there[1:])[0, 1]) < 0.02


def test_indices_outside_are_refused() -> None:
    with pytest.raises(ValueError, match=r"index 10 is outside 0 \.\. 9"):
        permute(np.array([10], np.uint64), 10, 0)
    with pytest.raises(ValueError, match="cannot permute 0"):
        permute(np.array([], np.uint64), 0, 0)


def test_without_weights_every_window_comes_once_before_any_comes_twice() -> None:
    # Sizes that divide a block evenly, so that shares are exact.
    windows = {"wiki": BLOCK // 2, "news": BLOCK // 4, "blog": BLOCK // 4}
    mixture = Mixture(windows, None, seed=1)
    located = mixture.locate(np.arange(BLOCK))
    assert len(set(located)) == BLOCK
    assert {epoch for _, epoch, _ in located} == {0}
    assert {epoch for _, epoch, _ in mixture.locate(np.arange(BLOCK, 2 * BLOCK))} == {1}


@settings(max_examples=15, deadline=None)
@given(
    weights=st.dictionaries(
        st.sampled_from(["wiki", "news", "kin"]), st.floats(0.01, 100), min_size=1
    ),
    seed=st.integers(0, 1000),
)
def test_shares_are_the_weights(weights: dict[str, float], seed: int) -> None:
    windows = {"wiki": 5000, "news": 70, "kin": 3}
    mixture = Mixture(windows, weights, seed)
    total = sum(weights.values())
    located = mixture.locate(np.arange(BLOCK))
    for source in windows:  # rounded to whole samples of a block
        share = sum(name == source for name, _, _ in located) / BLOCK
        assert share == pytest.approx(weights.get(source, 0) / total, abs=1 / BLOCK)


def test_a_small_source_goes_through_whole_epochs_in_new_orders() -> None:
    mixture = Mixture({"kin": 16, "wiki": 10_000}, {"kin": 1, "wiki": 1}, seed=0)
    kin = [place for place in mixture.locate(np.arange(BLOCK)) if place[0] == "kin"]
    assert len(kin) == BLOCK // 2
    by_epoch: dict[int, list[int]] = {}
    for _, epoch, window in kin:
        by_epoch.setdefault(epoch, []).append(window)
    assert len(by_epoch) == BLOCK // 2 // 16
    assert all(sorted(windows) == list(range(16)) for windows in by_epoch.values())


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"novels": 1.0}, r"data\.weights\.novels: no such source; there are wiki"),
        ({"wiki": -1.0}, "must not be negative"),
        ({"wiki": 0.0}, "leaves no source"),
    ],
)
def test_bad_weights_are_refused(weights: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Mixture({"wiki": 10}, weights, seed=0)
