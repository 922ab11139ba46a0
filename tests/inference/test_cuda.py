"""What only a GPU can show: recorded steps, its kernels, its memory.

``python benchmarks/gpu/decode.py`` runs these first; elsewhere they are left out.
"""

import gc
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ties import same_text

from hyperclova.inference import Engine
from hyperclova.inference import pool as pool_module
from hyperclova.inference.attention import Span
from hyperclova.inference.cache import OutOfChunks
from hyperclova.inference.pooled import PooledAttention
from hyperclova.inference.protocol import GradientRequest, Request, Sampling
from hyperclova.inference.rows import GatheredRows
from hyperclova.inference.runner import Runner
from hyperclova.inference.soft_prompt import SoftPrompt
from hyperclova.inference.static import StaticDecoder, StaticStep

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

SHIPPED = Path(__file__).parents[2] / "models" / "hyperclova-small"
PROMPTS = ["옛날 옛적에", "오늘 아침에는 비가", "", "대한민국의 수도는", "이 영화는 정말"]
LONG = tuple(5 + 7 * place % 8000 for place in range(300))
REQUESTS = [
    Request(prompt, max_tokens=40, sampling=Sampling(temperature=0), n=n, logprobs=2)
    for prompt in (*PROMPTS, LONG, LONG[:255])
    for n in (1, 3)
]


def engine(**options: Any) -> Engine:
    return Engine(SHIPPED, **{"device": "cuda", **options})


def decoder_of(engine: Engine) -> StaticDecoder:
    decoder = engine._scheduler.runner._static
    assert decoder is not None
    return decoder


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if each.name.startswith("hyperclova")]


@pytest.fixture(scope="module")
def reference() -> Iterator[Engine]:
    with Engine(SHIPPED, device="cpu", precision="float32") as running:
        yield running


@pytest.mark.parametrize("decoding", ["graphs", "static"])
def test_greedy_texts_are_those_of_a_cpu(reference: Engine, decoding: str) -> None:
    expected = reference.generate(REQUESTS)
    with engine(precision="float32", decoding=decoding) as running:
        for found, each in zip(running.generate(REQUESTS), expected, strict=True):
            same_text(found, each)
        for request, each in zip(REQUESTS, expected, strict=True):  # prompts known, alone
            same_text(running.generate([request])[0], each)
        assert running.statistics().reused_tokens


def test_bfloat16_is_near(reference: Engine) -> None:
    text = " 마음씨 착한 나무꾼이 홀어머니를 모시고 살았습니다."
    expected = reference.score("옛날 옛적에", text).logprobs
    with engine() as running:
        assert running.model.precision == "bfloat16"
        found = running.score("옛날 옛적에", text).logprobs
        np.testing.assert_allclose(found, expected, atol=0.3)
        assert abs(np.mean(found) - np.mean(expected)) < 0.03
        for each in running.generate(REQUESTS):
            assert each.completion_tokens


def test_recorded_steps_say_what_the_same_steps_say(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "hyperclova"):
        with engine(decoding="static") as running:
            expected = running.generate(REQUESTS)
        with engine(decoding="graphs") as running:
            found = running.generate(REQUESTS)
            steps = decoder_of(running)._steps.values()
            assert steps
            assert not any(isinstance(run, StaticStep) for _, run in steps)
    assert not warnings_of(caplog)
    for mine, theirs in zip(found, expected, strict=True):
        same_text(mine, theirs, tolerance=0.1)  # who stands beside whom is a matter of chance


def states(runner: Runner, steps: int) -> list[torch.Tensor]:
    """After some steps of three sequences."""
    caches = [runner.sequence() for _ in range(3)]
    found = []
    for step in range(steps):
        counts = [100, 250, 1] if step == 0 else [1, 1, 1]
        spans = [Span(cache, count) for cache, count in zip(caches, counts, strict=True)]
        for span in spans:
            span.cache.reserve(span.tokens)
        positions = [span.cache.length + at for span in spans for at in range(span.tokens)]
        with torch.inference_mode():
            found.append(runner.states([step + at for at in positions], positions, spans).cpu())
    return found


