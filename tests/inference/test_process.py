"""The engine in a process of its own: what it answers, and how it lives and dies."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from hyperclova.errors import UserError
from hyperclova.inference import Engine
from hyperclova.inference.gather import gather
from hyperclova.inference.process import EngineProcess
from hyperclova.inference.protocol import Chunk, EngineBusy, EngineDied, Request, Sampling

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]

# More continuations than any test waits for; only cancelling ends it.
ENDLESS = Request("옛날 옛적에", max_tokens=100, n=100_000)
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
