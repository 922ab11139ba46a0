"""A prompt to continue, and its continuations."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from hyperclova.inference.cache import KeyValues
from hyperclova.inference.jobs import MEASURED_ROWS, Job, OnEnd, Reader, Wish
from hyperclova.inference.logprobs import Measured, measure
from hyperclova.inference.prompt import Symbols
from hyperclova.inference.protocol import Chunk, FinishReason, Request, TokenResult
from hyperclova.inference.sampling import Chooser
from hyperclova.inference.text import Writer


@dataclass(eq=False)
class Row:
    """One choice being written."""

    job: "Generation"
    choice: int
    cache: KeyValues
    chooser: Chooser
    writer: Writer
    limit: int
    """The most tokens it may generate, besides those that repeat the prompt."""
    last: int = -1
    generated: int = 0

    def emit(self, text: str, tokens: tuple[TokenResult, ...], reason: FinishReason | None) -> None:
        if text or tokens or reason:
            self.job.emit(self.choice, text, tokens, reason, self.generated)


class Generation(Job):
    """A prompt to continue. ``on_chunk`` must not block."""

    def __init__(
        self,
        request: Request,
        prompt: Symbols,
        seed: int,
        vocabulary: int,
        on_chunk: Callable[[Chunk], None],
        on_end: OnEnd,
        prompt_tokens: int,
        remainder: bytes = b"",
    ) -> None:
        """
        Args:
            vocabulary: how many ids the tokenizer has.
            prompt_tokens: of the client's prompt.
            remainder: the end of the client's prompt that ``prompt`` lacks and that the
                continuations write again.
        """
        super().__init__(on_end, client=request.client, deadline=request.deadline)
        self.prompt_tokens, self.remainder = prompt_tokens, remainder
        self.request, self.prompt, self.seed = request, prompt, seed
        self._vocabulary = vocabulary
        self._on_chunk = on_chunk
        self.measured: list[Measured | None] = [None]
        """Of each symbol, if the prompt is echoed with log-probabilities."""
        self.logits: Tensor | None = None
        """``(1, vocab_size)`` after the prompt."""
        self.cache: KeyValues | None = None
        """The prompt's, once it has been read."""
        self.reads_again = False
        """Whether the prompt's were given up, though further choices need them."""
        self.begun = 0
        """Choices that are or were being written."""
        self.open = 0
        """Choices being written."""

    def emit(
        self,
        choice: int,
        text: str,
        tokens: tuple[TokenResult, ...],
        reason: FinishReason | None,
        generated: int,
    ) -> None:
        self._on_chunk(Chunk(choice, text, tokens, reason, self.prompt_tokens, generated))

    def stop(self, reason: FinishReason) -> None:
        for choice in range(self.begun, self.request.n):
            self.emit(choice, "", (), reason, 0)
        self.end()

    def end(self, error: BaseException | None = None) -> None:
        self.cache = self.logits = None  # whoever holds on to the request need not hold these
        super().end(error)

    @property
    def _echoes_measured(self) -> bool:
        return self.request.echo and self.request.logprobs is not None

    def reader(self) -> Reader | None:
        if not (self.request.max_tokens or self._echoes_measured):
            return None
        measures = self._echoes_measured and not self.reads_again
        return Reader(self, self.prompt, reuse=not measures)

    def give_up_prompt(self) -> bool:
        """Hold the prompt's keys and values no longer; False if they are not held."""
        if self.cache is None:
            return False
        self.cache, self.reads_again = None, self.logits is not None
        return True

    def states(self, reader: Reader, begin: int, states: Tensor) -> list[Wish]:
        if self.reads_again:  # all that is to be said about it has been said
            return []
        wishes = []
        total = len(self.prompt)
        if self._echoes_measured:
            # The state at one place says how likely the symbol at the next one is.
            last = min(begin + len(states), total - 1)
            wishes += [
                self._measuring(at, states[at - begin : min(at + MEASURED_ROWS, last) - begin])
                for at in range(begin, last, MEASURED_ROWS)
            ]
        if begin + len(states) == total and self.request.max_tokens:
            wishes.append(Wish(self, states[-1:], self._take_logits))
        return wishes

    def _measuring(self, begin: int, states: Tensor) -> Wish:
        following = self.prompt.ids(begin + 1, begin + 1 + len(states))

        def take(logits: Tensor) -> None:
            top = self.request.logprobs or 0
            self.measured += measure(logits, following, top, self._vocabulary)

        return Wish(self, states, take)

    def _take_logits(self, logits: Tensor) -> None:
        self.logits = logits.clone()

    def read(self, reader: Reader) -> list[Reader]:
        self.cache, self.reads_again = reader.cache, False
        return []
