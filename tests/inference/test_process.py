"""The engine in a process of its own: what it answers, and how it lives and dies."""

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
import pytest

from hyperclova.errors import UserError
from hyperclova.inference import Engine, wire
from hyperclova.inference.gather import gather
from hyperclova.inference.process import EngineProcess
from hyperclova.inference.protocol import (
    Chunk,
    EngineBusy,
    EngineDied,
    GradientRequest,
    Prompt,
    Request,
    Sampling,
    Score,
    Statistics,
)
from hyperclova.inference.soft_prompt import SoftPrompt

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]

# More continuations than any test waits for; only cancelling ends it.
ENDLESS = Request("옛날 옛적에", max_tokens=100, n=4096)
SHORT = Request("오늘 아침에는", 12, Sampling(seed=4), n=2, logprobs=2, echo=True)


@pytest.fixture(scope="module")
def run() -> Iterator[Run[Any]]:
    """Runs coroutines on one event loop, to which the process below belongs."""
    with asyncio.Runner() as runner:

        def bounded(work: Coroutine[Any, Any, T]) -> T:
            return runner.run(asyncio.wait_for(work, 120))

        yield bounded


@pytest.fixture(scope="module")
def process(tiny_model_directory: Path, run: Run[Any]) -> Iterator[EngineProcess]:
    # Two rows, so that an endless request leaves none for others.
    process = EngineProcess(tiny_model_directory, "작은 모형", rows=2)
    run(process.start())
    yield process
    run(process.stop())


async def collect(process: EngineProcess, request: Request) -> list[Chunk]:
    return [chunk async for chunk in process.stream(request)]


async def begin(process: EngineProcess) -> AsyncGenerator[Chunk, None]:
    """An endless stream that has given its first chunk."""
    stream = process.stream(ENDLESS)
    await anext(stream)
    return stream


def test_requests_wait_until_the_model_is_loaded(
    process: EngineProcess, run: Run[Any], engine: Engine
) -> None:
    assert (process.state, process.model) == ("loading", None)
    chunks = run(collect(process, SHORT))
    assert process.state == "ready"
    assert process.model is not None
    assert process.model.name == "작은 모형"
    assert process.model.context_length == 128
    assert [gather(chunks, 2)] == engine.generate([SHORT])


def test_many_requests_at_once_each_get_their_own(
    process: EngineProcess, run: Run[Any], engine: Engine
) -> None:
    requests = [
        Request(prompt, 10, Sampling(seed=seed, logit_bias={7: 1.5}), stop=("다",))
        for seed, prompt in enumerate(["옛날", "서울의 인구는", "", "한글은", "뷁😀"])
    ]

    async def ask() -> list[list[Chunk]]:
        return await asyncio.gather(*(collect(process, request) for request in requests))

    answers = [gather(chunks, 1) for chunks in run(ask())]
    assert answers == engine.generate(requests)


def test_scores_are_those_of_the_engine(
    process: EngineProcess, run: Run[Any], engine: Engine
) -> None:
    score = run(process.score("옛날 옛적에", " 깊은 산골에"))
    expected = engine.score("옛날 옛적에", " 깊은 산골에")
    assert score.tokens == expected.tokens
    assert score.logprobs == pytest.approx(expected.logprobs, abs=1e-4)


def soft(seed: int, rows: int, width: int = 64) -> SoftPrompt:
    table = np.random.default_rng(seed).normal(0, 0.12, (rows, width))
    return SoftPrompt(table.astype(np.float32))


def test_choices_are_scored_as_by_the_engine(
    process: EngineProcess, run: Run[Any], engine: Engine
) -> None:
    endings = [" 깊은 산골에", " 호랑이가", ""]
    for prompt in ("옛날 옛적에", "", (5, "옛날", soft(0, 7), 9)):
        assert run(process.score_choices(prompt, endings)) == engine.score_choices(prompt, endings)
    assert run(process.score_choices("옛날", [])) == []


def test_embeddings_are_those_of_the_engine(
    process: EngineProcess, run: Run[Any], engine: Engine
) -> None:
    prompts: list[Prompt] = ["옛날 옛적에", "", (5, 6), (soft(0, 7), "옛날")]
    for pooling in ("mean", "last"):
        found = run(process.embed(prompts, pooling))
        assert (found.dtype, found.shape) == (np.float32, (4, 64))
        assert np.array_equal(found, engine.embed(prompts, pooling))
    assert run(process.embed([])).shape == (0, 64)