def test_replaying_gives_the_bits_of_running() -> None:
    of = [states(Runner(SHIPPED, "cuda", decoding=each), 20) for each in ("static", "graphs")]
    assert all(map(torch.equal, *of))


def test_the_kernel_in_triton() -> None:
    pytest.importorskip("triton")
    script = Path(__file__).with_name("paged_kernel.py")
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with engine() as running:
        assert decoder_of(running)._make_rows is not GatheredRows


def test_prompts_take_flash_attention() -> None:
    runner = Runner(SHIPPED, "cuda", "bfloat16")
    cache = runner.sequence()
    cache.reserve(300)
    cache.length = 100
    assert runner._pool is not None
    attend = PooledAttention([Span(cache, 200)], runner._pool)
    inputs = torch.randn(3, 1, 4, 200, 64, dtype=torch.bfloat16, device="cuda")
    with (
        torch.inference_mode(),
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile,
    ):
        attend(0, *inputs)
        torch.cuda.synchronize()
    assert any("flash" in event.key.lower() for event in profile.key_averages())


def test_memory_comes_back() -> None:
    def allocated() -> int:
        gc.collect()
        torch.cuda.synchronize()
        torch._C._cuda_clearCublasWorkspaces()  # one for each stream that there has been
        return torch.cuda.memory_allocated()

    def use() -> None:
        with engine() as running:
            running.generate(REQUESTS)

    use()  # what libraries keep for themselves stays
    before = allocated()
    for _ in range(3):
        use()
        assert allocated() <= before + (1 << 20)


def test_soft_prompts(reference: Engine) -> None:
    width = reference.model.width
    table = np.random.default_rng(0).normal(0, 0.05, (20, width)).astype(np.float32)
    asked = [
        Request(
            (SoftPrompt(table), "이 영화는 정말"),
            max_tokens=20,
            sampling=Sampling(temperature=0),
            logprobs=2,
        )
    ]
    with engine(precision="float32") as running:
        for _ in range(2):  # the second time from the prefix cache
            same_text(running.generate(asked)[0], reference.generate(asked)[0])


def test_recording_beside_another_thread(caplog: pytest.LogCaptureFixture) -> None:
    """Gradients take memory and wait for the GPU while steps are being recorded."""
    request = GradientRequest((PROMPTS[0],), " 깊은 산골 마을에", positions="all")
    with (
        caplog.at_level(logging.WARNING, "hyperclova"),
        engine(rows=32) as running,
        ThreadPoolExecutor(1) as threads,
    ):
        gradients = [threads.submit(running.input_gradients, [request]) for _ in range(20)]
        for n in (1, 2, 4, 8, 16, 32):
            running.generate(PROMPTS[0], max_tokens=20, n=n)
        for each in gradients:
            each.result()
    assert not warnings_of(caplog)


def test_an_engine_outlives_another() -> None:
    """Their graphs share nothing that goes with one of them."""
    with engine() as running:
        expected = running.generate(PROMPTS[0], max_tokens=30, temperature=0).text
        with engine() as other:
            assert other.generate(PROMPTS[0], max_tokens=30, temperature=0).text == expected
        del other
        gc.collect()
        torch.cuda.empty_cache()
        assert running.generate(PROMPTS[0], max_tokens=30, temperature=0).text == expected


def test_a_lack_of_memory_ends_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = 2 * 4 * 256 * 256 * 2  # keys and values, layers, width, positions, bytes
    monkeypatch.setattr(pool_module, "free_memory_of", lambda _: 4 * chunk / pool_module._SHARE)
    with engine() as running:
        asked = Request(LONG[:250], max_tokens=200, sampling=Sampling(logit_bias={0: -100}))

        def ask(_: int) -> bool:
            try:
                running.generate([asked])
            except OutOfChunks:
                return False
            return True

        with ThreadPoolExecutor(2) as threads:
            answered = list(threads.map(ask, range(2)))
        assert any(answered)
        assert ask(0)
