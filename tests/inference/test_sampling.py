"""Sampling against a direct, slow reading of the definition."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from hyperclova.inference.device_sampling import choose_on_device
from hyperclova.inference.protocol import ModelInformation, Request, Sampling
from hyperclova.inference.sampling import Chooser, choose, uniform
from hyperclova.inference.validation import check_request

VOCABULARY = 24
both_ways = pytest.mark.parametrize("choose", [choose, choose_on_device])
Choose = Callable[[torch.Tensor, Sequence[Chooser]], list[int]]
IDS = st.integers(0, VOCABULARY - 1)
# Few distinct values, so that ties are common.
LOGITS = st.lists(
    st.one_of(st.sampled_from([-2.0, 0.0, 0.5, 3.0]), st.floats(-9, 9, width=32)),
    min_size=VOCABULARY,
    max_size=VOCABULARY,
)
SAMPLINGS = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.01, 0.3, 1.0, 2.0]),
    top_k=st.sampled_from([0, 1, 2, 5, VOCABULARY, 1000]),
    top_p=st.sampled_from([1e-6, 0.1, 0.5, 0.9, 0.999, 1.0]),
    repetition_penalty=st.sampled_from([0.8, 1.0, 1.1, 5.0]),
    frequency_penalty=st.sampled_from([-0.5, 0.0, 0.7]),
    presence_penalty=st.sampled_from([-1.0, 0.0, 1.5]),
    logit_bias=st.dictionaries(IDS, st.sampled_from([-100.0, -1.0, 2.0, 100.0]), max_size=3),
    seed=st.integers(-(2**63), 2**64),
)


def expected(
    logits: list[float], sampling: Sampling, prompt: list[int], said: list[int], number: float
) -> int:
    scores = list(logits)
    for token in set(prompt) | set(said):
        penalty = sampling.repetition_penalty
        scores[token] = scores[token] / penalty if scores[token] > 0 else scores[token] * penalty
    for token in set(said):
        count = said.count(token)
        scores[token] -= sampling.frequency_penalty * count + sampling.presence_penalty
    for token, bias in sampling.logit_bias.items():
        scores[token] += bias
    best_first = sorted(range(VOCABULARY), key=lambda token: (-scores[token], token))
    if sampling.temperature == 0:
        return best_first[0]
    # Scores that differ by less than exp can tell are equal or not as rounding has it.
    ordered = [scores[token] for token in best_first]
    assume(all(high == low or high - low > 1e-9 for high, low in pairwise(ordered)))
    best = scores[best_first[0]]
    weights = [math.exp((score - best) / sampling.temperature) for score in scores]
    kept = best_first[: sampling.top_k] if sampling.top_k else best_first
    if sampling.top_p < 1:
        aim = sampling.top_p * math.fsum(weights[token] for token in kept)
        count = 0
        reached = 0.0
        while reached < aim:
            reached = math.fsum(weights[token] for token in kept[: count + 1])
            # On the very edge of the nucleus rounding decides; there is no right answer.
            assume(abs(reached - aim) > 1e-9 * aim)
            count += 1
        kept = kept[:count]
    total = math.fsum(weights[token] for token in kept)
    reached = 0.0
    for token in sorted(kept):
        reached += weights[token] / total
        assume(abs(reached - number) > 1e-9)
        if reached > number:
            return token
    return max(kept)


@both_ways
@given(
    rows=st.lists(st.tuples(LOGITS, SAMPLINGS, st.lists(IDS, max_size=6)), min_size=1, max_size=4)
)
def test_every_row_follows_the_definition(
    choose: Choose,
    rows: list[tuple[list[float], Sampling, list[int]]],
) -> None:
    choosers = [Chooser(sampling, sampling.seed or 0, prompt, 8) for _, sampling, prompt in rows]
    said: list[list[int]] = [[] for _ in rows]
    matrix = torch.tensor([logits for logits, _, _ in rows], dtype=torch.float32)
    before = matrix.clone()
    for index in range(4):
        tokens = choose(matrix, choosers)
        for row, (logits, sampling, prompt) in enumerate(rows):
            number = uniform(sampling.seed or 0, index, 1)[0]
            assert tokens[row] == expected(logits, sampling, prompt, said[row], number)
            said[row].append(tokens[row])
    assert torch.equal(matrix, before)


def test_a_seed_means_the_same_numbers_forever() -> None:
    assert uniform(0, 0, 1)[0] == np.random.Generator(np.random.Philox(key=0)).random()
    assert uniform(42, 7, 1) == uniform(42 + 2**64, 7, 1) == uniform(42, 0, 8)[7]
    assert uniform(42, 0, 3).round(12).tolist() == [
        0.820198147861,
        0.368128450909,
        0.876797967446,
    ]


def test_numbers_are_spread_evenly() -> None:
    numbers = np.concatenate([uniform(seed, 0, 100) for seed in range(100)])
    counts, _ = np.histogram(numbers, bins=20, range=(0.0, 1.0))
    # 500 are expected in each; six standard deviations are 131.
    assert counts.min() > 369
    assert counts.max() < 631
    assert np.unique(numbers).size == numbers.size


@both_ways
def test_tiny_temperatures_do_not_overflow(choose: Choose) -> None:
    logits = torch.tensor([[3.0, 80.0, -80.0, 79.0]])
    assert choose(logits, [Chooser(Sampling(temperature=1e-30), 0, [], 1)]) == [1]


@both_ways
def test_a_flat_distribution_keeps_many_candidates(choose: Choose) -> None:
    """top_p must not lose candidates when nothing stands out."""
    logits = torch.zeros(1, 1000)
    drawn = {choose(logits, [Chooser(Sampling(top_p=0.5), seed, [], 1)])[0] for seed in range(3000)}
    assert drawn <= set(range(500))  # the lower id comes first among equals
    assert len(drawn) > 450


EXTREMES = st.sampled_from([-1e30, -1e-30, 0.0, 1e-30, 1e30])


@both_ways
@given(
    logits=LOGITS,
    top_k=st.sampled_from([0, 1, 5]),
    top_p=st.sampled_from([1e-300, 0.5, 1.0]),
    temperature=st.sampled_from([5e-324, 1e-50, 1e-30, 1.0, 1e30, 1e308]),
    repetition_penalty=st.sampled_from([1e-30, 1.0, 1e30]),
    frequency_penalty=EXTREMES,
    presence_penalty=EXTREMES,
    logit_bias=st.dictionaries(IDS, EXTREMES),
)
def test_no_values_that_are_allowed_overflow(
    choose: Choose, logits: list[float], **options: Any
) -> None:
    """Such an overflow would end all requests of the step: no token may be found."""
    sampling = Sampling(seed=3, **options)
    model = ModelInformation("", 64, VOCABULARY, 0, "", 0, 8, "float32")
    check_request(Request("", sampling=sampling), model)
    chooser = Chooser(sampling, 3, (0, 1, 2), limit=64)
    with np.errstate(invalid="raise"):
        for _ in range(4):
            (token,) = choose(torch.tensor([logits]), [chooser])
            assert 0 <= token < VOCABULARY


@both_ways
def test_next_to_no_temperature_is_none(choose: Choose) -> None:
    """Though float32 cannot divide by it."""
    logits = torch.tensor([[0.0, 2.0, 1.0, 2.5, 2.4999]])
    for temperature in (5e-324, 1e-50, 1e-40, 1e-30):
        for top_k in (0, 3):
            chooser = Chooser(Sampling(temperature, top_k, seed=1), 1, (), limit=1)
            assert choose(logits, [chooser]) == [3]


def test_both_ways_choose_the_same_of_many() -> None:
    drawn = np.random.default_rng(0)
    samplings = [
        Sampling(0.0),
        Sampling(0.0, logit_bias={7: 5.0, 9: -100.0}),
        Sampling(0.8, top_k=40),
        Sampling(1.0, top_p=0.9, repetition_penalty=1.2),
        Sampling(1.3, top_k=300, top_p=0.5, frequency_penalty=0.3),
        Sampling(1.0),
        Sampling(0.7, presence_penalty=0.5, logit_bias={3: 2.0}),
    ]
    here, there = (
        [Chooser(one, seed, [1, 2, 3], 100) for seed, one in enumerate(samplings)] for _ in range(2)
    )
    for _ in range(60):
        logits = torch.from_numpy(drawn.normal(0, 3, (len(samplings), 8000)).astype(np.float32))
        assert choose_on_device(logits, there) == choose(logits, here)