def test_gradients_are_those_of_the_engine(
    process: EngineProcess, run: Run[Any], engine: Engine
) -> None:
    requests = [
        GradientRequest((soft(1, 4), "이 영화는 재미있다."), "긍정", choices=("부정",)),
        GradientRequest((soft(2, 3), 5), (6, 7), "all"),
    ]
    for found, expected in zip(
        run(process.input_gradients(requests)), engine.input_gradients(requests), strict=True
    ):
        assert found.loss == pytest.approx(expected.loss, abs=1e-5)
        assert found.logprobs == pytest.approx(expected.logprobs, abs=1e-5)
        assert found.gradient.shape == expected.gradient.shape
        np.testing.assert_allclose(found.gradient, expected.gradient, atol=1e-4)
        assert found.gradient.flags.writeable  # for whoever optimises with it


def test_soft_prompts_are_read_in_streams(
    process: EngineProcess, run: Run[Any], engine: Engine
) -> None:
    request = Request((soft(3, 70), "오늘은", 9), 8, Sampling(seed=2), logprobs=1, echo=True)
    assert gather(run(collect(process, request)), 1) == engine.generate([request])[0]
    with pytest.raises(UserError, match="width 32; the model's embeddings have width 64"):
        run(collect(process, Request((soft(0, 2, width=32),))))
    with pytest.raises(UserError, match="width 32"):
        run(process.embed([(soft(0, 2, width=32),)]))


def test_statistics_count_what_is_done(process: EngineProcess, run: Run[Any]) -> None:
    async def scenario() -> list[Statistics]:
        prompt = tuple(range(1, 101))
        found = [await process.statistics()]
        for _ in range(2):
            chunks = await collect(process, Request(prompt, 5, Sampling(seed=1)))
            found.append(await process.statistics())
        assert chunks[-1].completion_tokens <= 5
        stream = await begin(process)
        found.append(await process.statistics())
        await stream.aclose()
        return found

    before, first, second, during = run(scenario())
    assert first.read_tokens - before.read_tokens == 100
    assert second.read_tokens == first.read_tokens
    assert second.reused_tokens - first.reused_tokens == 100
    assert second.cached_tokens == first.cached_tokens == before.cached_tokens + 100
    assert second.cache_bytes > before.cache_bytes
    assert 0 < first.written_tokens - before.written_tokens <= 5
    assert (second.running, second.waiting) == (0, 0)
    assert during.running == 2  # of the endless choices, in as many rows
    assert during.waiting == 1  # the others, as one


def test_deadlines_go_over_the_wire(process: EngineProcess, run: Run[Any]) -> None:
    chunks = run(collect(process, Request("오늘", 5, n=2, deadline=1e-9)))
    assert [chunk.finish_reason for chunk in chunks] == ["deadline", "deadline"]


def test_requests_arrive_as_they_were_sent() -> None:
    """Every field, none of which has its default."""
    sampling = Sampling(0.5, 3, 0.9, 1.2, 0.1, 0.2, {7: -1.5, 8: 100.0}, seed=2**63 - 1)
    prompt = (5, "옛날 😀", soft(0, 3), 0)
    request = Request(prompt, 9, sampling, ("다", "\n"), 3, 4, True, False, 2.5, "가나다")
    for value, plain in ((request, Request(prompt)), (sampling, Sampling())):
        for field in dataclasses.fields(value):
            if field.name != "prompt":
                assert getattr(value, field.name) != getattr(plain, field.name), field.name
    frame = wire.pack(wire.request_to_plain(request))
    assert wire.length(frame[: wire.HEADER]) == len(frame) - wire.HEADER
    assert wire.request_from_plain(wire.unpack(frame[wire.HEADER :])) == request


def test_the_process_computes_in_the_precision_asked_for(tiny_model_directory: Path) -> None:
    async def scenario() -> list[Score]:
        process = EngineProcess(tiny_model_directory, precision="int8", cache_bytes=0)
        await process.start()
        assert (await process.wait_ready()).precision == "int8"
        scores = [await process.score("옛날 옛적에", " 깊은 산골에") for _ in range(2)]
        statistics = await process.statistics()
        assert (statistics.cached_tokens, statistics.reused_tokens) == (0, 0)
        await process.stop()
        return scores

    scores = asyncio.run(scenario())
    with Engine(tiny_model_directory, precision="int8") as engine:
        assert scores == [engine.score("옛날 옛적에", " 깊은 산골에")] * 2


def test_refusals_come_back_as_user_errors(process: EngineProcess, run: Run[Any]) -> None:
    with pytest.raises(UserError, match=r"top_p is 3\.0"):
        run(collect(process, Request("옛날", sampling=Sampling(top_p=3.0))))
    with pytest.raises(UserError, match="prompt has 300 tokens"):
        run(collect(process, Request((5,) * 300)))
    with pytest.raises(UserError, match="surrogate"):
        run(collect(process, Request("옛날\udc00")))
    with pytest.raises(UserError, match="64 bits"):
        run(collect(process, Request("옛날", max_tokens=2**70)))
    with pytest.raises(UserError, match="prompt has"):
        run(process.score("가" * 300, "나"))
    with pytest.raises(UserError, match="prompt has 129 tokens"):
        run(process.embed([(5,) * 129]))
    with pytest.raises(UserError, match="prompt holds no soft prompt"):
        run(process.input_gradients([GradientRequest((5, 6), "나")]))
    assert process.state == "ready"


