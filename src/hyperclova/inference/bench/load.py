"""Clients that ask a target, and what each of them saw.

Closed loop: so many clients, each of which asks again as soon as it has its answer. Open loop:
requests arrive at random moments (a Poisson process), whatever the target is doing, as from a
public that does not know of each other.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from itertools import count
from time import perf_counter
from typing import Any, Literal

from hyperclova.errors import UserError
from hyperclova.inference.bench.targets import FailedError, RefusedError, Target

_WARM_UP_CLIENTS, _WARM_UP_TOKENS = 2, 8


@dataclass(frozen=True)
class Workload:
    """What is asked at each level of load."""

    loads: tuple[float, ...]
    """Clients at once (closed loop), or requests a second (open loop)."""
    open_loop: bool = False
    requests: int | None = None
    """At each level; None: four for each client, or ten seconds' worth, and 8 at least."""
    max_tokens: int = 64
    seed: int = 0
    """Of the moments of arrival."""

    def requests_at(self, load: float) -> int:
        if self.requests is not None:
            return self.requests
        return max(8, round(load * (10 if self.open_loop else 4)))


@dataclass(frozen=True)
class Answer:
    """One request as its client saw it; times in seconds since its level began."""

    asked: float
    ended: float
    arrivals: tuple[tuple[float, int], ...]
    """When tokens arrived, and how many."""
    prompt_tokens: int
    completion_tokens: int
    outcome: Literal["answered", "refused", "failed"]
    message: str = ""
    """Why it was not answered."""

    @property
    def first_token(self) -> float:
        """Seconds from asking to the first text; only of answered ones with a token at least."""
        return self.arrivals[0][0] - self.asked

    def gaps(self) -> Iterator[float]:
        """Seconds from token to token, after the first.

        Tokens that arrive together (those of one character, for instance) share the time since
        the arrival before them.
        """
        for (before, _), (now, tokens) in zip(self.arrivals, self.arrivals[1:], strict=False):
            yield from [(now - before) / tokens] * tokens


@dataclass(frozen=True)
class Level:
    """All that was seen at one load."""

    load: float
    open_loop: bool
    seconds: float
    """From the first request to the end of the last one."""
    answers: tuple[Answer, ...]
    peak_memory: int | None
    complete: bool
    """False if it was interrupted: requests that had not ended are missing."""


Watcher = Callable[[float, int, int], None]
"""Told after each request: the load, requests that have ended, requests in all."""


Ask = Callable[[str], Coroutine[Any, Any, None]]
"""Ask once, as the client of this name."""


@dataclass
class Bench:
    """Measures a target, one load after another; what has been measured stands in ``levels``.

    Args:
        target: what to measure.
        workload: with what.
        watcher: is told how far it is.
    """

    target: Target
    workload: Workload
    watcher: Watcher = lambda load, ended, requests: None
    levels: list[Level] = field(default_factory=list)
    _prompts: Iterator[int] = field(default_factory=count)

    async def run(self) -> None:
        """Measure every load. Cancelled, it keeps what it has and the requests that had ended.

        Raises:
            UserError: not even the requests that warm the target up are answered.
        """
        await self._warm_up()
        for load in self.workload.loads:
            await self._level(load)

    async def _warm_up(self) -> None:
        tokens = min(_WARM_UP_TOKENS, self.workload.max_tokens)
        began = perf_counter()
        answers = await asyncio.gather(
            *(
                self._ask(began, f"client {client}", next(self._prompts), tokens)
                for client in range(_WARM_UP_CLIENTS)
            )
        )
        for answer in answers:
            if answer.outcome == "failed":
                raise UserError(f"the first request failed: {answer.message}")

    async def _level(self, load: float) -> None:
        requests = self.workload.requests_at(load)
        answers: list[Answer] = []
        began = perf_counter()

        async def ask(client: str) -> None:
            prompt = next(self._prompts)
            answers.append(await self._ask(began, client, prompt, self.workload.max_tokens))
            self.watcher(load, len(answers), requests)

        self.watcher(load, 0, requests)
        self.target.forget_peak()
        try:
            if self.workload.open_loop:
                await self._open(load, requests, began, ask)
            else:
                await self._closed(round(load), requests, ask)
        finally:
            if answers:
                self.levels.append(
                    Level(
                        load,
                        self.workload.open_loop,
                        perf_counter() - began,
                        tuple(answers),
                        self.target.peak_memory(),
                        len(answers) == requests,
                    )
                )

    async def _closed(self, clients: int, requests: int, ask: Ask) -> None:
        left = iter(range(requests))

        async def client(name: str) -> None:
            for _ in left:
                await ask(name)

        async with asyncio.TaskGroup() as group:
            for number in range(min(clients, requests)):
                group.create_task(client(f"client {number}"))

    async def _open(self, rate: float, requests: int, began: float, ask: Ask) -> None:
        drawn = random.Random(f"{self.workload.seed} {rate}")
        moment = 0.0
        async with asyncio.TaskGroup() as group:
            for number in range(requests):
                group.create_task(ask(f"client {number}"))
                moment += drawn.expovariate(rate)
                if number < requests - 1:
                    await asyncio.sleep(began + moment - perf_counter())

    async def _ask(self, began: float, client: str, prompt: int, max_tokens: int) -> Answer:
        """Ask once and write down what happens; a target that fails does not stop the rest."""
        asked = perf_counter() - began
        arrivals: list[tuple[float, int]] = []
        prompt_tokens, completion_tokens = 0, None
        outcome: Literal["answered", "refused", "failed"] = "answered"
        message = ""
        try:
            async with contextlib.aclosing(self.target.ask(prompt, max_tokens, client)) as answer:
                async for arrival in answer:
                    if arrival.tokens:
                        arrivals.append((perf_counter() - began, arrival.tokens))
                    if arrival.prompt_tokens is not None:
                        prompt_tokens = arrival.prompt_tokens
                    if arrival.completion_tokens is not None:
                        completion_tokens = arrival.completion_tokens
        except RefusedError as error:
            outcome, message = "refused", str(error)
        except FailedError as error:
            outcome, message = "failed", str(error)
        if completion_tokens is None:
            completion_tokens = sum(tokens for _, tokens in arrivals)
        return Answer(
            asked,
            perf_counter() - began,
            tuple(arrivals),
            prompt_tokens,
            completion_tokens,
            outcome,
            message,
        )
