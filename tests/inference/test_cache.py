"""Reading in pieces and writing token by token computes what one forward pass computes."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperclova.inference.cache import DecodeAttention, KeyValueCache, PrefillAttention
from hyperclova.inference.runner import PackedLinear, Runner
from hyperclova.model import GPT
from hyperclova.model.directory import load_model

CONTEXT = 128


@pytest.fixture(scope="module")
def runner(tiny_model_directory: Path) -> Runner:
    return Runner(tiny_model_directory, device="cpu")


@pytest.fixture(scope="module")
def model(tiny_model_directory: Path) -> GPT:
    return load_model(tiny_model_directory)


def read(runner: Runner, cache: KeyValueCache, ids: list[int]) -> torch.Tensor:
    begin = cache.length
    positions = torch.arange(begin, begin + len(ids))[None]
    hidden = runner.hidden(torch.tensor([ids]), positions, PrefillAttention(cache, len(ids)))
    cache.advance(len(ids))
    return runner.project(hidden[0])


def fresh(runner: Runner) -> KeyValueCache:
    return KeyValueCache(runner.config, runner.dtype, runner.device)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.lists(st.integers(0, 479), min_size=8, max_size=60),
            st.lists(st.integers(1, 20), min_size=1, max_size=4),
        ),
        min_size=1,
        max_size=5,
    )
)
@torch.inference_mode()
def test_logits_equal_those_of_one_forward_pass(
    runner: Runner, model: GPT, rows: list[tuple[list[int], list[int]]]
) -> None:
    caches, rests, found = [], [], []
    for ids, pieces in rows:
        cache = fresh(runner)
        logits = []
        for piece in pieces:
            part = ids[cache.length : cache.length + piece][: len(ids) - 4 - cache.length]
            if part:
                logits.append(read(runner, cache, part))
        caches.append(cache)
        rests.append(ids[cache.length :])
        found.append(logits)
    # The rest of each row, token by token beside the others, rows leaving as they end.
    for step in range(max(map(len, rests))):
        active = [row for row, rest in enumerate(rests) if step < len(rest)]
        hidden = runner.hidden(
            torch.tensor([[rests[row][step]] for row in active]),
            torch.tensor([[caches[row].length] for row in active]),
            DecodeAttention([caches[row] for row in active]),
        )
        logits = runner.project(hidden[:, 0])
        for place, row in enumerate(active):
            caches[row].advance(1)
            found[row].append(logits[place : place + 1])
    for (ids, _), logits in zip(rows, found, strict=True):
        expected = model(torch.tensor([ids]))[0]
        torch.testing.assert_close(torch.cat(logits), expected, atol=1e-4, rtol=1e-5)


@torch.inference_mode()
def test_copies_go_their_own_ways(runner: Runner, model: GPT) -> None:
    prompt = [5, 77, 300, 12]
    cache = fresh(runner)
    read(runner, cache, prompt)
    twin = cache.copy()
    for each, token in ((cache, 9), (twin, 400)):
        logits = read(runner, each, [token])
        expected = model(torch.tensor([[*prompt, token]]))[0, -1:]
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-5)


def test_the_context_is_a_limit(runner: Runner) -> None:
    cache = fresh(runner)
    cache.reserve(CONTEXT)
    with pytest.raises(ValueError, match="129 tokens do not fit into a context of 128"):
        cache.reserve(CONTEXT + 1)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 16, 70])
def test_packed_matrices_multiply_as_plain_ones(rows: int) -> None:
    layer = torch.nn.Linear(96, 250)
    if not PackedLinear.available(layer.weight):
        pytest.skip("this torch has no oneDNN")
    x = torch.randn(2, rows, 96, generator=torch.Generator().manual_seed(0))
    packed = PackedLinear(layer.weight, layer.bias)
    torch.testing.assert_close(packed(x), layer(x))


def test_bfloat16_runs_with_float32_logits(tiny_model_directory: Path, model: GPT) -> None:
    runner = Runner(tiny_model_directory, device="cpu", dtype=torch.bfloat16)
    ids = [5, 77, 300, 12]
    with torch.inference_mode():
        logits = read(runner, fresh(runner), ids)
        expected = model(torch.tensor([ids]))[0]
    assert logits.dtype == torch.float32
    similarity = torch.nn.functional.cosine_similarity(logits, expected)
    assert similarity.min() > 0.99
