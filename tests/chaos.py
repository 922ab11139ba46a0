"""Random clients of an engine: what they ask, how they leave, and what may come of it.

``HYPERCLOVA_CHAOS=500`` is the long form of the tests that use it: so many requests, and the
engine killed once for each hundred of them.
"""

import asyncio
import dataclasses
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from hyperclova.inference.protocol import (
    Completion,
    Floats,
    GradientRequest,
    Gradients,
    Pooling,
    Prompt,
    Request,
    Sampling,
    Score,
    TokenResult,
)
from hyperclova.inference.soft_prompt import SoftPrompt
from hyperclova.tokenizer import Tokenizer

REQUESTS = int(os.environ.get("HYPERCLOVA_CHAOS", "40"))
SEED = 20210910
PATIENCE = 300.0
"""Seconds; whoever waits longer waits for ever."""


def save_roomy_model(tokenizer: Tokenizer, directory: Path) -> Path:
    """A random model like the tiny one whose context holds more than one chunk of a cache."""
    import torch

    from hyperclova.model import GPT, GPTConfig
    from hyperclova.model.directory import save_model

    model = GPT(
        GPTConfig(tokenizer.vocabulary_size, context_length=512, layers=2, width=64, heads=4),
        seed=7,
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.mul_(8 if name.startswith("blocks") else 6)
    save_model(model, directory, end_of_text_id=tokenizer.end_of_text_id)
    tokenizer.save(directory)
    return directory


# -- what clients ask ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choices:
    """For :meth:`Backend.score_choices`."""

    prompt: Prompt
    continuations: tuple[str, ...]


@dataclass(frozen=True)
class Embedding:
    """For :meth:`Backend.embed`."""

    prompts: tuple[Prompt, ...]
    pooling: Pooling


@dataclass(frozen=True)
class Differentiation:
    """For :meth:`Backend.input_gradients`."""

    requests: tuple[GradientRequest, ...]


Question = Request | Choices | Embedding | Differentiation


@dataclass(frozen=True)
class Client:
    """One request and how patient its client is."""

    number: int
    question: Question
    valid: bool = True
    """Whether an engine should answer it."""
    pieces: int | None = None
    """It leaves after so many pieces of a stream."""
    seconds: float | None = None
    """It leaves after so many seconds, whatever has come."""

    @property
    def patient(self) -> "Client":
        """The same client, if it stayed to the end."""
        return dataclasses.replace(self, pieces=None, seconds=None)


class Crowd:
    """Makes clients, the same ones for the same seed.

    Args:
        lines: of text, from which prompts are cut.
        width: of soft prompts; None for engines that take none.
    """

    def __init__(
        self, seed: int, tokenizer: Tokenizer, lines: Sequence[str], width: int | None
    ) -> None:
        self._chance = random.Random(seed)
        self._tokenizer, self._lines = tokenizer, lines
        # Prompts that begin alike: one shares a block of the cache, the other a whole chunk.
        self._beginnings = [self._beginning(tokens) for tokens in (100, 300)]
        generator = np.random.default_rng(seed)
        shapes = [(1, width), (8, width), (70, width)] if width else []
        self._tables = [
            SoftPrompt(generator.normal(0, 0.5, shape).astype(np.float32)) for shape in shapes
        ]

    def clients(self, count: int) -> list[Client]:
        return [self._client(number) for number in range(count)]

    def bursts(self, clients: Sequence[Client], most: int) -> list[list[Client]]:
        """The clients in groups that come at once, of up to ``most``."""
        groups: list[list[Client]] = []
        at = 0
        while at < len(clients):
            size = most if len(groups) % 8 == 3 else self._chance.choice([1, 2, 3, 5])
            groups.append(list(clients[at : at + size]))
            at += size
        return groups

    def _client(self, number: int) -> Client:
        chance = self._chance
        kind = chance.random()
        if kind < 0.08:
            return Client(number, self._invalid(), valid=False)
        question: Question
        if kind < 0.68:
            question = self._generation()
        elif kind < 0.80:
            question = Choices(self._prompt(), self._continuations(chance.randint(1, 5)))
        elif kind < 0.90:
            prompts = tuple(self._prompt() for _ in range(chance.randint(1, 4)))
            question = Embedding(prompts, chance.choice(["mean", "last"]))
        else:
            question = Differentiation((self._gradient(), self._gradient()))
        leaves = chance.random()
        if leaves < 0.15 and isinstance(question, Request):
            return Client(number, question, pieces=chance.randint(1, 6))
        if leaves < 0.35:
            return Client(number, question, seconds=chance.choice([0, 0.002, 0.02, 0.2]))
        return Client(number, question)

    def _generation(self) -> Request:
        chance = self._chance
        request = Request(
            self._prompt(),
            max_tokens=chance.choice([0, 1, 8, 16, 30]),
            sampling=self._sampling(),
            stop=chance.choice([(), (), ("다",), ("\n", "가나", "이")]),
            n=chance.choice([1, 1, 1, 1, 2, 3, 6]),
            logprobs=chance.choice([None, None, 0, 3]),
            echo=chance.random() < 0.25,
            client=chance.choice(["가", "나", "다"]),
        )
        if chance.random() < 0.15:
            # Time runs out in the middle; without stop strings, so that what stands there by
            # then is the beginning of what would have come.
            request = dataclasses.replace(
                request, stop=(), n=2, max_tokens=90, deadline=chance.uniform(0.005, 0.1)
            )
        return request

    def _sampling(self) -> Sampling:
        chance = self._chance
        return Sampling(
            temperature=chance.choice([0.0, 0.7, 1.0, 1.5]),
            top_k=chance.choice([0, 0, 5, 40]),
            top_p=chance.choice([1.0, 0.9, 0.5]),
            repetition_penalty=chance.choice([1.0, 1.0, 1.2]),
            frequency_penalty=chance.choice([0.0, 0.0, 0.5]),
            presence_penalty=chance.choice([0.0, 0.0, 0.5]),
            logit_bias=chance.choice([{}, {0: -100.0}, {65: 3.0}]),
            seed=chance.randrange(2**63),
        )

    def _gradient(self) -> GradientRequest:
        chance = self._chance
        text = self._cut(20) or "옛날"
        prompt: tuple[str | int | SoftPrompt, ...] = (text,)
        if self._tables:
            prompt = (chance.choice(self._tables), text)
        rivals = ("부정", "중립") if chance.random() < 0.5 else ()
        return GradientRequest(prompt, "긍정", "soft" if self._tables else "all", rivals)

    def _prompt(self) -> Prompt:
        chance = self._chance
        kind = chance.random()
        if kind < 0.3:
            return self._cut(40)
        if kind < 0.4:
            vocabulary = self._tokenizer.vocabulary_size
            return tuple(chance.randrange(vocabulary) for _ in range(chance.randint(1, 80)))
        if kind < 0.7 or not self._tables:
            return chance.choice(self._beginnings) + self._cut(20)
        table = chance.choice(self._tables)
        if kind < 0.85:
            return (table, self._cut(20))
        return (chance.choice(self._beginnings), table, 7, self._cut(10))

    def _continuations(self, count: int) -> tuple[str, ...]:
        return tuple(f" {self._cut(12)}" for _ in range(count))

    def _cut(self, most: int) -> str:
        return self._chance.choice(self._lines)[: self._chance.randint(0, most)]

    def _beginning(self, tokens: int) -> str:
        text = ""
        while self._tokenizer.count(text) < tokens:
            text += self._chance.choice(self._lines)[:40] + "\n"
        return text

    def _invalid(self) -> Request:
        good = Request(self._cut(20))
        wrong: list[dict[str, object]] = [
            {"sampling": Sampling(top_p=3.0)},
            {"sampling": Sampling(logit_bias={10**6: 1.0})},
            {"prompt": (10**6,)},
            {"prompt": (5,) * 600},
            {"prompt": "옛날\udc00"},
            {"max_tokens": 2**70},
            {"stop": ("",)},
            {"n": 0},
        ]
        return dataclasses.replace(good, **self._chance.choice(wrong))  # type: ignore[arg-type]


def timeless(request: Request) -> Request:
    """The same request without a bound of time."""
    return dataclasses.replace(request, deadline=None)


# -- what comes of it ------------------------------------------------------------------------------


class Ledger:
    """Counts how requests ended."""

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()

    @property
    def served(self) -> int:
        """Clients who are gone for good; the others come again."""
        return self.ends.total() - self.ends["died"] - self.ends["not ready"]

    def note(self, end: str) -> None:
        self.ends[end] += 1

    def __str__(self) -> str:
        return ", ".join(f"{count} {end}" for end, count in sorted(self.ends.items()))


async def send(
    bursts: Sequence[Sequence[Client]], serve: Callable[[Client], Awaitable[None]], few: int
) -> None:
    """Let the clients of each burst come when no more than a ``few`` earlier ones are there."""
    under_way: set[asyncio.Task[None]] = set()
    for burst in bursts:
        while len(under_way) > few:
            done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        under_way |= {asyncio.ensure_future(serve(client)) for client in burst}
    await asyncio.gather(*under_way)


async def kill_now_and_then(
    ledger: Ledger,
    requests: int,
    kills: int,
    pid: Callable[[], int | None],
    is_ready: Callable[[], Awaitable[bool]],
) -> None:
    """So many times ``kill -9`` for an engine's process while ``requests`` are served.

    Every third kill is for one that is being started in place of the one killed before.
    """
    chance = random.Random(SEED)
    for kill in range(kills):
        if kill % 3 == 2:
            await asyncio.sleep(chance.uniform(0, 1))
        else:
            served = (kill + chance.random()) / (kills + 1) * requests
            async with asyncio.timeout(PATIENCE):
                while ledger.served < served or not await is_ready():
                    await asyncio.sleep(0.02)
            await asyncio.sleep(chance.uniform(0, 0.03))
        victim = pid()
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE):
            while pid() in (victim, None):
                await asyncio.sleep(0.1)


