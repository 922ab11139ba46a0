"""The engine's process: ``python -m hyperclova.inference.child``, started by ``EngineProcess``.

It lives no longer than the process that started it. Messages in: ``stream``, ``cancel``, and the
questions ``score``, ``embed``, ``gradients``, ``statistics``. Messages out: ``ready`` or ``failed``
once; then ``chunk``, ``answer``, and one ``end`` or ``error`` for each request.
"""

import argparse
import contextlib
import ctypes
import os
import queue
import signal
import socket
import sys
import threading
import traceback
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from hyperclova.errors import UserError
from hyperclova.inference import wire
from hyperclova.inference.protocol import Chunk, EngineBusy

if TYPE_CHECKING:
    from hyperclova.inference.engine import Engine
    from hyperclova.inference.jobs import Job

_PR_SET_PDEATHSIG = 1
_ANSWERERS = 16  # questions under way at once; each waits in a thread


def main() -> NoReturn:
    parser = argparse.ArgumentParser(prog="hyperclova.inference.child")
    parser.add_argument("--directory", required=True)
    parser.add_argument("--name")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--precision")
    parser.add_argument("--cache-bytes", type=int, required=True)
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args()
    _die_with(arguments.parent)
    threading.excepthook = _fall
    connection = _Connection(socket.socket(fileno=arguments.socket))
    try:
        # Here, not above: until now nothing that takes seconds has been imported.
        from hyperclova.inference.engine import Engine

        engine = Engine(
            arguments.directory,
            arguments.name,
            precision=arguments.precision,
            rows=arguments.rows,
            cache_bytes=arguments.cache_bytes,
        )
    except Exception as error:
        if not isinstance(error, UserError):
            traceback.print_exc()
        connection.send({"type": "failed", "message": _one_line(error)})
        connection.flush()
        os._exit(1)
    connection.send({"type": "ready", "model": wire.model_to_plain(engine.model)})
    _Service(engine, connection).run()


def _die_with(parent: int) -> None:
    """End this process when ``parent`` ends, even if it is killed; Linux only.

    Elsewhere the end of the connection says so, once the connection's thread can run.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(0)


def _fall(fault: threading.ExceptHookArgs) -> None:
    """End this process: who waits for a thread that is no more would wait for ever.

    The parent tells them, and starts another child.
    """
    if fault.exc_value is not None:
        traceback.print_exception(fault.exc_value)
    sys.stderr.flush()
    os._exit(1)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    known = isinstance(error, UserError | EngineBusy)
    return text if known else f"{type(error).__name__}: {text}"


def _kind(error: BaseException) -> str:
    if isinstance(error, UserError):
        return "user"
    return "busy" if isinstance(error, EngineBusy) else "failure"


class _Connection:
    """Frames to and from the parent, each way on its own thread."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self.incoming: queue.SimpleQueue[wire.Message] = queue.SimpleQueue()
        self._outgoing: queue.SimpleQueue[wire.Message | threading.Event] = queue.SimpleQueue()
        for loop in (self._receive, self._transmit):
            threading.Thread(target=loop, name=loop.__name__, daemon=True).start()

    def send(self, message: wire.Message) -> None:
        """Queue a message; never blocks."""
        self._outgoing.put(message)

    def flush(self) -> None:
        """Wait until all that was queued is on its way."""
        done = threading.Event()
        self._outgoing.put(done)
        done.wait()

    def _receive(self) -> None:
        # A parent that leaves while we write to it resets the connection: the same as its end.
        with self._channel.makefile("rb") as stream, contextlib.suppress(ConnectionError):
            while len(header := stream.read(wire.HEADER)) == wire.HEADER:
                self.incoming.put(wire.unpack(stream.read(wire.length(header))))
        # The parent closed the connection or is gone: nobody is left to work for. No clean-up
        # is needed, and waiting for a computation to end would only hold memory.
        os._exit(0)

    def _transmit(self) -> None:
        while True:
            item = self._outgoing.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            try:
                self._channel.sendall(wire.pack(item))
            except OSError:
                os._exit(0)


class _Service:
    """Answers messages with an engine."""

    def __init__(self, engine: "Engine", connection: _Connection) -> None:
        self._engine, self._connection = engine, connection
        self._jobs: dict[int, Job] = {}
        self._questions: dict[int, Future[None]] = {}
        """Each ends when its answer is no longer wanted."""
        self._answerers = ThreadPoolExecutor(_ANSWERERS)

    def run(self) -> NoReturn:
        while True:
            message = self._connection.incoming.get()
            call = message["id"]
            match message["type"]:
                case "stream":
                    self._stream(call, message)
                case "statistics":
                    answer = wire.statistics_to_plain(self._engine.statistics())
                    self._connection.send({"type": "answer", "id": call, "answer": answer})
                    self._end(call, None)
                case "cancel":
                    self._cancel(call)
                case _:
                    given_up = self._questions[call] = Future()
                    self._answerers.submit(self._answer, call, message, given_up)

    def _stream(self, call: int, message: wire.Message) -> None:
        try:
            job = self._engine.submit(
                wire.request_from_plain(message["request"]),
                partial(self._chunk, call),
                partial(self._end, call),
            )
        except Exception as error:
            self._end(call, error)
            return
        self._jobs[call] = job
        if job.ended:  # perhaps before it was noted, so that its end removed nothing
            self._jobs.pop(call, None)

    def _cancel(self, call: int) -> None:
        # Either may have ended while the message was on its way.
        if job := self._jobs.get(call):
            job.cancel()
        elif given_up := self._questions.get(call):
            given_up.cancel()

    def _answer(self, call: int, message: wire.Message, given_up: "Future[None]") -> None:
        try:
            if given_up.done():
                return
            answer = self._find(message, given_up)
        except CancelledError:  # nobody waits for its end either
            return
        except Exception as error:
            self._end(call, error)
        else:
            self._connection.send({"type": "answer", "id": call, "answer": answer})
            self._end(call, None)
        finally:
            del self._questions[call]

    def _find(self, message: wire.Message, given_up: "Future[None]") -> Any:
        engine = self._engine
        match message["type"]:
            case "score":
                prompt = wire.prompt_from_plain(message["prompt"])
                scores = engine.score_choices(prompt, message["continuations"], given_up=given_up)
                return [wire.score_to_plain(score) for score in scores]
            case "embed":
                prompts = [wire.prompt_from_plain(prompt) for prompt in message["prompts"]]
                states = engine.embed(prompts, message["pooling"], given_up=given_up)
                return wire.array_to_plain(states)
            case "gradients":  # computed to their end, though perhaps for nobody
                requests = [wire.gradient_request_from_plain(each) for each in message["requests"]]
                return [wire.gradients_to_plain(each) for each in engine.input_gradients(requests)]
            case kind:
                raise ValueError(f"no such question: {kind}")

    def _chunk(self, call: int, chunk: Chunk) -> None:
        self._connection.send({"type": "chunk", "id": call, "chunk": wire.chunk_to_plain(chunk)})

    def _end(self, call: int, error: BaseException | None) -> None:
        self._jobs.pop(call, None)
        if error is None:
            self._connection.send({"type": "end", "id": call})
            return
        if _kind(error) == "failure":
            traceback.print_exception(error)
        self._connection.send(
            {
                "type": "error",
                "id": call,
                "kind": _kind(error),
                "message": _one_line(error),
            }
        )


if __name__ == "__main__":
    main()