@pytest.mark.parametrize("way", ["close", "cancel"])
def test_leaving_a_stream_frees_its_rows(process: EngineProcess, run: Run[Any], way: str) -> None:
    async def leave() -> None:
        if way == "close":
            async with aclosing(await begin(process)):
                pass
        else:
            task = asyncio.create_task(collect(process, ENDLESS))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        # Endless requests take all rows, so this comes to an end only if they are gone.
        assert (await collect(process, SHORT))[-1].finish_reason

    run(leave())


@pytest.mark.parametrize("kind", ["embed", "score_choices"])
def test_leaving_a_question_ends_its_work(process: EngineProcess, run: Run[Any], kind: str) -> None:
    async def leave() -> None:
        before = (await process.statistics()).read_tokens
        question: Coroutine[Any, Any, Any]
        if kind == "embed":
            question = process.embed([(7,) * 100] * 20_000)
        else:
            question = process.score_choices((7,) * 100, [" 옛적에 호랑이가"] * 20_000)
        task = asyncio.create_task(question)
        while (await process.statistics()).read_tokens == before:
            assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while (statistics := await process.statistics()).running or statistics.waiting:
            pass
        assert statistics.read_tokens - before < 60_000
        assert (await collect(process, SHORT))[-1].finish_reason

    run(leave())


def test_a_killed_engine_says_so_and_comes_back(process: EngineProcess, run: Run[Any]) -> None:
    async def scenario() -> None:
        before = await collect(process, SHORT)
        streams = [asyncio.create_task(collect(process, ENDLESS)) for _ in range(2)]
        await asyncio.sleep(0.2)
        killed = process.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        for stream in streams:
            with pytest.raises(EngineDied, match="killed"):
                await stream
        assert process.state == "restarting"
        assert "started again" in process.message
        # Requests that come now wait for the new one.
        assert await collect(process, SHORT) == before
        assert process.state == "ready"
        assert process.pid != killed
        assert not psutil.pid_exists(killed)

    run(scenario())


def test_stopping_ends_the_child_and_its_streams(tiny_model_directory: Path) -> None:
    async def scenario() -> None:
        process = EngineProcess(tiny_model_directory)
        with pytest.raises(EngineDied, match="not been started"):
            await collect(process, SHORT)
        await process.start()
        stream = await begin(process)
        pid = process.pid
        assert pid is not None
        await process.stop()
        assert (process.state, process.pid) == ("stopped", None)
        assert not psutil.pid_exists(pid)  # no zombie either
        with pytest.raises(EngineDied, match="stopped"):
            async for _ in stream:
                pass
        with pytest.raises(EngineDied, match="stopped"):
            await collect(process, SHORT)

    asyncio.run(scenario())


def test_too_many_requests_are_refused(tiny_model_directory: Path) -> None:
    async def scenario() -> None:
        process = EngineProcess(tiny_model_directory, limit=2)
        await process.start()
        waiting = [asyncio.create_task(collect(process, SHORT)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(EngineBusy, match="2 requests are under way"):
            await collect(process, SHORT)
        await process.stop()
        for task in waiting:
            with pytest.raises(EngineDied, match="stopped"):
                await task

    asyncio.run(scenario())


def test_a_model_that_cannot_be_loaded_is_not_tried_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        process = EngineProcess(tmp_path)
        await process.start()
        with pytest.raises(EngineDied, match=r"config\.json: no such file"):
            await collect(process, SHORT)
        assert process.state == "failed"
        assert "config.json: no such file" in process.message
        assert "\n" not in process.message
        await asyncio.sleep(0.5)
        assert (process.state, process.pid) == ("failed", None)
        await process.stop()

    asyncio.run(scenario())


PARENT = """
import asyncio, sys
from hyperclova.inference.process import EngineProcess

async def main():
    process = EngineProcess(sys.argv[1])
    await process.start()
    while process.pid is None:
        await asyncio.sleep(0.01)
    if sys.argv[2] == "ready":
        await process.wait_ready()
    print(process.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("moment", ["loading", "ready"])
def test_the_child_dies_with_its_parent(tiny_model_directory: Path, moment: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tiny_model_directory), moment],
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
    deadline = time.monotonic() + 60
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the child has outlived its parent by a minute"
        time.sleep(0.01)


def test_the_parent_needs_no_torch() -> None:
    code = "import sys, hyperclova.inference.process; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
