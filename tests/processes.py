"""Several real processes that talk through gloo, forked from the test's.

Forked, because a child that imports torch again takes twenty times as long to begin. They meet
through a file, so no two tests can want the same port.
"""

import multiprocessing
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist


class Raised(str):
    """The traceback of a process that raised, in place of what it would have returned."""


class Died(int):
    """The exit status of a process that ended without a word."""


def run_ranks(
    work: Callable[..., Any],
    ranks: int,
    directory: Path,
    *arguments: Any,
    timeout: float = 60,
    frozen: int | None = None,
) -> list[Any]:
    """Run ``work(*arguments)`` in as many processes; what each returned, by rank.

    The one that is ``frozen`` is killed when the others have ended, all are after ``timeout``
    seconds.
    """
    directory.mkdir(parents=True, exist_ok=True)
    rendezvous = directory / "rendezvous"
    fork = multiprocessing.get_context("fork")
    outputs = [directory / f"result-{rank}.pickle" for rank in range(ranks)]

    def main(rank: int) -> None:
        torch.set_num_threads(1)
        try:
            dist.init_process_group(
                "cpu:gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=ranks
            )
            result = work(*arguments)
        except BaseException:
            result = Raised(traceback.format_exc())
        # Through a file: tensors in a queue are sent by handle, and their sender does not wait.
        outputs[rank].write_bytes(pickle.dumps(result))
        if dist.is_initialized():
            dist.destroy_process_group()

    processes = [fork.Process(target=main, args=(rank,)) for rank in range(ranks)]
    for process in processes:
        process.start()
    for process in sorted(processes, key=lambda process: process is processes[frozen or 0]):
        process.join(0 if frozen is not None and process is processes[frozen] else timeout)
        process.kill()
        process.join()
    return [
        pickle.loads(output.read_bytes()) if output.exists() else Died(process.exitcode or 0)
        for process, output in zip(processes, outputs, strict=True)
    ]


def run_together(processes: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """The same for processes that are all to end well; the test fails if one does not."""
    with TemporaryDirectory() as directory:
        results = run_ranks(
            _and_wait, processes, Path(directory), function, *arguments, timeout=300
        )
    failures = [
        f"rank {rank}: {result}"
        for rank, result in enumerate(results)
        if isinstance(result, Raised | Died)
    ]
    assert not failures, "\n".join(failures)
    return results


def _and_wait(function: Callable[..., Any], *arguments: Any) -> Any:
    result = function(*arguments)
    dist.barrier()  # nobody leaves while another still reads from it
    return result
