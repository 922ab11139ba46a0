"""Calls that ask for more than can wait at once: they work, leave room to others, and end whole."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hyperclova.errors import UserError
from hyperclova.inference import Engine
from hyperclova.inference.cache import KeyValues
from hyperclova.inference.protocol import EngineBusy, Request, Sampling
from interruption import interrupt

BetweenSteps = Callable[[Engine, Callable[[], None]], None]

WORD = "그리고 바람이 불자 나뭇잎이 우수수 떨어졌다."


def prompts(count: int, length: int = 12) -> list[tuple[int, ...]]:
    return [
        tuple((number * 37 + place * 11) % 470 + 1 for place in range(length))
        for number in range(count)
    ]


def requests(count: int, max_tokens: int = 3, **options: Any) -> list[Request]:
    return [
        Request(each, max_tokens, Sampling(seed=number), logprobs=0, **options)
        for number, each in enumerate(prompts(count))
    ]


@pytest.fixture(scope="module")
def narrow(tiny_model_directory: Path) -> Iterator[Engine]:
    """Two run, six may wait, of a call three."""
    with Engine(tiny_model_directory, rows=2, waiting=6, cache_bytes=0) as engine:
        yield engine


def idle(engine: Engine, between_steps: BetweenSteps) -> bool:
    """Whether nothing runs or waits, once what was cancelled has been dropped."""
    between_steps(engine, lambda: None)
    statistics = engine.statistics()
    return (statistics.running, statistics.waiting) == (0, 0)


# -- more than can wait ----------------------------------------------------------------------------


def test_any_number_of_prompts_is_embedded(narrow: Engine, engine: Engine) -> None:
    many: list[str | tuple[int, ...]] = [*prompts(40), "옛날 옛적에", ""]
    for pooling in ("mean", "last"):
        found = narrow.embed(many, pooling)
        assert found.shape == (42, 64)
        for each, row in zip(many, found, strict=True):
            np.testing.assert_allclose(row, engine.embed([each], pooling)[0], atol=1e-5)
    assert narrow.embed([]).shape == (0, 64)


def test_any_number_of_requests_is_written(narrow: Engine, engine: Engine) -> None:
    many = requests(30, n=3)
    assert narrow.generate(many) == [engine.generate([each])[0] for each in many]
    assert narrow.generate([]) == []


def test_any_number_of_choices_is_scored(narrow: Engine, engine: Engine) -> None:
    """Also where the prompt's tokens depend on the choice, so that it is read many times."""
    words = [WORD[at : at + 4].strip() for at in range(20)]
    for prompt in ("대한민국의 수", "옛날 옛적에"):
        expected = [engine.score(prompt, word) for word in words]
        for found, score in zip(narrow.score_choices(prompt, words), expected, strict=True):
            assert found.tokens == score.tokens
            assert found.logprobs == pytest.approx(score.logprobs, abs=1e-4)


def test_calls_of_many_threads_share_few_places(narrow: Engine, engine: Engine) -> None:
    """None of them is refused halfway: only a call that finds no room at all."""
    many = requests(12)
    written = [engine.generate([each])[0] for each in many]
    embedded = engine.embed(prompts(12))

    def ask(number: int) -> int:
        refused = 0
        while True:
            try:
                if number % 2:
                    np.testing.assert_allclose(narrow.embed(prompts(12)), embedded, atol=1e-5)
                else:
                    assert narrow.generate(many) == written
                return refused
            except EngineBusy:
                refused += 1
                time.sleep(random.Random(number).random() / 100)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(ask, range(12)))


def test_a_call_for_which_there_is_no_room_is_refused_whole(
    narrow: Engine, between_steps: BetweenSteps
) -> None:
    def ask() -> None:
        held = [narrow.stream(request) for request in requests(6)]
        for call in (
            lambda: narrow.embed(prompts(2)),
            lambda: narrow.generate(requests(2)),
            lambda: narrow.score("옛날", " 옛적에"),
        ):
            with pytest.raises(EngineBusy, match="6 requests are waiting"):
                call()
        assert narrow.statistics().waiting == 6
        for stream in held:
            stream.close()

    between_steps(narrow, ask)
    assert idle(narrow, between_steps)


