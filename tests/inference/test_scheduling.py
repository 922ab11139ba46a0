"""Who is served when: prompts beside streams, clients in turn, bounds, deadlines, failures.

Nothing here measures time. Requests are submitted, cancelled and let expire on the engine's own
thread, between two steps, where the order of all that happens is the same in every run.
"""

import gc
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hyperclova.errors import UserError
from hyperclova.inference import Engine
from hyperclova.inference.cache import BLOCK, KeyValues
from hyperclova.inference.cache import Chunk as CacheChunk
from hyperclova.inference.gather import gather
from hyperclova.inference.jobs import Job
from hyperclova.inference.protocol import Chunk, Completion, EngineBusy, Request, Sampling
from hyperclova.tokenizer import Tokenizer
from interruption import interrupt

BetweenSteps = Callable[[Engine, Callable[[], None]], None]
Open = Callable[..., Engine]


@pytest.fixture
def open_engine(long_model_directory: Path) -> Iterator[Open]:
    """Opens engines and closes them after the test."""
    engines = []

    def open_engine(**options: int) -> Engine:
        engines.append(Engine(long_model_directory, **options))
        return engines[-1]

    yield open_engine
    for engine in engines:
        engine.close()


def prompt(length: int, salt: int = 0) -> tuple[int, ...]:
    """Token ids; prompts of other salts differ from the first token on."""
    return tuple((salt * 37 + place * 11) % 470 + 1 for place in range(length))


Endlessly = Callable[..., Request]


@pytest.fixture(scope="session")
def endlessly(tiny_tokenizer: Tokenizer) -> Endlessly:
    """Requests whose texts have all the tokens that were asked for, each of which comes as a
    chunk of its own: letters of the alphabet."""
    letters = [token for letter in "abcdefgh" for token in tiny_tokenizer.encode(letter)]
    bias = dict.fromkeys(letters, 1000.0)

    def request(
        prompt: tuple[int, ...] = (5, 6, 7), max_tokens: int = 600, **options: Any
    ) -> Request:
        return Request(prompt, max_tokens, Sampling(seed=1, logit_bias=bias), **options)

    return request


@dataclass
class Events:
    """What an engine called back, in order, over all requests."""

    order: list[tuple[str, Chunk | None]] = field(default_factory=list)
    """Chunks by the name of their request, and None at its end."""
    errors: dict[str, BaseException | None] = field(default_factory=dict)
    watch: Callable[[str, Chunk], None] = lambda name, chunk: None
    """Called at each chunk, on the engine's thread."""
    _ends: dict[str, threading.Event] = field(default_factory=dict)

    def submit(self, engine: Engine, name: str, request: Request) -> Job:
        ended = self._ends[name] = threading.Event()

        def chunk(chunk: Chunk) -> None:
            self.order.append((name, chunk))
            self.watch(name, chunk)

        def end(error: BaseException | None) -> None:
            self.order.append((name, None))
            self.errors[name] = error
            ended.set()

        return engine.submit(request, chunk, end)

    def wait(self, *names: str) -> None:
        for name in names or list(self._ends):
            assert self._ends[name].wait(60), f"{name} has not ended"

    def chunks(self, name: str) -> list[Chunk]:
        return [chunk for owner, chunk in self.order if owner == name and chunk]

    def completion(self, name: str, n: int = 1) -> Completion:
        return gather(self.chunks(name), n)

    def names(self) -> list[str]:
        """Whose chunks came, in order; ``name.`` at its end."""
        return [name if chunk else f"{name}." for name, chunk in self.order]


def test_long_prompts_do_not_stall_streams(open_engine: Open, endlessly: Endlessly) -> None:
    """Between two tokens of a stream, no more than two blocks of prompts are read, however many
    long prompts came at once."""
    engine = open_engine(rows=8, cache_bytes=0)
    events = Events()
    read: list[int] = []

    def watch(name: str, chunk: Chunk) -> None:
        if name == "stream":
            read.append(engine.statistics().read_tokens)
            if len(read) == 10:
                for salt in range(1, 5):
                    events.submit(engine, f"long {salt}", Request(prompt(600, salt), 1))

    events.watch = watch
    events.submit(engine, "stream", endlessly(max_tokens=60))
    events.wait("stream")
    events.wait()
    between = [after - before for before, after in pairwise(read)]
    assert max(between) == 2 * BLOCK
    assert sum(between) == 4 * 600  # all of it beside the stream
    # The four took turns: each was read to its end when the others were nearly there.
    names = events.names()
    last = min(names.index(f"long {salt}.") for salt in range(1, 5))
    written = names[:last].count("stream")
    assert written - 10 >= (4 * 600 - 3 * 2 * BLOCK) // (2 * BLOCK)


