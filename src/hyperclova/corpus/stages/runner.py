"""Who does the tasks: processes of this machine, or a Dask cluster. Both are executors."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from hyperclova.corpus.stages.workspace import Task, Workspace
from hyperclova.errors import UserError
from hyperclova.processes import end_with_parent

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, the bytes of text done so far and those of the whole stage."""

_RETRIES = 5


@contextmanager
def executor(workers: int, cluster: str | None = None) -> Iterator[Executor]:
    """What runs tasks.

    Args:
        workers: processes on this machine.
        cluster: instead, the address of a Dask scheduler (``tcp://HOST:8786``). Its workers must
            see inputs and output under the same names. A task whose worker dies is given to
            another one, up to five times.

    Raises:
        UserError: the scheduler doesn't answer.
    """
    if cluster is None:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent) as pool:
            try:
                yield pool
            except BaseException:
                # What is waiting is never begun; what runs ends or is done again next time.
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return
    from distributed import Client

    try:
        client: Any = Client(cluster, timeout="20s")  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise UserError(f"{cluster}: no Dask scheduler answers there: {error}") from None
    with client:
        yield client.get_executor(pure=False, retries=_RETRIES)


def run(
    pool: Executor, workspace: Workspace, tasks: Sequence[Task], progress: Progress | None
) -> None:
    """Do the tasks of one stage that are not done yet; return when all are.

    Raises:
        UserError: a task's, or a worker process died.
    """
    if not tasks:
        return
    stage = tasks[0].stage
    total = sum(task.weight for task in tasks)
    waiting = [task for task in tasks if not workspace.is_done(task)]
    done = total - sum(task.weight for task in waiting)
    if progress:
        progress(stage, done, total)
    # The largest first: the stage does not end with one worker busy.
    waiting.sort(key=lambda task: -task.weight)
    futures: dict[Future[None], Task] = {
        pool.submit(perform, workspace, task): task for task in waiting
    }
    pending = set(futures)
    try:
        while pending:
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                future.result()
                done += futures[future].weight
            if progress:
                progress(stage, done, total)
    except BrokenProcessPool:
        raise UserError(
            f"a worker process died during '{stage}' (out of memory?); nothing is lost: run the "
            "same command again, with fewer --workers or a smaller piece_megabytes"
        ) from None
    finally:
        for future in pending:
            future.cancel()


def perform(workspace: Workspace, task: Task) -> None:
    """Do one task, unless somebody has: a cluster may hand the same one to two workers."""
    if not workspace.is_done(task):
        workspace.perform(task)
