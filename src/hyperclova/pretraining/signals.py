"""Requests to stop: noted when they come, acted on between two steps."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
import torch.distributed as dist


class StopRequest:
    """The signal that asked this process to stop; 0: none yet."""

    signal_number: int = 0

    def agreed(self) -> int:
        """The request of any process of the run, the same for all; called by all between steps.

        The numbers travel on processors: nobody waits for an accelerator.
        """
        if not dist.is_initialized():
            return self.signal_number
        number = torch.tensor(self.signal_number)
        dist.all_reduce(number, dist.ReduceOp.MAX)
        return int(number)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note SIGTERM and SIGINT for the loop to act on after the step.

    A second SIGINT, from a person, acts at once. SIGTERM may come twice on its own, from the
    scheduler and from ``torchrun``, and still leaves time to save.
    """
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        if request.signal_number and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.signal_number = number

    previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