def test_short_prompts_do_not_wait_for_long_ones(
    open_engine: Open, between_steps: BetweenSteps
) -> None:
    engine = open_engine(rows=4, cache_bytes=0)
    events = Events()

    def submit() -> None:
        for salt in (1, 2, 3):
            events.submit(engine, f"long {salt}", Request(prompt(620, salt), 1))
        events.submit(engine, "short", Request(prompt(30, 4), 1))

    between_steps(engine, submit)
    events.wait()
    assert events.names().index("short.") < min(
        events.names().index(f"long {salt}.") for salt in (1, 2, 3)
    )


@pytest.mark.parametrize("kind", ["requests", "choices"])
def test_many_of_one_client_do_not_stall_another(
    open_engine: Open, between_steps: BetweenSteps, endlessly: Endlessly, kind: str
) -> None:
    engine = open_engine(rows=4)
    events = Events()
    many = endlessly(max_tokens=10, client="여럿")

    def submit() -> None:
        if kind == "requests":
            for number in range(50):
                events.submit(engine, f"many {number}", replace(many, prompt=prompt(9, number)))
        else:
            events.submit(engine, "many", replace(many, n=128))
        events.submit(engine, "other", replace(many, client="하나", max_tokens=5))

    between_steps(engine, submit)
    events.wait("other")
    at_end = events.names().index("other.")
    finished = sum(
        chunk is not None and chunk.finish_reason is not None
        for name, chunk in events.order[:at_end]
        if name.startswith("many")
    )
    assert finished <= 4  # those that had the places when the other one came
    events.wait()
    assert set(events.errors.values()) == {None}


def test_without_clients_the_order_is_that_of_submission(
    open_engine: Open, between_steps: BetweenSteps, endlessly: Endlessly
) -> None:
    engine = open_engine(rows=2)
    events = Events()

    def submit() -> None:
        for number in range(9):
            events.submit(engine, str(number), endlessly(prompt(9, number), 4))

    between_steps(engine, submit)
    events.wait()
    begun = list(dict.fromkeys(name for name, _ in events.order))
    assert begun == [str(number) for number in range(9)]


def test_the_queue_is_bounded(
    open_engine: Open, between_steps: BetweenSteps, endlessly: Endlessly
) -> None:
    engine = open_engine(rows=1, waiting=2)
    events = Events()

    def submit() -> None:
        for number in range(2):
            events.submit(engine, str(number), endlessly(max_tokens=2, n=3))
        with pytest.raises(EngineBusy, match="2 requests are waiting, the most at once; try again"):
            engine.submit(endlessly(), lambda _: None, lambda _: None)
        with pytest.raises(EngineBusy):
            engine.score("옛날", " 옛적에")
        assert engine.statistics().waiting == 2

    for _ in range(2):  # places that were taken have been given back
        between_steps(engine, submit)
        events.wait()
        assert (engine.statistics().waiting, engine.statistics().running) == (0, 0)
        for number in range(2):
            assert events.errors[str(number)] is None


# -- the same prefix -------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", [0, 1, 30, 70])
def test_prompts_that_come_at_once_share_the_reading(
    open_engine: Open, between_steps: BetweenSteps, rest: int
) -> None:
    """Five blocks stand at the beginning of three prompts: they are read once."""
    engine = open_engine(rows=8)
    events = Events()
    shared = prompt(5 * BLOCK)

    def submit() -> None:
        for number in range(3):
            events.submit(engine, str(number), Request(shared + prompt(rest, 50 + number), 2))

    between_steps(engine, submit)
    events.wait()
    reused = 5 * BLOCK
    statistics = engine.statistics()
    assert statistics.reused_tokens == 2 * reused
    assert statistics.read_tokens == 3 * len(shared) + 3 * rest - 2 * reused
    before = statistics.cached_tokens
    assert before == len(shared) + 3 * rest
    # Nor are they read again later.
    engine.generate([Request(shared + prompt(rest, 50), 2)])
    assert engine.statistics().reused_tokens == 2 * reused + len(shared) + rest
    assert engine.statistics().cached_tokens == before


