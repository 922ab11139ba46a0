"""Real processes with a gloo process group, forked from the test."""

import multiprocessing
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


def run_ranks(
    work: Callable[..., Any], ranks: int, directory: Path, *arguments: Any, timeout: float = 60
) -> list[Any]:
    """Run ``work(*arguments)`` in as many processes; what each returned, or its exit status.

    A process that raised gives the traceback as text.
    """
    directory.mkdir(parents=True, exist_ok=True)
    rendezvous = directory / "rendezvous"
    fork = multiprocessing.get_context("fork")
    pipes = [fork.Pipe(duplex=False) for _ in range(ranks)]

    def main(rank: int) -> None:
        torch.set_num_threads(1)
        try:
            dist.init_process_group(
                "cpu:gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=ranks
            )
            result = work(*arguments)
        except BaseException:
            result = traceback.format_exc()
        pipes[rank][1].send(result)
        if dist.is_initialized():
            dist.destroy_process_group()

    processes = [fork.Process(target=main, args=(rank,)) for rank in range(ranks)]
    for process in processes:
        process.start()
    results = []
    for process, (receiver, sender) in zip(processes, pipes, strict=True):
        sender.close()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
        results.append(receiver.recv() if receiver.poll() else process.exitcode)
    return results
