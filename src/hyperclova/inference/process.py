"""The engine in a process of its own, for programs that must not wait for it. No torch here.

The web process talks to :class:`EngineProcess`; the model lives in a child
(:mod:`hyperclova.inference.child`). Whatever happens to the child, from a broken model to a
lack of memory, the web process goes on, says what happened, and starts it again.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperclova.errors import UserError
from hyperclova.inference import wire
from hyperclova.inference.availability import Availability
from hyperclova.inference.protocol import (
    Chunk,
    EngineBusy,
    EngineDied,
    EngineError,
    Floats,
    GradientRequest,
    Gradients,
    Pooling,
    Precision,
    Prompt,
    Request,
    Score,
    Statistics,
)

_FIRST_DELAY, _LONGEST_DELAY = 0.1, 30.0  # seconds before a restart; doubles with each death
_STEADY = 60.0  # seconds of work after which earlier deaths are forgotten
_FRUITLESS_STARTS = 3  # deaths in a row before the model was ready, after which we give up
_ERRORS = {"user": UserError, "busy": EngineBusy, "failure": EngineError}
_FAREWELL = 1.0  # seconds a child may take to end by itself; it has nothing to save


class EngineProcess(Availability):
    """An engine in a child process; belongs to one event loop.

    Args:
        directory: the model directory.
        name: what to call the model; the directory's name if None.
        precision: in which to compute; None is the engine's own choice.
        rows: the most continuations written at once.
        cache_bytes: memory for keys and values of prompts that may come again.
        limit: the most requests under way or waiting; further ones are refused.
        patience: seconds a request waits for a model that is still loading.
    """

    def __init__(
        self,
        directory: Path | str,
        name: str | None = None,
        *,
        precision: Precision | None = None,
        rows: int = 16,
        cache_bytes: int = 1 << 30,
        limit: int = 512,
        patience: float = 120.0,
    ) -> None:
        super().__init__(limit, patience)
        self._directory = Path(directory)
        self._options = ["--rows", str(rows), "--cache-bytes", str(cache_bytes)]
        if name is not None:
            self._options += ["--name", name]
        if precision is not None:
            self._options += ["--precision", precision]
        self._supervisor: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._child: Process | None = None
        self._calls: dict[int, asyncio.Queue[wire.Message | EngineDied]] = {}
        self._last_call = 0

    @property
    def pid(self) -> int | None:
        """The child's process id, if there is one."""
        return self._child.pid if self._child else None

    async def start(self) -> None:
        """Start the child and return at once; requests wait until the model is loaded."""
        if self._supervisor is None:
            self._enter("loading", "the model is loading")
            self._supervisor = asyncio.create_task(self._supervise())

    async def stop(self) -> None:
        """End the child; running streams raise :class:`EngineDied`."""
        self._enter("stopped", "the engine was stopped")
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await supervisor

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Chunks of all choices as they are written. Closing the iterator stops the work.

        Raises:
            UserError: the request cannot be answered as it is.
            EngineBusy: too many requests are under way.
            EngineDied: the child ended; the text so far is all there is.
        """
        message = {"type": "stream", "request": wire.request_to_plain(request)}
        async with contextlib.aclosing(self._call(message)) as answers:
            async for answer in answers:
                yield wire.chunk_from_plain(answer["chunk"])

    async def score(self, prompt: Prompt, continuation: str) -> Score:
        """How likely a continuation is, as :meth:`hyperclova.inference.Engine.score` says it.

        Raises:
            UserError, EngineBusy, EngineDied: as for :meth:`stream`.
        """
        return (await self.score_choices(prompt, [continuation]))[0]

    async def score_choices(self, prompt: Prompt, continuations: Sequence[str]) -> list[Score]:
        """How likely each continuation is after the same prompt, which is read once.

        Raises:
            UserError, EngineBusy, EngineDied: as for :meth:`stream`.
        """
        question = {"prompt": wire.prompt_to_plain(prompt), "continuations": list(continuations)}
        answer = await self._ask("score", question)
        return [wire.score_from_plain(score) for score in answer]

    async def embed(self, prompts: Sequence[Prompt], pooling: Pooling = "mean") -> Floats:
        """The states behind the last layer's norm, ``(prompts, width)``.

        Raises:
            UserError, EngineBusy, EngineDied: as for :meth:`stream`.
        """
        plain = [wire.prompt_to_plain(prompt) for prompt in prompts]
        return wire.array_from_plain(
            await self._ask("embed", {"prompts": plain, "pooling": pooling})
        )

    async def input_gradients(self, requests: Sequence[GradientRequest]) -> list[Gradients]:
        """Losses and their gradients with respect to input embeddings, in order.

        Raises:
            UserError, EngineBusy, EngineDied: as for :meth:`stream`.
        """
        plain = [wire.gradient_request_to_plain(request) for request in requests]
        answer = await self._ask("gradients", {"requests": plain})
        return [wire.gradients_from_plain(each) for each in answer]

    async def statistics(self) -> Statistics:
        """What the engine is doing at this moment.

        Raises:
            EngineDied: as for :meth:`stream`.
        """
        return wire.statistics_from_plain(await self._ask("statistics", {}))

    # -- one request -------------------------------------------------------------------------------

    async def _ask(self, kind: str, question: wire.Message) -> Any:
        async with contextlib.aclosing(self._call({**question, "type": kind})) as answers:
            async for answer in answers:
                return answer["answer"]
        raise EngineError("the engine gave no answer")

    async def _call(self, message: wire.Message) -> AsyncGenerator[wire.Message, None]:
        """Send a request and give out the answers to it."""
        self._last_call += 1
        call = self._last_call
        frame = wire.pack({**message, "id": call})
        async with self._place():
            answers = self._calls[call] = asyncio.Queue()
            self._send(frame)
            try:
                while True:
                    answer = await answers.get()
                    if isinstance(answer, EngineDied):
                        raise answer
                    if answer["type"] == "end":
                        return
                    if answer["type"] == "error":
                        raise _ERRORS[answer["kind"]](answer["message"])
                    yield answer
            finally:
                # What still stands here when we leave is running in the child for nobody.
                if self._calls.pop(call, None) is not None:
                    self._send(wire.pack({"type": "cancel", "id": call}))

    def _send(self, frame: bytes) -> None:
        # A child that has just died reads no more; its calls are about to be told of it.
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(frame)

    # -- the child ---------------------------------------------------------------------------------

    async def _supervise(self) -> None:
        """Run one child after another."""
        deaths = fruitless = 0
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                life = await self._live()
            except OSError as error:
                self._enter("failed", f"the engine process cannot be started: {error}")
                return
            if life.refused:
                self._enter("failed", life.cause)
                return
            deaths = 1 if life.ready and clock() - began > _STEADY else deaths + 1
            # Only what never became ready says something about the model.
            fruitless = 0 if life.ready else fruitless + 1
            if fruitless >= _FRUITLESS_STARTS:
                self._enter("failed", f"{life.cause}, {fruitless} times while loading the model")
                return
            await asyncio.sleep(min(_FIRST_DELAY * 2 ** (deaths - 1), _LONGEST_DELAY))

    async def _live(self) -> "_Life":
        """Start a child and pass on its answers until it ends."""
        spawning = asyncio.create_task(self._spawn())
        try:
            child, reader, writer = await asyncio.shield(spawning)
        except asyncio.CancelledError:  # stopped meanwhile; what has begun must be ended, too
            with contextlib.suppress(OSError):
                child, _, writer = await spawning
                await _end(child, writer)
            raise
        self._child = child
        life = _Life()
        try:
            while True:
                header = await reader.readexactly(wire.HEADER)
                message = wire.unpack(await reader.readexactly(wire.length(header)))
                match message["type"]:
                    case "ready":
                        life.ready = True
                        self._model = wire.model_from_plain(message["model"])
                        self._writer = writer
                        self._enter("ready", "the engine is ready")
                    case "failed":
                        life.refused, life.cause = True, message["message"]
                        return life
                    case kind:
                        self._pass_on(kind, message)
        except (asyncio.IncompleteReadError, ConnectionError):
            status = await _end(child, writer)
            life.cause = _describe(status)
            return life
        finally:
            self._child = self._writer = None
            if self._state != "stopped" and not life.refused:
                self._enter("restarting", f"{life.cause}; it is being started again")
            self._fail_calls(life.cause or self._message)
            await _end(child, writer)

    async def _spawn(self) -> tuple[Process, asyncio.StreamReader, asyncio.StreamWriter]:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                child = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "hyperclova.inference.child"),
                    *("--directory", str(self._directory), *self._options),
                    *("--socket", str(theirs.fileno()), "--parent", str(os.getpid())),
                    pass_fds=[theirs.fileno()],
                    stdin=DEVNULL,
                    stdout=DEVNULL,
                    start_new_session=True,  # Ctrl-C is for the parent, which then stops us
                )
            except BaseException:
                ours.close()
                raise
        reader, writer = await asyncio.open_connection(sock=ours)
        return child, reader, writer

    def _pass_on(self, kind: str, message: wire.Message) -> None:
        call = message["id"]
        answers = self._calls.get(call)
        if answers is None:  # nobody waits for it any more
            return
        if kind in ("end", "error"):
            del self._calls[call]
        answers.put_nowait(message)

    def _fail_calls(self, cause: str) -> None:
        calls, self._calls = self._calls, {}
        for answers in calls.values():
            answers.put_nowait(EngineDied(cause))


@dataclass
class _Life:
    """How a child's life went."""

    ready: bool = False
    refused: bool = False
    """It said itself that this model cannot be loaded; another try would end the same way."""
    cause: str = ""


async def _end(child: Process, writer: asyncio.StreamWriter) -> int:
    """Let a child end, by force if it must be; nothing of it is left afterwards."""
    writer.close()  # it ends when it sees this
    try:
        # Not wait_for, which until Python 3.12 forgets a cancellation that meets the child's end.
        async with asyncio.timeout(_FAREWELL):
            return await child.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        return await child.wait()


def _describe(status: int) -> str:
    if status == -signal.SIGKILL:
        return "the engine process was killed (perhaps the machine ran out of memory)"
    if status < 0:
        return f"the engine process was ended by {signal.Signals(-status).name}"
    return f"the engine process ended with status {status}"