@pytest.mark.parametrize("length", [1, 63, 64, 65, 300])
def test_one_prompt_that_comes_often_at_once_is_read_once(
    open_engine: Open, between_steps: BetweenSteps, length: int
) -> None:
    engine = open_engine(rows=4)
    events = Events()

    def submit() -> None:
        for number in range(6):
            events.submit(engine, str(number), Request(prompt(length), 3, n=2))

    between_steps(engine, submit)
    events.wait()
    statistics = engine.statistics()
    assert (statistics.read_tokens, statistics.reused_tokens) == (length, 5 * length)


def test_without_a_cache_everything_is_read(open_engine: Open, between_steps: BetweenSteps) -> None:
    engine = open_engine(rows=8, cache_bytes=0)
    events = Events()

    def submit() -> None:
        for number in range(3):
            events.submit(engine, str(number), Request(prompt(300), 2))

    between_steps(engine, submit)
    events.wait()
    statistics = engine.statistics()
    assert (statistics.reused_tokens, statistics.read_tokens) == (0, 900)
    assert (statistics.cached_tokens, statistics.cache_bytes) == (0, 0)


# -- ends ------------------------------------------------------------------------------------------


def expire(job: Job) -> None:
    """Let a job's time run out now, which was not to be foreseen."""
    job.expires = time.monotonic()
    if job._tell is not None:
        job._tell()


STOPS = pytest.mark.parametrize(
    ("stop", "reason"), [(Job.cancel, "cancelled"), (expire, "deadline")]
)


@STOPS
def test_a_text_ends_with_what_it_has(
    open_engine: Open, endlessly: Endlessly, stop: Callable[[Job], None], reason: str
) -> None:
    engine = open_engine()
    events = Events()
    jobs: dict[str, Job] = {}

    def watch(name: str, chunk: Chunk) -> None:
        if name == "other" and chunk.completion_tokens == 9:
            stop(jobs["stopped"])

    events.watch = watch
    request = replace(endlessly(deadline=1000.0), logprobs=1)
    jobs["stopped"] = events.submit(engine, "stopped", request)
    jobs["other"] = events.submit(engine, "other", endlessly(max_tokens=12))
    events.wait()
    names = events.names()
    tokens_of_other = [place for place, name in enumerate(names) if name == "other"]
    # It was over before the other one's next token.
    assert tokens_of_other[8] < names.index("stopped.") < tokens_of_other[9]
    assert events.errors == {"stopped": None, "other": None}
    completion = events.completion("stopped")
    (choice,) = completion.choices
    (whole,) = engine.generate([replace(request, max_tokens=completion.completion_tokens)])
    assert choice.finish_reason == reason
    assert completion == replace(whole, choices=(replace(whole.choices[0], finish_reason=reason),))
    assert 0 < completion.completion_tokens < 600


@STOPS
def test_choices_end_whether_begun_or_not(
    open_engine: Open, endlessly: Endlessly, stop: Callable[[Job], None], reason: str
) -> None:
    """Of five choices two are done, two are being written, one has not been begun."""
    engine = open_engine(rows=2)
    events = Events()
    request = endlessly(max_tokens=8, n=5)

    def watch(name: str, chunk: Chunk) -> None:
        if chunk.choice == 3 and chunk.completion_tokens == 4:
            stop(job)

    events.watch = watch
    job = events.submit(engine, "five", request)
    events.wait()
    choices = events.completion("five", 5).choices
    reasons = [choice.finish_reason for choice in choices]
    assert reasons == ["length", "length", reason, reason, reason]
    (whole,) = engine.generate([request])
    assert choices[:2] == whole.choices[:2]
    for choice, full in zip(choices[2:4], whole.choices[2:4], strict=True):
        assert choice.text
        assert full.text.startswith(choice.text)
    assert choices[4].text == ""
    ends = [chunk for chunk in events.chunks("five") if chunk.finish_reason]
    assert sorted(chunk.choice for chunk in ends) == [0, 1, 2, 3, 4]
    assert events.errors == {"five": None}
    assert events.names().count("five.") == 1


