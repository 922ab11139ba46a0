"""Decoding steps of fixed shapes give what sequences give that attend each by itself."""

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hyperclova.errors import UserError
from hyperclova.inference.attention import Span
from hyperclova.inference.cache import CHUNK, KeyValues
from hyperclova.inference.pool import SCRATCH
from hyperclova.inference.protocol import Decoding
from hyperclova.inference.rows import GatheredRows
from hyperclova.inference.runner import Runner
from hyperclova.inference.static import StaticDecoder, Step

LENGTHS = [1, 2, 63, 64, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 600]


def runner_of(directory: Path, decoding: Decoding, rows: int = 16) -> Runner:
    return Runner(directory, "cpu", "float32", decoding=decoding, rows=rows)


def step(runner: Runner, work: Sequence[tuple[KeyValues, Sequence[int]]]) -> Tensor:
    """Read the next ids of several sequences; the states after them."""
    spans = [Span(cache, len(ids)) for cache, ids in work]
    for span in spans:
        span.cache.reserve(span.tokens)
    positions = [span.cache.length + place for span in spans for place in range(span.tokens)]
    with torch.inference_mode():
        return runner.states([each for _, ids in work for each in ids], positions, spans)


def texts(runner: Runner, lengths: Sequence[int]) -> list[Tensor]:
    """The states of prompts, and of five steps behind them, in which sequences join and leave."""
    caches = [runner.sequence() for _ in lengths]
    prompts = [[(7 * place + 3 * length) % 480 for place in range(length)] for length in lengths]
    states = [step(runner, list(zip(caches, prompts, strict=True)))]
    for turn in range(5):
        running = caches[turn % 2 :: 2] if turn < 3 and len(caches) > 1 else caches
        states.append(step(runner, [(cache, [turn + 5 * n]) for n, cache in enumerate(running)]))
    return states


@pytest.mark.parametrize("lengths", [LENGTHS, LENGTHS[:1], LENGTHS[3:6]])
def test_states_are_those_of_sequences_by_themselves(
    long_model_directory: Path, lengths: list[int]
) -> None:
    expected = texts(runner_of(long_model_directory, "spans"), lengths)
    found = texts(runner_of(long_model_directory, "static"), lengths)
    for left, right in zip(expected, found, strict=True):
        torch.testing.assert_close(right, left, atol=2e-4, rtol=2e-4)


def test_tokens_are_written_beside_prompts_and_soft_prompts(long_model_directory: Path) -> None:
    table = torch.randn(3, 64, generator=torch.Generator().manual_seed(0)) * 0.1

    def mixed(decoding: Decoding) -> Tensor:
        runner = runner_of(long_model_directory, decoding, rows=2)
        written = [runner.sequence() for _ in range(2)]
        step(runner, [(cache, range(20 + n)) for n, cache in enumerate(written)])
        # Two tokens, a prompt of one, one of a soft prompt's row and a token, one of many.
        spans = [Span(cache, 1) for cache in written]
        spans += [Span(runner.sequence(), count) for count in (1, 2, 300)]
        for span in spans:
            span.cache.reserve(span.tokens)
        positions = [span.cache.length + place for span in spans for place in range(span.tokens)]
        ids = [place % 470 for place in range(len(positions))]
        with torch.inference_mode():
            return runner.states(ids, positions, spans, [3, 100, 101], [table])

    torch.testing.assert_close(mixed("static"), mixed("spans"), atol=2e-4, rtol=2e-4)


def test_a_step_touches_its_own_places_and_scratch(long_model_directory: Path) -> None:
    runner = runner_of(long_model_directory, "static")
    assert runner._pool is not None
    store = runner._pool.store
    caches = [runner.sequence() for _ in range(3)]
    step(runner, [(cache, [1] * (CHUNK - 1 + n)) for n, cache in enumerate(caches)])
    before = store.clone()
    step(runner, [(cache, [2]) for cache in caches])
    changed = (store != before).any(dim=-1).any(dim=-1).any(dim=0).any(dim=0)  # (chunks, CHUNK)
    expected = {(cache.chunks[-1].index, (cache.length - 1) % CHUNK) for cache in caches}
    found = {(chunk, place) for chunk, place in changed.nonzero().tolist() if chunk != SCRATCH}
    assert found == expected


