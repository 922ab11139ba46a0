"""A request on its way through the scheduler: waiting, being read, being written."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from hyperclova.inference.cache import KeyValueCache
from hyperclova.inference.logprobs import Measured
from hyperclova.inference.protocol import Chunk, FinishReason, Request, TokenResult
from hyperclova.inference.sampling import Chooser
from hyperclova.inference.text import Writer


@dataclass(eq=False)
class Job:
    """A request on its way through the engine.

    ``on_chunk`` and ``on_end`` are called on the scheduler's thread and must not block;
    ``on_end`` is called exactly once, with the error if there was one.
    """

    request: Request
    prompt: tuple[int, ...]
    """Token ids, at least one."""
    seed: int
    on_chunk: Callable[[Chunk], None]
    on_end: Callable[[BaseException | None], None]
    added: int = 0
    """Tokens at the beginning of ``prompt`` that the engine put there: not counted or echoed."""
    measure_from: int = 0
    """With ``echo`` and ``logprobs``, the first prompt token whose rivals are wanted."""
    cancelled: bool = field(default=False, init=False)
    open_choices: int = field(default=0, init=False)
    ended: bool = field(default=False, init=False)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the client's prompt."""
        return len(self.prompt) - self.added

    def cancel(self) -> None:
        """Stop as soon as possible; may be called on any thread, more than once."""
        self.cancelled = True

    def end(self, error: BaseException | None = None) -> None:
        if not self.ended:
            self.ended = True
            self.on_end(error)


@dataclass(eq=False)
class Prompt:
    """A prompt being read, and what its choices begin with."""

    job: Job
    cache: KeyValueCache
    measured: list[Measured | None]
    logits: Tensor | None = None
    """``(1, vocab_size)`` after the last token."""
    next_choice: int = 0


@dataclass(eq=False)
class Row:
    """One choice being written."""

    job: Job
    choice: int
    cache: KeyValueCache
    chooser: Chooser
    writer: Writer
    limit: int
    """The most tokens it may generate."""
    last: int = -1
    generated: int = 0

    def emit(self, text: str, tokens: tuple[TokenResult, ...], reason: FinishReason | None) -> None:
        if text or tokens or reason:
            self.job.on_chunk(
                Chunk(self.choice, text, tokens, reason, self.job.prompt_tokens, self.generated)
            )