def memory(process: psutil.Process) -> int:
    """Bytes that a process holds, without the files that it has mapped and could read again."""
    now = process.memory_info()
    return int(now.rss - getattr(now, "shared", 0))


def assert_in_words(error: BaseException) -> None:
    """A sentence for people: one line, and no name of an exception in front."""
    text = str(error)
    assert text and "\n" not in text and "Traceback" not in text, repr(error)
    assert not text.partition(":")[0].endswith(("Error", "Exception")), repr(error)


Answer = Completion | list[Score] | Floats | list[Gradients]


def assert_same(answer: Answer, expected: Answer) -> None:
    """The answer to a request is the one that it gets alone."""
    if isinstance(expected, Completion):
        assert isinstance(answer, Completion)
        assert_begins(answer, expected)
        for mine, theirs in zip(answer.choices, expected.choices, strict=True):
            if mine.finish_reason != "deadline":
                assert (mine.text, mine.finish_reason) == (theirs.text, theirs.finish_reason)
                assert len(mine.tokens) == len(theirs.tokens)
        return
    if isinstance(expected, np.ndarray):
        assert isinstance(answer, np.ndarray)
        np.testing.assert_allclose(answer, expected, atol=1e-3)
        return
    assert isinstance(answer, list)
    for one, other in zip(answer, expected, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
        if isinstance(one, Score) and isinstance(other, Score):
            assert (one.tokens, one.greedy) == (other.tokens, other.greedy)
        if isinstance(one, Gradients) and isinstance(other, Gradients):
            assert one.loss == pytest.approx(other.loss, abs=1e-4)
            np.testing.assert_allclose(one.gradient, other.gradient, atol=1e-4)


def assert_begins(part: Completion, whole: Completion) -> None:
    """Each choice, as far as it was written, is the beginning of what was to be written."""
    assert len(part.choices) == len(whole.choices)
    for mine, theirs in zip(part.choices, whole.choices, strict=True):
        assert theirs.text.startswith(mine.text), (mine.text, theirs.text)
        for left, right in zip(mine.tokens, theirs.tokens, strict=False):
            assert_same_token(left, right)


def assert_same_token(one: TokenResult, other: TokenResult) -> None:
    assert (one.id, one.offset) == (other.id, other.offset)
    assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
    # Of rivals that are almost as likely either may stand first.
    assert [rival.logprob for rival in one.top] == pytest.approx(
        [rival.logprob for rival in other.top], abs=1e-4
    )