@STOPS
def test_a_prompt_being_read_is_dropped(
    open_engine: Open, endlessly: Endlessly, stop: Callable[[Job], None], reason: str
) -> None:
    engine = open_engine(cache_bytes=0)
    events = Events()
    jobs: dict[str, Job] = {}

    def watch(name: str, chunk: Chunk) -> None:
        if name == "stream" and chunk.completion_tokens == 5:
            jobs["long"] = events.submit(engine, "long", Request(prompt(600), 3, n=2))
        if name == "stream" and chunk.completion_tokens == 7:
            stop(jobs["long"])

    events.watch = watch
    events.submit(engine, "stream", endlessly((5, 6, 7), 20))
    events.wait("stream")
    events.wait("long")
    assert engine.statistics().read_tokens == 3 + 2 * 2 * BLOCK
    completion = events.completion("long", 2)
    assert [(choice.text, choice.finish_reason) for choice in completion.choices] == [
        ("", reason)
    ] * 2
    assert (completion.prompt_tokens, completion.completion_tokens) == (600, 0)
    assert events.errors["long"] is None


def test_a_request_cancelled_before_it_came_does_not_wait(
    open_engine: Open, endlessly: Endlessly
) -> None:
    """As when a call is interrupted while it submits."""
    engine = open_engine(rows=1)
    events = Events()
    dropped = threading.Event()

    def watch(name: str, chunk: Chunk) -> None:
        if chunk.completion_tokens == 3:
            job = engine._generation(endlessly(max_tokens=9), lambda _: None, lambda _: end())
            job.cancel()
            engine._scheduler.submit(job)

    def end() -> None:
        events.order.append(("waits", None))
        dropped.set()

    events.watch = watch
    events.submit(engine, "runs", endlessly(max_tokens=20))
    events.wait("runs")
    assert dropped.wait(60)
    assert events.names().index("waits.") < events.names().index("runs.")


@STOPS
def test_a_request_that_waits_is_dropped(
    open_engine: Open, endlessly: Endlessly, stop: Callable[[Job], None], reason: str
) -> None:
    engine = open_engine(rows=1)
    events = Events()
    jobs: dict[str, Job] = {}

    def watch(name: str, chunk: Chunk) -> None:
        if chunk.completion_tokens == 3:
            jobs["waits"] = events.submit(engine, "waits", endlessly(max_tokens=9, n=2))
        if chunk.completion_tokens == 5:
            stop(jobs["waits"])

    events.watch = watch
    events.submit(engine, "runs", endlessly(max_tokens=20))
    events.wait("runs")
    events.wait("waits")
    assert events.names().index("waits.") < events.names().index("runs.")
    completion = events.completion("waits", 2)
    assert {(choice.text, choice.finish_reason) for choice in completion.choices} == {("", reason)}
    assert (completion.prompt_tokens, completion.completion_tokens) == (3, 0)
    assert engine.statistics().waiting == 0


def test_deadlines_are_seconds_from_submission(open_engine: Open, endlessly: Endlessly) -> None:
    engine = open_engine(rows=1)
    with engine.stream(endlessly(n=4096)) as stream:
        next(stream)
        (late,) = engine.generate([endlessly(max_tokens=3, deadline=0.1)])
    assert [choice.finish_reason for choice in late.choices] == ["deadline"]
    (timely,) = engine.generate([endlessly(max_tokens=3, deadline=600.0)])
    assert [choice.finish_reason for choice in timely.choices] == ["length"]
    (begun,) = engine.generate([endlessly(n=40, deadline=0.5)])  # 24,000 tokens
    assert begun.choices[-1].finish_reason == "deadline"
    for deadline in (0.0, -1.0, float("nan")):
        with pytest.raises(UserError, match=f"deadline is {deadline}; it must be above 0 seconds"):
            engine.generate([Request("옛날", deadline=deadline)])


def test_a_caller_who_is_interrupted_leaves_the_engine_well(
    open_engine: Open, endlessly: Endlessly
) -> None:
    """As by Ctrl-C during a long ``score``."""
    engine = open_engine(rows=1)
    with engine.stream(endlessly(n=4096)) as stream:
        next(stream)
        for ask in (
            lambda: engine.score("옛날", " 옛적에"),
            lambda: engine.embed(["옛날"]),
            lambda: engine.generate("옛날"),
        ):
            interrupt(ask, 0.1)
    assert engine.score("옛날", " 옛적에").tokens
    assert engine.statistics().waiting == 0


