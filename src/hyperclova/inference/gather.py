"""From a stream of chunks to a whole completion. No torch: clients of any engine use it."""

from collections.abc import Iterable

from hyperclova.inference.protocol import Choice, Chunk, Completion, FinishReason, TokenResult


class Gatherer:
    """Collects the chunks of one request, in whatever order the choices are written."""

    def __init__(self, n: int) -> None:
        self._texts: list[list[str]] = [[] for _ in range(n)]
        self._tokens: list[list[TokenResult]] = [[] for _ in range(n)]
        self._reasons: list[FinishReason | None] = [None] * n
        self._completion_tokens = [0] * n
        self._prompt_tokens = 0

    def add(self, chunk: Chunk) -> None:
        self._texts[chunk.choice].append(chunk.text)
        self._tokens[chunk.choice].extend(chunk.tokens)
        self._completion_tokens[chunk.choice] = chunk.completion_tokens
        self._prompt_tokens = chunk.prompt_tokens
        if chunk.finish_reason is not None:
            self._reasons[chunk.choice] = chunk.finish_reason

    def completion(self) -> Completion:
        """All that was collected; a choice whose end has not come counts as cancelled."""
        choices = tuple(
            Choice("".join(text), reason or "cancelled", tuple(tokens))
            for text, tokens, reason in zip(self._texts, self._tokens, self._reasons, strict=True)
        )
        return Completion(choices, self._prompt_tokens, sum(self._completion_tokens))


def gather(chunks: Iterable[Chunk], n: int) -> Completion:
    """The completion of a request for ``n`` choices."""
    gatherer = Gatherer(n)
    for chunk in chunks:
        gatherer.add(chunk)
    return gatherer.completion()
