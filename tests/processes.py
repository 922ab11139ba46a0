"""Several real processes that talk through gloo, forked from the test's."""

import pickle
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist


def run_together(processes: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """``function(*arguments)`` in each of some processes; what each returned, by rank.

    Forked, because a child that imports torch again takes twenty times as long to begin. They
    meet through a file, so no two tests can want the same port.
    """
    context = get_context("fork")
    results = context.SimpleQueue()
    with TemporaryDirectory() as directory:
        store = Path(directory) / "store"
        children = [
            context.Process(
                target=_child, args=(rank, processes, store, results, function, arguments)
            )
            for rank in range(processes)
        ]
        for child in children:
            child.start()
        answers: dict[int, Any] = {}
        failures = []
        for _ in children:
            rank, answer, failure = results.get()
            answers[rank] = pickle.loads(answer) if answer else None
            if failure:
                failures.append(f"rank {rank}: {failure}")
                break  # the others may wait for it for ever
        for child in children:
            if failures:
                child.kill()
            child.join()
    assert not failures, "\n".join(failures)
    return [answers[rank] for rank in range(processes)]


def _child(
    rank: int,
    processes: int,
    store: Path,
    results: Any,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    torch.set_num_threads(1)
    try:
        dist.init_process_group(
            "cpu:gloo",
            init_method=f"file://{store}",
            rank=rank,
            world_size=processes,
            timeout=timedelta(seconds=60),
        )
        answer = function(*arguments)
        dist.barrier()
        # As bytes: tensors would be sent by handle, and their sender does not wait.
        results.put((rank, pickle.dumps(answer), None))
        dist.destroy_process_group()
    except BaseException:
        results.put((rank, None, traceback.format_exc()))
