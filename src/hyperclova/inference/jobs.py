"""What the scheduler works on: prompts to continue, to score, to embed."""

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from torch import Tensor

from hyperclova.inference.cache import KeyValues
from hyperclova.inference.prompt import Symbols
from hyperclova.inference.protocol import FinishReason

logger = logging.getLogger(__name__)

MEASURED_ROWS = 64
"""States whose logits are held at once when a prompt is measured."""

OnEnd = Callable[[BaseException | None], None]


@dataclass(frozen=True)
class Wish:
    """States whose logits a job wants."""

    job: "Job"
    states: Tensor
    """``(rows, width)``"""
    take: Callable[[Tensor], None]
    """Called with the logits ``(rows, vocab_size)``."""


@dataclass(eq=False)
class Reader:
    """Symbols on their way into a sequence's keys and values."""

    job: "Job"
    symbols: Symbols
    cache: KeyValues | None = None
    """None until reading begins: what can be reused is decided then."""
    begin: int = 0
    """The cache's position at which ``symbols`` begin; not 0 for a continuation of a prompt."""
    reuse: bool = True
    """Whether what has been read before may come from the prefix cache: if only the state after
    the last symbol is wanted."""
    remember: bool = True
    """Whether what has been read goes into the prefix cache."""

    @property
    def place(self) -> int:
        """The next symbol to be read."""
        return 0 if self.cache is None else self.cache.length - self.begin

    @property
    def left(self) -> int:
        return len(self.symbols) - self.place


class Job(ABC):
    """One piece of work for the scheduler, from submission to its end.

    ``on_end`` is called exactly once, on the scheduler's thread, with the error if there was one;
    it must not block.
    """

    def __init__(self, on_end: OnEnd, *, client: str = "", deadline: float | None = None) -> None:
        self._on_end = on_end
        self.client = client
        self.expires = math.inf if deadline is None else time.monotonic() + deadline
        self._tell: Callable[[], None] | None = None
        self.cancelled = False
        self.ended = False

    def cancel(self) -> None:
        """Stop as soon as possible; may be called on any thread, more than once."""
        self.cancelled = True
        if self._tell is not None:
            self._tell()

    def on_cancel(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` when the job is cancelled from now on, on whatever thread."""
        self._tell = tell

    @property
    def expired(self) -> bool:
        return time.monotonic() >= self.expires

    def end(self, error: BaseException | None = None) -> None:
        """Tell whoever waits that this is over; what goes wrong with that goes into the log."""
        if self.ended:
            return
        self.ended = True
        try:
            self._on_end(error)
        except BaseException:
            # There is nobody left to tell, and the thread is everybody's.
            logger.exception("on_end of a request raised")

    def stop(self, reason: FinishReason) -> None:
        """End early, telling whoever waits what there is to tell."""
        self.end()

    @abstractmethod
    def reader(self) -> Reader | None:
        """What must be read first; None if the model is not needed at all."""

    @abstractmethod
    def states(self, reader: Reader, begin: int, states: Tensor) -> list[Wish]:
        """Take the states ``(tokens, width)`` after the reader's symbols from ``begin`` on."""

    def read(self, reader: Reader) -> list[Reader]:
        """A reader has come to its end, wishes fulfilled; what is to be read next."""
        return []


Failing = Callable[[Sequence[Job]], AbstractContextManager[None]]
"""Makes a context in which a failure ends the given jobs and nothing else."""