# -- failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt_tokens", "end", "reads"),
    [(37, 37, True), (300, 300, True), (300, 301, False), (300, 306, False)],
    ids=["a prompt", "a prompt's end", "the first token", "a later token"],
)
def test_a_lack_of_memory_ends_one_request_alone(
    open_engine: Open,
    between_steps: BetweenSteps,
    endlessly: Endlessly,
    monkeypatch: pytest.MonkeyPatch,
    prompt_tokens: int,
    end: int,
    reads: bool,
) -> None:
    """No memory where one request's sequence is to be so long."""
    engine = open_engine(rows=3)
    others = [endlessly(prompt(20 + salt, salt), 8, n=2) for salt in (1, 2)]
    expected = [engine.generate([other])[0] for other in others]
    reserve = KeyValues.reserve

    def failing(self: KeyValues, count: int) -> None:
        if self.length + count == end and (count > 1) == reads:
            raise MemoryError("no memory for keys and values")
        reserve(self, count)

    monkeypatch.setattr(KeyValues, "reserve", failing)
    events = Events()

    def submit() -> None:
        events.submit(engine, "0", others[0])
        events.submit(engine, "fails", endlessly(prompt(prompt_tokens), 8, n=4))
        events.submit(engine, "1", others[1])

    between_steps(engine, submit)
    events.wait()
    assert isinstance(events.errors.pop("fails"), MemoryError)
    assert events.names().count("fails.") == 1
    assert events.errors == {"0": None, "1": None}
    assert [events.completion(name, 2) for name in "01"] == expected
    assert (engine.statistics().running, engine.statistics().waiting) == (0, 0)
    if reads:
        with pytest.raises(MemoryError):
            engine.embed([prompt(prompt_tokens)])
    monkeypatch.undo()
    (again,) = engine.generate([endlessly(prompt(prompt_tokens), 8)])
    assert again.completion_tokens == 8


@STOPS
@pytest.mark.parametrize("waits", [False, True], ids=["written", "waiting"])
def test_a_listener_that_fails_when_its_request_is_dropped_harms_nobody(
    open_engine: Open, endlessly: Endlessly, stop: Callable[[Job], None], reason: str, waits: bool
) -> None:
    """As one does whose event loop has been closed."""
    engine = open_engine(rows=1 if waits else 2)
    events = Events()
    jobs: dict[str, Job] = {}

    def watch(name: str, chunk: Chunk) -> None:
        if name == "other" and chunk.completion_tokens == 3:
            jobs["fails"] = events.submit(engine, "fails", endlessly())
        if name == "other" and chunk.completion_tokens == 9:
            stop(jobs["fails"])
        if name == "fails" and chunk.finish_reason:
            raise RuntimeError("Event loop is closed")

    events.watch = watch
    events.submit(engine, "other", endlessly(max_tokens=20))
    events.wait("other")
    events.wait("fails")
    assert str(events.errors.pop("fails")) == "Event loop is closed"
    assert events.errors == {"other": None}
    assert (engine.statistics().running, engine.statistics().waiting) == (0, 0)


