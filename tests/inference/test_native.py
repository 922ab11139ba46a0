"""Kernels that are compiled where they run: built once, the same whatever the instructions, and
done without where they cannot be built."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from hyperclova.inference.attention import Span
from hyperclova.inference.cache import CHUNK, Allocator, KeyValues
from hyperclova.inference.native import build, linear, load
from hyperclova.inference.native.attention import NativePositions
from hyperclova.inference.native.decoder import NativeDecoder
from hyperclova.inference.native.linear import NativeFloatLinear, NativeInt8Linear
from hyperclova.inference.native.openmp import openmp_path
from hyperclova.inference.pieces import Piece
from hyperclova.inference.positions import TorchPositions
from hyperclova.inference.protocol import Precision
from hyperclova.inference.runner import Runner
from hyperclova.model import GPT, GPTConfig
from hyperclova.model.directory import save_model
from hyperclova.model.mup import BaseShape

needs_kernels = pytest.mark.skipif(load() is None, reason="no kernels can be built here")
SCRIPT = "from hyperclova.inference.native import load; print(load() is not None)"


def loads(cache: Path, **environment: str) -> bool:
    """Whether a new process finds kernels."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "XDG_CACHE_HOME": str(cache), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    return done.stdout.strip() == "True"


@needs_kernels
def test_kernels_are_built_once(tmp_path: Path) -> None:
    assert loads(tmp_path)
    (built,) = (tmp_path / "hyperclova" / "kernels").iterdir()
    before = built.stat()
    assert loads(tmp_path)
    assert [*(tmp_path / "hyperclova" / "kernels").iterdir()] == [built]
    assert built.stat().st_mtime_ns == before.st_mtime_ns


def test_without_a_compiler_there_are_none(tmp_path: Path) -> None:
    assert not loads(tmp_path, CC="no-such-compiler")
    assert not (tmp_path / "hyperclova" / "kernels").exists()


def test_a_compiler_that_fails_is_done_without(tmp_path: Path) -> None:
    assert not loads(tmp_path, CC="false")


def test_they_can_be_declined(tmp_path: Path) -> None:
    assert not loads(tmp_path, HYPERCLOVA_NATIVE="0")


