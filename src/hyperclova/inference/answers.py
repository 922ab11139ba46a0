"""The work of one call, which may be more than can wait at once, and its answers in order."""

import queue
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future
from typing import Protocol, TypeVar

from hyperclova.inference.jobs import Job
from hyperclova.inference.protocol import EngineBusy

T = TypeVar("T")


class Queue(Protocol):
    """Where jobs wait: a scheduler."""

    def submit(self, job: Job) -> None:
        """Queue a job.

        Raises:
            EngineBusy: too many wait already.
        """

    def when_room(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` once, on whatever thread, as soon as there is room for a job."""


def answers(
    work: Iterable[tuple[Job, "Future[T]"]],
    waiting: Queue,
    at_once: int,
    given_up: "Future[None] | None" = None,
) -> list[T]:
    """Submit jobs, wait for them, and give their answers in order.

    ``work`` is gone through as there is room, on the caller's thread. A call that finds no room at
    all is refused; once its first job has been taken, it waits for room as long as it must. If
    anything fails, or the caller is interrupted, all that was submitted here is cancelled.

    Args:
        work: jobs, each with the future that holds its answer at its end.
        at_once: the most jobs under way at once, so that others find room as well.
        given_up: its end, from another thread, is that of this call.

    Raises:
        EngineBusy: there is no room for the first job.
        CancelledError: the call was given up.
        Exception: whatever a job ends with; the first to come.
    """
    events: queue.SimpleQueue[Future[T] | Future[None] | None] = queue.SimpleQueue()
    under_way: dict[Future[T] | Future[None] | None, Job] = {}
    found: list[Future[T]] = []

    def wait() -> None:
        """Wait until a job ends, there may be room, or the call is given up."""
        event = events.get()
        if under_way.pop(event, None) is not None:
            assert event is not None
            event.result()
        elif event is not None:
            raise CancelledError

    def submit(job: Job) -> None:
        while True:
            try:
                waiting.submit(job)
                return
            except EngineBusy:
                if len(found) == 1:
                    raise
            waiting.when_room(lambda: events.put(None))
            wait()

    if given_up is not None:
        given_up.add_done_callback(events.put)
    try:
        for job, answer in work:
            # Noted before it is submitted: an interruption may come at any moment.
            under_way[answer] = job
            found.append(answer)
            answer.add_done_callback(events.put)
            submit(job)
            while len(under_way) >= at_once or not events.empty():
                wait()
        while under_way:
            wait()
    except BaseException:
        for job in under_way.values():
            job.cancel()
        raise
    return [answer.result() for answer in found]
