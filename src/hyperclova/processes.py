"""Worker processes that don't outlive the program that started them."""

import functools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from hyperclova.errors import UserError

Key = TypeVar("Key")
Value = TypeVar("Value")


def end_with_parent() -> None:
    """Let this process end when its parent does, however that ends.

    For the initializer of a process pool: the workers of a program that was killed would wait for
    work for ever.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()


@contextmanager
def worker_pool(
    workers: int, start: Callable[..., None], *arguments: object
) -> Iterator[ProcessPoolExecutor]:
    """Processes for many jobs of about a second each.

    If the block raises, as it does at Ctrl-C, jobs that wait are never begun and those that run
    are waited for.

    Args:
        workers: number of processes.
        start: called in each process before its first job, with ``arguments``.

    Raises:
        UserError: a process died.
    """
    context = multiprocessing.get_context("spawn")
    initializer = functools.partial(_start, start, *arguments)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=initializer) as pool:
        try:
            yield pool
        except BrokenProcessPool:
            raise UserError(
                "a worker process died (out of memory?); run the same command again with fewer "
                "--workers"
            ) from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def in_order(
    submitted: Iterable[tuple[Key, Future[Value]]], ahead: int
) -> Iterator[tuple[Key, Value]]:
    """The results of jobs in the order in which they were submitted.

    Args:
        submitted: submits a job whenever it is asked for one; what it stands for, and its future.
        ahead: jobs under way at once, which bounds the memory that jobs and results take.
    """
    pending: deque[tuple[Key, Future[Value]]] = deque()
    for job in submitted:
        pending.append(job)
        if len(pending) > ahead:
            key, future = pending.popleft()
            yield key, future.result()
    while pending:
        key, future = pending.popleft()
        yield key, future.result()


def _start(start: Callable[..., None], *arguments: object) -> None:
    # Ctrl-C reaches every process of a terminal. A worker it ended while it sends a result would
    # leave the program waiting for the other half.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    start(*arguments)