def test_a_cache_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not loads(tmp_path / "file")


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ctypes.CDLL:
    """The kernels for processors without AVX-512, which this one can run, too."""
    if load() is None:
        pytest.skip("no kernels can be built here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    runtime = openmp_path()
    assert runtime is not None
    options = ("-mno-avx512f", "-mno-avxvnni")
    library = ctypes.CDLL(str(build.build(os.environ.get("CC") or "cc", runtime, options)))
    build._declare(library)
    assert (library.panel_outputs(), library.weight_limit()) == (32, 63)
    return library


@pytest.mark.parametrize("rows", [1, 2, 3, 70])
def test_older_processors_compute_with_7_bits(
    older: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(linear, "load", lambda: older)
    generator = torch.Generator().manual_seed(rows)
    weight = torch.randint(-63, 64, (45, 130), generator=generator)
    x = torch.randint(-127, 128, (rows, 130), generator=generator)
    weight[:, 0], x[:, 0] = 63, 127  # the largest magnitudes: so that nothing is rounded
    weight[7], x[0] = 63, 127  # all products at their largest: pairs of them must fit
    found = NativeInt8Linear(weight.float(), None)(x.float())
    torch.testing.assert_close(found, (x @ weight.T).float(), rtol=1e-5, atol=1e-2)
    bias = torch.randn(45, generator=generator)
    activated = NativeInt8Linear(weight.float(), bias, "gelu")(x.float() / 1000)
    expected = functional.gelu(found / 1000 + bias, approximate="tanh")
    torch.testing.assert_close(activated, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("outputs", [1, 45, 64, 130])
def test_older_processors_sum_floats_in_the_same_order(
    older: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch, outputs: int
) -> None:
    generator = torch.Generator().manual_seed(outputs)
    weight = torch.randn(outputs, 700, generator=generator)
    bias = torch.randn(outputs, generator=generator)
    x = torch.randn(200, 700, generator=generator)
    expected = NativeFloatLinear(weight, bias)(x)
    monkeypatch.setattr(linear, "load", lambda: older)
    layer = NativeFloatLinear(weight, bias)
    for rows in (1, 2, 3, 4, 5, 191, 200):
        assert torch.equal(layer(x[:rows]), expected[:rows])
    activated = NativeFloatLinear(weight, bias, "gelu")(x)
    exact = functional.gelu(expected.double(), approximate="tanh").float()
    torch.testing.assert_close(activated, exact, atol=1e-6, rtol=1e-6)


@needs_kernels
@settings(max_examples=60, deadline=None)
@given(
    inputs=st.integers(1, 70) | st.sampled_from([511, 512, 513, 1100]),
    outputs=st.integers(1, 140),
    rows=st.integers(1, 14) | st.sampled_from([191, 192, 193, 400]),
    threads=st.integers(1, 3),
    seed=st.integers(0, 2**32),
)
def test_float_products_of_any_shape(
    inputs: int, outputs: int, rows: int, threads: int, seed: int
) -> None:
    """As exact as sums in float32 are; a row's bits depend on no other row, nor on threads."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, inputs, generator=generator)
    bias = torch.randn(outputs, generator=generator)
    x = torch.randn(rows, inputs, generator=generator)
    layer = NativeFloatLinear(weight, bias)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = layer(x)
    finally:
        torch.set_num_threads(before)
    exact = functional.linear(x.double(), weight.double(), bias.double())
    magnitude = functional.linear(x.double().abs(), weight.double().abs(), bias.double().abs())
    # Each addition may round off half of the last of 24 bits.
    assert ((found - exact).abs() <= inputs * 2.0**-24 * magnitude).all()
    for begin in {0, rows // 2, rows - 1}:
        for end in {begin + 1, (begin + rows + 1) // 2, rows}:
            assert torch.equal(layer(x[begin:end]), found[begin:end])


@needs_kernels
@pytest.mark.parametrize("activation", ["none", "gelu"])
def test_what_is_no_number_stays_in_its_row(activation: linear.Activation) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.rand(70, 33, generator=generator), torch.randn(70, generator=generator)
    layer = NativeFloatLinear(weight, bias, activation)
    x = torch.randn(9, 33, generator=generator)
    expected = layer(x)
    x[2, 32], x[5, 0] = torch.nan, torch.inf
    found = layer(x)
    assert found[2].isnan().all()
    assert (found[5] == torch.inf).all()
    others = [0, 1, 3, 4, 6, 7, 8]
    assert torch.equal(found[others], expected[others])
    weight[69, 3] = torch.nan  # in a panel that is not full
    found = NativeFloatLinear(weight, bias, activation)(x)
    assert found[:, 69].isnan().all()
    assert torch.equal(found[others, :69], expected[others, :69])


@needs_kernels
@pytest.mark.parametrize("kind", [NativePositions, TorchPositions])
@pytest.mark.parametrize("width", [3, 16, 64, 80])
def test_positions_attend_to_what_stands_before_them(
    kind: Callable[..., NativePositions | TorchPositions], width: int
) -> None:
    """Sequences that end at the beginning, in the middle and at the end of a chunk; the scores of
    one of them are far from each other."""
    config = GPTConfig(50, context_length=3 * CHUNK, layers=2, width=4 * width, heads=4)
    generator = torch.Generator().manual_seed(width)
    positions, expected = [], []
    lengths = [0, 1, 5, CHUNK - 1, CHUNK, CHUNK + 7, 3 * CHUNK - 1]
    together = 3 * torch.randn(3, 4, len(lengths), width, generator=generator)
    together[0, :, 2] *= 30
    for token, length in enumerate(lengths):
        cache = KeyValues(Allocator(config, torch.float32, torch.device("cpu")))
        cache.reserve(length + 1)
        for chunk in cache.chunks:
            chunk.store.normal_(generator=generator)
        query, key, value = together[:, :, token : token + 1]
        place = length % CHUNK
        positions.append(Piece(token, 1, cache.chunks[: length // CHUNK + 1], place))
        keys, values = torch.cat([chunk.store[1] for chunk in positions[-1].chunks], dim=2)
        keys = torch.cat([keys[:, :length], key], dim=1)
        values = torch.cat([values[:, :length], value], dim=1)
        attended = functional.scaled_dot_product_attention(
            query.double(), keys.double(), values.double()
        )
        expected.append(attended.float().transpose(0, 1))
    found = torch.empty(len(lengths), 4, width)
    query, key, value = (each[None] for each in together)
    kind(positions).attend(1, query, key, value, found)
    torch.testing.assert_close(found, torch.cat(expected), atol=1e-5, rtol=1e-5)
    for token, position in enumerate(positions):
        kept = position.chunks[-1].store[1, :, :, position.place]
        assert torch.equal(kept, together[1:, :, token])


@needs_kernels
def test_positions_do_not_depend_on_company_or_threads() -> None:
    config = GPTConfig(50, context_length=2 * CHUNK, layers=1, width=64, heads=4)
    generator = torch.Generator().manual_seed(0)
    caches = [KeyValues(Allocator(config, torch.float32, torch.device("cpu"))) for _ in range(5)]
    for cache in caches:
        cache.reserve(2 * CHUNK)
        for chunk in cache.chunks:
            chunk.store.normal_(generator=generator)
    rows = torch.randn(3, 1, 4, 5, 16, generator=generator)
    positions = [Piece(n, 1, cache.chunks, 37 * n) for n, cache in enumerate(caches)]

    def attend(chosen: list[Piece]) -> torch.Tensor:
        found = torch.empty(5, 4, 16)
        NativePositions(chosen).attend(0, *rows, found)
        return found[[position.token for position in chosen]]

    together = attend(positions)
    assert torch.equal(torch.cat([attend([each]) for each in positions]), together)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            assert torch.equal(attend(positions[::-1]), together.flip(0))
    finally:
        torch.set_num_threads(threads)


@needs_kernels
@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("heads", [1, 4, 12])
def test_a_step_at_once_gives_the_bits_of_a_step_layer_by_layer(
    tmp_path: Path, heads: int, precision: Precision
) -> None:
    config = GPTConfig(70, context_length=2 * CHUNK, layers=3, width=36, heads=heads)
    model = GPT(config, seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    save_model(model, tmp_path, end_of_text_id=0)
    runner = Runner(tmp_path, "cpu", precision)
    decoder = runner._decoder
    assert decoder is not None

    def steps() -> list[torch.Tensor]:
        caches = [
            KeyValues(Allocator(config, torch.float32, torch.device("cpu"))) for _ in range(7)
        ]
        lengths = [1, 2, 63, 64, CHUNK - 2, CHUNK, CHUNK + 9]
        states = []
        read = [(cache, [5] * length) for cache, length in zip(caches, lengths, strict=True)]
        for spans in [read] + [[(cache, [9 + n]) for cache in caches] for n in range(4)]:
            for cache, ids in spans:
                cache.reserve(len(ids))
            ids = [each for _, ids in spans for each in ids]
            places = [cache.length + n for cache, ids in spans for n in range(len(ids))]
            written = spans is not read
            spans = [Span(cache, len(ids), written) for cache, ids in spans]
            states.append(runner.states(ids, places, spans))
        return states

    with torch.inference_mode():
        at_once = steps()
        runner._decoder = None
        assert all(map(torch.equal, at_once, steps()))


@needs_kernels
@pytest.mark.parametrize("change", [{"query_key_norm": True}, {"base": BaseShape(20, 4)}])
def test_models_that_the_kernel_does_not_know(change: dict[str, Any]) -> None:
    config = GPTConfig(70, context_length=64, layers=1, width=36, heads=4)
    assert NativeDecoder.available(config)
    assert not NativeDecoder.available(replace(config, **change))


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_the_kernels_run_where_they_can(tmp_path: Path, precision: Precision) -> None:
    config = GPTConfig(70, context_length=64, layers=1, width=36, heads=4)
    save_model(GPT(config, seed=1), tmp_path, end_of_text_id=0)
    runner = Runner(tmp_path, "cpu", precision)
    ours = load() is not None and precision != "bfloat16"
    assert (runner._decoder is not None) == ours
    assert isinstance(runner._head, linear.NativeLinear) == ours
    if ours:  # the matrices as they were loaded are not kept beside the packed ones
        assert [name for name, _ in runner._model.named_parameters()] == [
            "token_embedding.weight",
            "position_embedding.weight",
        ]


@needs_kernels
def test_a_float_model_is_the_model(tmp_path: Path) -> None:
    config = GPTConfig(70, context_length=64, layers=2, width=36, heads=4)
    model = GPT(config, seed=1)
    save_model(model, tmp_path, end_of_text_id=0)
    tokens = [3, 1, 4, 1, 5, 9, 2, 6]
    with torch.inference_mode():
        runner = Runner(tmp_path, "cpu", "float32")
        cache = runner.sequence()
        cache.reserve(len(tokens))
        states = runner.states(tokens, range(len(tokens)), [Span(cache, len(tokens))])
        expected = model(torch.tensor([tokens]))[0]
        torch.testing.assert_close(runner.project(states), expected, atol=1e-5, rtol=1e-5)
