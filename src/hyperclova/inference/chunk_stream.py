"""Chunks of one request, for a caller who waits for each of them."""

import queue
from collections.abc import Callable, Iterator
from types import TracebackType

from hyperclova.inference.jobs import Job
from hyperclova.inference.protocol import Chunk


class ChunkStream(Iterator[Chunk]):
    """Chunks of one request. ``close()``, leaving ``with`` or dropping it stops the work."""

    def __init__(
        self,
        start: Callable[[Callable[[Chunk], None], Callable[[BaseException | None], None]], Job],
    ) -> None:
        self._events: queue.SimpleQueue[Chunk | _End] = queue.SimpleQueue()
        events = self._events
        self._done = False
        self._job = start(events.put, lambda error: events.put(_End(error)))

    def __next__(self) -> Chunk:
        if self._done:
            raise StopIteration
        event = self._events.get()
        if isinstance(event, Chunk):
            return event
        self._done = True
        if event.error is not None:
            raise event.error
        raise StopIteration

    def close(self) -> None:
        """Stop the work and free its place; harmless at the end."""
        self._done = True
        self._job.cancel()

    def __enter__(self) -> "ChunkStream":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_job"):  # not if the request was refused
            self._job.cancel()


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error
