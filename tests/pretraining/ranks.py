"""Real processes with a gloo process group, forked from the test."""

import multiprocessing
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


def run_ranks(
    work: Callable[..., Any],
    ranks: int,
    directory: Path,
    *arguments: Any,
    timeout: float = 60,
    frozen: int | None = None,
) -> list[Any]:
    """Run ``work(*arguments)`` in as many processes; what each returned, or its exit status.

    A process that raised gives the traceback as text. The one that is ``frozen`` is killed when
    the others have ended.
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
            result = traceback.format_exc()
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
        pickle.loads(output.read_bytes()) if output.exists() else process.exitcode
        for process, output in zip(processes, outputs, strict=True)
    ]