# -- others ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["embed", "generate"])
def test_others_find_room_and_get_their_turn(
    tiny_model_directory: Path, between_steps: BetweenSteps, kind: str
) -> None:
    done = threading.Event()
    read: list[int] = []

    with (
        Engine(tiny_model_directory, rows=1, waiting=40, cache_bytes=0) as engine,
        ThreadPoolExecutor(1) as thread,
    ):
        calls: list[Future[Any]] = []

        def submit() -> None:
            # The engine's thread waits here, so the call submits all that it may.
            if kind == "embed":
                calls.append(thread.submit(engine.embed, prompts(200)))
            else:
                calls.append(thread.submit(engine.generate, requests(200, max_tokens=1)))
            until = time.monotonic() + 60
            while engine.statistics().waiting < 20:
                assert time.monotonic() < until
                time.sleep(0.001)
            time.sleep(0.05)
            assert engine.statistics().waiting == 20  # half of the places
            engine.submit(
                Request((1, 2, 3), 1, client="하나"),
                lambda _: None,
                lambda _: (read.append(engine.statistics().read_tokens), done.set()),
            )

        between_steps(engine, submit)
        assert done.wait(60)
        assert read == [12 + 3]  # after the first of the two hundred
        assert len(calls[0].result(60)) == 200


# -- ends ------------------------------------------------------------------------------------------


def test_what_is_refused_ends_the_call_and_is_named(
    narrow: Engine, between_steps: BetweenSteps
) -> None:
    long = (5,) * 200
    with pytest.raises(UserError, match=r"prompts\[7\]: prompt has 200 tokens"):
        narrow.embed([*prompts(7), long, *prompts(9)])
    with pytest.raises(UserError, match=r"requests\[7\]: prompt has 200 tokens"):
        narrow.generate([*requests(7, max_tokens=50), Request(long), *requests(9)])
    with pytest.raises(UserError, match=r"requests\[2\]: n is 0"):
        narrow.generate([*requests(2), Request("옛날", n=0)])
    with pytest.raises(UserError, match=r"continuations\[1\]: prompt has"):
        narrow.score_choices("옛날", ["가", "가" * 300])
    with pytest.raises(UserError, match=r"^prompt has 200 tokens"):
        narrow.embed([long])
    assert idle(narrow, between_steps)


def test_what_fails_ends_the_call(
    narrow: Engine, between_steps: BetweenSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = KeyValues.reserve

    def failing(self: KeyValues, count: int) -> None:
        if count == 31:
            raise MemoryError("no memory for keys and values")
        reserve(self, count)

    monkeypatch.setattr(KeyValues, "reserve", failing)
    (fails,) = prompts(1, length=31)
    endless = [Request(each, 100, n=4096) for each in prompts(30)]
    for call in (
        lambda: narrow.embed([*prompts(9), fails, *prompts(300)]),
        lambda: narrow.generate([*requests(1), Request(fails, 5), *endless]),
    ):
        with pytest.raises(MemoryError):
            call()
        assert idle(narrow, between_steps)


@pytest.mark.parametrize("seconds", [0.003, 0.1])
def test_an_interrupted_call_leaves_nothing_behind(
    narrow: Engine, between_steps: BetweenSteps, seconds: float
) -> None:
    """As by Ctrl-C, while it submits or while it waits."""
    endless = [Request(each, 100, n=4096, deadline=60) for each in prompts(30)]
    for call in (
        lambda: narrow.generate(endless),
        lambda: narrow.embed(prompts(20_000, length=100)),
    ):
        interrupt(call, seconds)
        assert idle(narrow, between_steps)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_call_can_be_given_up(narrow: Engine, between_steps: BetweenSteps, when: str) -> None:
    for call in (
        lambda given_up: narrow.embed(prompts(20_000, length=100), given_up=given_up),
        lambda given_up: narrow.score_choices((5,) * 100, [WORD[:6]] * 5_000, given_up=given_up),
    ):
        given_up: Future[None] = Future()
        if when == "before":
            given_up.cancel()
        with ThreadPoolExecutor(1) as thread:
            calling = thread.submit(call, given_up)
            if when == "meanwhile":
                until = time.monotonic() + 60
                while not narrow.statistics().running:
                    assert time.monotonic() < until
                    time.sleep(0.001)
                given_up.cancel()
            with pytest.raises(CancelledError):
                calling.result(60)
        assert idle(narrow, between_steps)


def test_closing_ends_a_call_that_waits_for_room(tiny_model_directory: Path) -> None:
    engine = Engine(tiny_model_directory, rows=1, waiting=1)
    with ThreadPoolExecutor(1) as thread:
        calling = thread.submit(engine.generate, [Request("옛날", 100, n=4096)] * 9)
        while not engine.statistics().running:
            time.sleep(0.001)
        engine.close()
        with pytest.raises(RuntimeError, match="closed"):
            calling.result(60)