def test_what_is_not_finite_stays_with_its_own(long_model_directory: Path) -> None:
    """A soft prompt may overflow; who stands beside it, or has its memory next, must not see it."""
    runner = runner_of(long_model_directory, "static")
    assert runner._pool is not None
    lost = runner.sequence()
    step(runner, [(lost, range(100))])
    for chunk in lost.chunks:
        chunk.store.fill_(float("nan"))
    expected = texts(runner_of(long_model_directory, "static"), LENGTHS)
    beside = runner.sequence()
    step(runner, [(beside, range(60))])
    assert step(runner, [(lost, [1]), (beside, [1])])[1].isfinite().all()
    del lost, beside, chunk
    for left, right in zip(expected, texts(runner, LENGTHS), strict=True):
        torch.testing.assert_close(right, left)


# -- recording -------------------------------------------------------------------------------------


def decode(decoder: StaticDecoder, runner: Runner, lengths: Sequence[int]) -> Tensor:
    """One token behind each of some prompts."""
    caches = [runner.sequence() for _ in lengths]
    step(runner, [(cache, [4] * length) for cache, length in zip(caches, lengths, strict=True)])
    for cache in caches:
        cache.reserve(1)
    tables = [[chunk.index for chunk in cache.chunks] for cache in caches]
    with torch.inference_mode():
        return decoder.states([9] * len(caches), list(lengths), tables).clone()


class Recorder:
    """Stands for a device's graphs: runs a step to record it, counts replays."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.recorded = self.replayed = 0
        self._fail_at = fail_at

    def __call__(self, step: Step) -> Step:
        if self.recorded == self._fail_at:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.recorded += 1
        step()

        def replay() -> Tensor:
            self.replayed += 1
            return step()

        return replay


def decoder_of(runner: Runner, recorder: Recorder, rows: int) -> StaticDecoder:
    assert runner._pool is not None
    return StaticDecoder(runner._model, runner._pool, rows, GatheredRows, recorder)


def test_a_step_is_recorded_once_for_each_size(long_model_directory: Path) -> None:
    runner = runner_of(long_model_directory, "static")
    recorder = Recorder()
    decoder = decoder_of(runner, recorder, 6)
    sizes = set()
    for rows in (1, 2, 3, 4, 5, 6):
        for longest in (10, 300, 600):
            found = decode(decoder, runner, [longest, *[5] * (rows - 1)])
            alone = decode(decoder, runner, [longest])
            torch.testing.assert_close(found[:1], alone, atol=1e-4, rtol=1e-4)
            sizes.add(({3: 4, 5: 6}.get(rows, rows), longest // CHUNK))
    assert recorder.recorded == len(sizes) == 12
    assert recorder.replayed == 36


def test_steps_run_unrecorded_where_recording_fails(
    long_model_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runner = runner_of(long_model_directory, "static")
    recorder = Recorder(fail_at=2)
    decoder = decoder_of(runner, recorder, 8)
    with caplog.at_level(logging.WARNING, "hyperclova"):
        first = decode(decoder, runner, [10])
        decode(decoder, runner, [300])
        assert recorder.replayed == 2
        for rows in (2, 3, 6):
            found = decode(decoder, runner, [10] * rows)
            torch.testing.assert_close(found[:1], first, atol=1e-4, rtol=1e-4)
    assert torch.equal(decode(decoder, runner, [10]), first)
    assert recorder.replayed == recorder.recorded == 2
    (record,) = caplog.records
    assert "cannot be recorded" in record.message
    assert "not permitted when stream is capturing" in record.message


# -- the kernel in Triton --------------------------------------------------------------------------

KERNEL = Path(__file__).with_name("paged_kernel.py")


def test_the_kernel_reads_chunks_where_they_are() -> None:
    """On Triton's interpreter, which runs kernels on a CPU."""
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, str(KERNEL)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


# -- who decodes how -------------------------------------------------------------------------------


def test_ways_that_a_device_does_not_have(tiny_model_directory: Path) -> None:
    with pytest.raises(UserError, match="decoding graphs is not for cpu: use spans or static"):
        Runner(tiny_model_directory, "cpu", decoding="graphs")
    assert Runner(tiny_model_directory, "cpu").decoding == "spans"
