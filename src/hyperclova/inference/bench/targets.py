"""What can be measured: an engine in a child process, or a server that speaks OpenAI's API.

A target takes one prompt and tells, as it happens, that tokens arrived. The clocks are the
client's (:mod:`hyperclova.inference.bench.load`).
"""

import contextlib
import sys
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from hyperclova.errors import UserError
from hyperclova.inference.bench.prompts import Prompts
from hyperclova.inference.process import EngineProcess
from hyperclova.inference.protocol import (
    EngineBusy,
    EngineDied,
    EngineError,
    ModelInformation,
    Precision,
    Request,
    Sampling,
)

_NEVER = -1e4  # added to a logit: e to this power is no probability at all


class RefusedError(Exception):
    """The target has too much to do and said so."""


class FailedError(Exception):
    """The target could not answer; the message says why."""


@dataclass(frozen=True)
class Arrival:
    """Something of an answer arrived."""

    tokens: int
    """How many tokens came with it; 0 for an end without text."""
    prompt_tokens: int | None = None
    """Tokens of the prompt, where the target says so."""
    completion_tokens: int | None = None
    """Tokens of the answer so far, where the target says so."""


class Target(Protocol):
    """Something that answers prompts, between entering and leaving it."""

    async def __aenter__(self) -> "Target": ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def ask(self, prompt: int, max_tokens: int, client: str) -> AsyncGenerator[Arrival, None]:
        """Send prompt number ``prompt`` and tell what arrives.

        Raises:
            RefusedError: it is busy.
            FailedError: anything else went wrong.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """What is measured, for the report; after entering."""
        ...

    def forget_peak(self) -> None:
        """Measure :meth:`peak_memory` from now on."""
        ...

    def peak_memory(self) -> int | None:
        """The most bytes its process held in memory; None where that cannot be known."""
        ...


class EngineTarget:
    """The engine in its child process. Every answer is exactly as long as asked for.

    Use as ``async with EngineTarget(...) as target:``.

    Args:
        directory: a model directory.
        prompts: what to ask.
        temperature: of the sampling; 0 takes the most likely token.
        rows: the most continuations written at once.
        end_of_text: id of the token that would end an answer early.
        name: what to call the model; the directory's name if None.
        precision: in which to compute; None is the engine's own choice.

    Raises:
        UserError: (on entering) the model cannot be loaded.
    """

    def __init__(
        self,
        directory: Path,
        prompts: Prompts,
        temperature: float,
        rows: int,
        end_of_text: int,
        name: str | None = None,
        precision: Precision | None = None,
    ) -> None:
        self._prompts = prompts
        self._sampling = Sampling(temperature=temperature, logit_bias={end_of_text: _NEVER})
        self._rows = rows
        self._process = EngineProcess(directory, name, precision=precision, rows=rows)

    async def __aenter__(self) -> "EngineTarget":
        await self._process.start()
        try:
            await self._process.wait_ready()
        except EngineDied as error:
            await self._process.stop()
            raise UserError(str(error)) from None
        except BaseException:
            await self._process.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._process.stop()

    @property
    def model(self) -> ModelInformation:
        assert self._process.model is not None  # entering waits for it
        return self._process.model

    async def ask(self, prompt: int, max_tokens: int, client: str) -> AsyncGenerator[Arrival, None]:
        request = Request(
            self._prompts(prompt), max_tokens, self._sampling, heal=False, client=client
        )
        before = 0
        with _explained():
            async with contextlib.aclosing(self._process.stream(request)) as chunks:
                async for chunk in chunks:
                    yield Arrival(
                        chunk.completion_tokens - before,
                        chunk.prompt_tokens,
                        chunk.completion_tokens,
                    )
                    before = chunk.completion_tokens

    def describe(self) -> dict[str, Any]:
        model = self.model
        return {
            "kind": "engine",
            "model": model.name,
            "parameters": model.parameters,
            "precision": model.precision,
            "context_length": model.context_length,
            "rows": self._rows,
        }

    def forget_peak(self) -> None:
        # Linux: 5 sets a process's peak to what it holds now (proc_pid_clear_refs(5)). Where that
        # is not allowed, the peak goes on counting from the start of the process.
        if sys.platform == "linux" and self._process.pid is not None:
            with contextlib.suppress(OSError):
                Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def peak_memory(self) -> int | None:
        if sys.platform != "linux" or self._process.pid is None:
            return None
        with contextlib.suppress(OSError):  # it may have died just now
            for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024  # said in kB, meant in KiB
        return None


class ServerTarget:
    """A server with OpenAI's ``/v1/completions``. Its answers may end before they are full.

    Use as ``async with ServerTarget(...) as target:``.

    Args:
        url: the server's address, with or without ``/v1``.
        prompts: what to ask.
        temperature: of the sampling.
        api_key: sent as a bearer token.

    Raises:
        UserError: ``url`` is no address; on entering, nothing answers there or no model is listed.
    """

    def __init__(
        self, url: str, prompts: Prompts, temperature: float, api_key: str | None = None
    ) -> None:
        from hyperclova.inference.remote.connection import Connection  # needs the extra remote

        # No patience: a refusal is a figure here, not something to get over.
        self._connection = Connection(url, api_key=api_key, timeout=600, patience=0)
        self._prompts, self._temperature = prompts, temperature
        self._model = ""

    async def __aenter__(self) -> "ServerTarget":
        try:
            models = (await self._connection.get("v1/models")).get("data")
            self._model = models[0]["id"] if models else ""
        except EngineError as error:
            await self._connection.close()
            raise UserError(f"--server: {error}") from None
        if not self._model:
            await self._connection.close()
            raise UserError(f"--server: {self._connection.address} lists no model")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._connection.close()

    async def ask(self, prompt: int, max_tokens: int, client: str) -> AsyncGenerator[Arrival, None]:
        body = {
            "model": self._model,
            "prompt": self._prompts.text(prompt),
            "max_tokens": max_tokens,
            "temperature": self._temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        with _explained():
            events = self._connection.events("v1/completions", body)
            async with contextlib.aclosing(events):
                async for event in events:
                    # A piece of text counts as a token; usage, at the end, says how many it was.
                    brought = any(choice.get("text") for choice in event.get("choices", ()))
                    usage = event.get("usage") or {}
                    yield Arrival(
                        int(brought), usage.get("prompt_tokens"), usage.get("completion_tokens")
                    )

    def describe(self) -> dict[str, Any]:
        return {"kind": "server", "model": self._model, "address": self._connection.address}

    def forget_peak(self) -> None:
        pass

    def peak_memory(self) -> int | None:
        return None


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """What an engine, here or elsewhere, raises, as refusals and failures."""
    try:
        yield
    except EngineBusy as error:
        raise RefusedError(str(error)) from None
    except (EngineError, UserError) as error:
        raise FailedError(str(error)) from None