MOMENTS: dict[str, Callable[[Chunk], bool]] = {
    "the echo": lambda chunk: bool(chunk.text) and not chunk.completion_tokens,
    "the first token": lambda chunk: chunk.completion_tokens == 1,
    "a token of another choice": lambda chunk: (chunk.choice, chunk.completion_tokens) == (2, 5),
    "the end of a choice": lambda chunk: (chunk.choice, chunk.finish_reason) == (0, "length"),
    "the end of the last one": lambda chunk: (chunk.choice, chunk.finish_reason) == (3, "length"),
}


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, StopIteration])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_listener_that_fails_ends_its_own_request_alone(
    open_engine: Open,
    between_steps: BetweenSteps,
    endlessly: Endlessly,
    moment: str,
    error: type[BaseException],
) -> None:
    """Beside it others are written, read, embedded, and wait."""
    engine = open_engine(rows=6, cache_bytes=0)
    others = {
        "two": endlessly(prompt(21, 1), 8, n=2, echo=True),
        "read": endlessly(prompt(400, 2), 4),
        "waits": endlessly(prompt(9, 3), 8, n=3, logprobs=1),
    }
    expected = {name: engine.generate([other])[0] for name, other in others.items()}
    events = Events()
    raised: list[BaseException] = []

    def watch(name: str, chunk: Chunk) -> None:
        if name == "fails" and MOMENTS[moment](chunk):
            raised.append(error("no longer listening"))
            raise raised[-1]

    def submit() -> None:
        events.submit(engine, "fails", endlessly(prompt(30, 4), 8, n=4, echo=True))
        for name, other in others.items():
            events.submit(engine, name, other)

    events.watch = watch
    between_steps(engine, submit)
    events.wait()
    assert len(raised) == 1
    assert events.errors.pop("fails") is raised[0]
    assert events.names().count("fails.") == 1
    assert set(events.errors.values()) == {None}
    for name, other in others.items():
        assert events.completion(name, other.n) == expected[name]
    assert (engine.statistics().running, engine.statistics().waiting) == (0, 0)


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
@pytest.mark.parametrize("way", ["done", "cancelled", "deadline", "failed", "waiting"])
def test_a_listener_that_fails_when_told_of_the_end_harms_nobody(
    open_engine: Open,
    between_steps: BetweenSteps,
    endlessly: Endlessly,
    caplog: pytest.LogCaptureFixture,
    way: str,
    error: type[BaseException],
) -> None:
    engine = open_engine(rows=1 if way == "waiting" else 3)
    other = endlessly(prompt(20, 1), 12)
    (expected,) = engine.generate([other])
    events = Events()
    jobs: dict[str, Job] = {}
    ends: list[BaseException | None] = []

    def chunk(chunk: Chunk) -> None:
        if way == "failed" and chunk.completion_tokens == 3:
            raise RuntimeError("no longer listening")

    def end(cause: BaseException | None) -> None:
        ends.append(cause)
        raise error("Event loop is closed")

    def watch(name: str, chunk: Chunk) -> None:
        if chunk.completion_tokens == 5:
            if way in ("cancelled", "waiting"):
                jobs["fails"].cancel()
            elif way == "deadline":
                expire(jobs["fails"])

    def submit() -> None:
        events.submit(engine, "other", other)
        jobs["fails"] = engine.submit(
            endlessly(max_tokens=6 if way == "done" else 600, n=2), chunk, end
        )

    events.watch = watch
    between_steps(engine, submit)
    events.wait()
    assert len(ends) == 1
    assert (str(ends[0]) == "no longer listening") if way == "failed" else ends[0] is None
    assert events.errors == {"other": None}
    assert events.completion("other") == expected
    assert "Event loop is closed" in caplog.text
    assert engine.generate([other]) == [expected]
    assert (engine.statistics().running, engine.statistics().waiting) == (0, 0)


def test_closing_tells_everybody_although_one_does_not_listen(
    open_engine: Open, endlessly: Endlessly
) -> None:
    engine = open_engine(rows=2)
    events = Events()

    def end(cause: BaseException | None) -> None:
        raise SystemExit

    events.watch = lambda name, chunk: started.set()
    started = threading.Event()
    for _ in range(2):
        engine.submit(endlessly(), lambda _: started.set(), end)
    events.submit(engine, "waits", endlessly())
    assert started.wait(60)
    engine.close()
    events.wait()
    assert str(events.errors["waits"]) == "the engine was closed"


# -- memory ----------------------------------------------------------------------------------------


def test_keys_and_values_are_given_back_at_once(
    open_engine: Open, between_steps: BetweenSteps, endlessly: Endlessly
) -> None:
    """By counting references alone: a collection of garbage may be long in coming."""

    def chunks() -> int:
        between_steps(engine, lambda: None)
        return sum(type(each) is CacheChunk for each in gc.get_objects()) - before

    long = prompt(300)
    gc.collect()
    gc.disable()
    try:
        before = sum(type(each) is CacheChunk for each in gc.get_objects())
        engine = open_engine(rows=4, cache_bytes=0)
        engine.generate([endlessly(long, 5, n=6, echo=True, logprobs=1)])
        assert chunks() == 0
        engine.score_choices(long, ["가나다", "나라마", ""])
        assert chunks() == 0
        engine.embed([long, prompt(20)])
        assert chunks() == 0
        stream = engine.stream(endlessly(long, 5, n=100))
        next(stream)
        assert chunks() > 0
        stream.close()
        del stream
        assert chunks() == 0
        engine = open_engine(rows=4)
        engine.generate([endlessly(long, 5, n=6)])
        assert chunks() == 1  # of the prompt's four whole blocks
        engine.close()
        assert sum(type(each) is CacheChunk for each in gc.get_objects()) == before
    finally:
        gc.enable()
