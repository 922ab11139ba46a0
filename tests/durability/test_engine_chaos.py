"""Clients of every kind at once, many of which leave, and ``kill -9`` for the engine's process.

Every request is answered as it would be alone, or told in words why it is not, and nothing of it
is left. 40 requests by default; the long form, which also says how they ended, is

    HYPERCLOVA_CHAOS=500 pytest --log-cli-level=INFO tests/durability/test_engine_chaos.py
"""

import asyncio
import dataclasses
import gc
import logging
import random
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from pathlib import Path

import psutil
import pytest

import chaos
from chaos import Answer, Choices, Client, Crowd, Embedding, Ledger, Question
from hyperclova.errors import UserError
from hyperclova.inference import Engine, wire
from hyperclova.inference.cache import Chunk
from hyperclova.inference.gather import Gatherer, gather
from hyperclova.inference.prefix import End
from hyperclova.inference.process import EngineProcess
from hyperclova.inference.protocol import EngineBusy, EngineDied, Request, Statistics
from hyperclova.tokenizer import Tokenizer
from interruption import interrupt

logger = logging.getLogger(__name__)

LIMIT = 24
"""Requests under way at once; the bursts are larger."""
KILLS = max(2, chaos.REQUESTS // 100)
CACHE_BYTES = 4 << 20  # a few prompts' worth, so that some are always being dropped
GROWTH = 48 << 20
"""Bytes. Each of the threads that answer questions comes to hold a few MiB of what malloc keeps for
it, and then no more; the prompts of a few hundred requests that were not given back would be more
than that."""


@pytest.fixture(scope="module")
def model(tiny_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chaos.save_roomy_model(tiny_tokenizer, tmp_path_factory.mktemp("models") / "roomy")


@pytest.fixture(scope="module")
def crowd(tiny_tokenizer: Tokenizer, korean_lines: list[str]) -> Crowd:
    return Crowd(chaos.SEED, tiny_tokenizer, korean_lines, width=64)


@pytest.fixture(scope="module")
def clients(crowd: Crowd) -> list[Client]:
    return crowd.clients(chaos.REQUESTS)


@pytest.fixture(scope="module")
def alone(model: Path, clients: list[Client]) -> dict[int, Answer]:
    """What each valid client gets from an engine that has nothing else to do."""
    with Engine(model, cache_bytes=0) as engine:
        return {
            client.number: ask_alone(engine, client.question) for client in clients if client.valid
        }


def ask_alone(engine: Engine, question: Question) -> Answer:
    match question:
        case Request():
            with engine.stream(chaos.timeless(question)) as chunks:
                return gather(chunks, question.n)
        case Choices(prompt, continuations):
            return engine.score_choices(prompt, continuations)
        case Embedding(prompts, pooling):
            return engine.embed(prompts, pooling)
        case _:
            return engine.input_gradients(question.requests)


async def ask(process: EngineProcess, question: Question) -> Answer:
    match question:
        case Choices(prompt, continuations):
            return await process.score_choices(prompt, continuations)
        case Embedding(prompts, pooling):
            return await process.embed(prompts, pooling)
        case Request():
            raise AssertionError("generations are streamed")
        case _:
            return await process.input_gradients(question.requests)


class Storm:
    """Clients that ask an engine's process, and a ledger of how it ended for each.

    Args:
        alone: the right answers.
    """

    def __init__(self, process: EngineProcess, alone: Mapping[int, Answer]) -> None:
        self._process, self._alone = process, alone
        self.ledger = Ledger()

    async def rage(self, bursts: Sequence[Sequence[Client]]) -> None:
        await chaos.send(bursts, self.serve, LIMIT // 3)

    async def serve(self, client: Client) -> None:
        """One client from its coming to its end; it comes again if the engine died."""
        while await self._try(client) == "died":
            pass

    async def _try(self, client: Client) -> str:
        end = "cancelled"
        asking = asyncio.create_task(self._ask(client))
        async with asyncio.timeout(chaos.PATIENCE):
            await asyncio.wait({asking}, timeout=client.seconds)
            if not asking.done():
                asking.cancel()
            try:
                end = await asking
            except asyncio.CancelledError:
                assert asking.cancelled() and client.seconds is not None
        self.ledger.note(end)
        return end

    async def _ask(self, client: Client) -> str:
        part = None
        try:
            if not isinstance(client.question, Request):
                chaos.assert_same(
                    await ask(self._process, client.question), self._alone[client.number]
                )
                return "complete"
            part = Gatherer(client.question.n)
            return await self._follow(client, client.question, part)
        except UserError as error:
            chaos.assert_in_words(error)
            assert not client.valid, (client, error)
            return "refused"
        except EngineBusy as error:
            assert "try again in a moment" in str(error)
            return "busy"
        except EngineDied as error:
            chaos.assert_in_words(error)
            assert "the engine process was killed" in str(error)
            return "died"
        finally:
            if part is not None and client.valid:
                chaos.assert_begins(part.completion(), self._alone[client.number])

    async def _follow(self, client: Client, request: Request, part: Gatherer) -> str:
        pieces = 0
        ended = set()
        async with aclosing(self._process.stream(request)) as chunks:
            async for chunk in chunks:
                assert client.valid, (client, chunk)
                assert chunk.choice not in ended, "nothing follows a choice's end"
                if chunk.finish_reason:
                    ended.add(chunk.choice)
                part.add(chunk)
                pieces += 1
                if pieces == client.pieces:
                    return "closed"
        assert ended == set(range(request.n)), (client, ended)
        whole = part.completion()
        chaos.assert_same(whole, self._alone[client.number])
        late = any(choice.finish_reason == "deadline" for choice in whole.choices)
        assert not late or request.deadline is not None
        return "out of time" if late else "complete"


async def calm(process: EngineProcess) -> Statistics:
    """Wait until nothing is under way, and see that nothing is left of what was."""
    async with asyncio.timeout(chaos.PATIENCE):
        while (now := await process.statistics()).running or now.waiting:
            await asyncio.sleep(0.02)
    assert not process._calls and not process._under_way
    assert now.cache_bytes <= CACHE_BYTES
    return now


def test_every_request_is_answered_or_refused_and_nothing_is_left(
    model: Path, crowd: Crowd, clients: list[Client], alone: dict[int, Answer]
) -> None:
    async def scenario() -> None:
        process = EngineProcess(model, rows=8, cache_bytes=CACHE_BYTES, limit=LIMIT)
        await process.start()

        async def is_ready() -> bool:
            return process.state == "ready"

        storm = Storm(process, alone)
        async with asyncio.TaskGroup() as group:
            group.create_task(storm.rage(crowd.bursts(clients, LIMIT + 6)))
            group.create_task(
                chaos.kill_now_and_then(
                    storm.ledger, len(clients), KILLS, lambda: process.pid, is_ready
                )
            )
        logger.info("killed %d times: %s", KILLS, storm.ledger)
        assert storm.ledger.served == len(clients)
        await calm(process)
        await memory_stays(process, crowd, clients, alone)
        await a_fallen_thread_is_told(process)
        async with asyncio.timeout(chaos.PATIENCE):
            await process.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with nothing_left():
        asyncio.run(scenario())


@contextmanager
def nothing_left() -> Iterator[None]:
    """Checks that this process has neither children nor files nor threads that it had not."""

    def held() -> tuple[int, int, int]:
        return len(own.children()), own.num_fds(), threading.active_count()

    own = psutil.Process()
    before = held()
    yield
    deadline = time.monotonic() + chaos.PATIENCE
    while held() != before and time.monotonic() < deadline:
        time.sleep(0.01)  # threads that have done their work may take a moment to go
    assert held() == before


async def memory_stays(
    process: EngineProcess, crowd: Crowd, clients: Sequence[Client], alone: Mapping[int, Answer]
) -> None:
    """After a storm without death the child holds what it held before it."""
    child = psutil.Process(process.pid)
    patient = [client.patient for client in clients]
    orderly = [patient[at : at + LIMIT // 3] for at in range(0, len(patient), LIMIT // 3)]
    held = []
    for bursts in (orderly, crowd.bursts(clients, LIMIT + 6), orderly):
        storm = Storm(process, alone)
        await storm.rage(bursts)
        await calm(process)
        held.append(chaos.memory(child))
        logger.info("%d MiB after %s", held[-1] >> 20, storm.ledger)
        assert storm.ledger.served == len(clients)
        assert not storm.ledger.ends["died"]
    assert child.pid == process.pid
    assert held[-1] - held[0] < GROWTH


async def a_fallen_thread_is_told(process: EngineProcess) -> None:
    """A fault in one of the child's threads, here by a message that is none, ends the child;
    nobody waits for ever for what that thread would have done."""
    async with aclosing(process.stream(Request("옛날", max_tokens=400, n=1000))) as chunks:
        await anext(chunks)
        assert process._writer is not None
        process._writer.write((1).to_bytes(wire.HEADER, "big") + b"\xc1")
        with pytest.raises(EngineDied, match="ended with status 1"):
            async with asyncio.timeout(chaos.PATIENCE):
                async for _ in chunks:
                    pass
    assert process.state == "restarting"


def test_stopped_at_any_moment_nothing_is_left(model: Path) -> None:
    chance = random.Random(chaos.SEED)
    others = psutil.Process().children()  # of tests before this one

    async def start_and_stop(seconds: float) -> None:
        process = EngineProcess(model)
        await process.start()
        asking = asyncio.create_task(process.score("옛날", " 옛적"))
        await asyncio.sleep(seconds)
        await process.stop()
        assert process.pid is None
        assert set(psutil.Process().children()) <= set(others)
        with pytest.raises(EngineDied, match="stopped"):
            await asking

    for seconds in (0, 0.001, chance.uniform(0, 0.05), chance.uniform(0, 0.5)):
        with nothing_left():
            asyncio.run(start_and_stop(seconds))


def test_keys_and_values_of_clients_who_left_are_given_back(
    model: Path, clients: list[Client]
) -> None:
    others = weakref.WeakSet(living())
    with Engine(model, rows=8, cache_bytes=CACHE_BYTES) as engine, ExitStack() as streams:
        for client in clients[:30]:
            if not client.valid or not isinstance(client.question, Request):
                continue
            request = dataclasses.replace(client.question, max_tokens=80, n=3)
            stream = streams.enter_context(engine.stream(chaos.timeless(request)))
            for _ in range(client.pieces or 0):
                next(stream)
            if client.number % 2:
                stream.close()
        streams.close()
        deadline = time.monotonic() + chaos.PATIENCE
        while (now := engine.statistics()).running or now.waiting:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        gc.collect()
        held = sum(each.bytes for each in living() if each not in others)
        assert held == now.cache_bytes <= CACHE_BYTES


def living() -> list[Chunk | End]:
    return [each for each in gc.get_objects() if type(each) in (Chunk, End)]


def test_an_interrupted_caller_leaves_the_engine_at_work(model: Path) -> None:
    """Ctrl-C in a notebook, while the answer to a question is awaited."""
    with Engine(model, rows=1) as engine:
        expected = engine.score("옛날", " 옛적")
        # It holds the only place for far longer than until the alarm.
        with engine.stream("옛날", max_tokens=500, n=100, logit_bias={0: -100.0}) as stream:
            next(stream)
            interrupt(lambda: engine.score_choices("옛날 옛적에", [" 가"] * 50), 0.05)
        answers = []
        asking = threading.Thread(
            target=lambda: answers.append(engine.score("옛날", " 옛적")), daemon=True
        )
        asking.start()
        asking.join(chaos.PATIENCE)
        assert answers == [expected]
