"""Ramps: steps as a pure function of their number, over the same tokens."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperclova.pretraining.ramp import Ramp, Steps, check, recut


@st.composite
def ramps(draw: st.DrawFn, final: int) -> Ramp:
    values = sorted(draw(st.sets(st.sampled_from([1, 2, 4, 8, 16]).filter(lambda v: v < final))))
    lengths = [draw(st.integers(1, 300)) for _ in values]
    return tuple((value, sum(lengths[: n + 1])) for n, value in enumerate(values))


@given(
    tokens=st.integers(1, 2000),
    batch_ramp=ramps(final=32),
    sequence_ramp=ramps(final=16),
)
def test_steps_follow_one_another_and_change_where_they_are_told_to(
    tokens: int, batch_ramp: Ramp, sequence_ramp: Ramp
) -> None:
    steps = Steps(tokens, 32, 16, batch_ramp, sequence_ramp)
    seen = 0
    for step in range(steps.count):
        portion = steps.portion(step)
        assert portion.before == seen
        expected = [value for value, until in batch_ramp if seen < until]
        assert portion.batch_tokens == (expected or [32])[0]
        expected = [value for value, until in sequence_ramp if seen < until]
        assert portion.sequence_length == (expected or [16])[0]
        seen = portion.after
    assert seen == steps.tokens
    if steps.count > 1:
        assert tokens - 32 < seen <= tokens


def test_without_ramps_all_steps_are_alike() -> None:
    steps = Steps(1000, 96, 16)
    assert (steps.count, steps.tokens) == (10, 960)
    assert steps.portion(7).before == 7 * 96
    assert Steps(5, 96, 16).count == 1  # a run has at least one step


def test_a_ramp_ends_where_the_tokens_end() -> None:
    steps = Steps(100, 64, 16, batch_ramp=((32, 1000),))
    assert (steps.count, steps.tokens) == (3, 96)


def test_shorter_sequences_are_the_same_tokens() -> None:
    windows = torch.arange(3 * 8).view(3, 8) * 10
    windows = torch.cat([windows, windows[:, -1:] + 1], dim=1)  # (3, 8 + 1)
    short = recut(windows, 4)
    assert short.shape == (6, 5)
    assert torch.equal(short[:, :-1].flatten(), windows[:, :-1].flatten())
    assert torch.equal(short[:, 1:].flatten(), windows[:, 1:].flatten())
    assert torch.equal(recut(windows, 8), windows)


@pytest.mark.parametrize(
    ("ramp", "message"),
    [
        (((4, 100, 7),), "must be a list of pairs"),
        (((8, 100), (4, 200)), "values must grow"),
        (((4, 200), (8, 100)), "numbers of tokens must grow"),
        (((64, 100),), "stay below the run's 32"),
        (((0, 100),), "values must grow"),
    ],
)
def test_what_is_no_ramp_is_refused(ramp: Ramp, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check("batch_ramp", ramp, 32)
