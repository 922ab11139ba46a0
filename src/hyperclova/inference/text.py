"""From token ids to text that may be shown: whole characters, and never a stop string."""

import codecs
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

from hyperclova.inference.logprobs import Measured
from hyperclova.inference.protocol import TokenLogprob, TokenResult
from hyperclova.inference.token_text import token_text
from hyperclova.tokenizer import Tokenizer


class StopMatcher:
    """Finds the stop string that is completed first in a text that comes in pieces.

    The result does not depend on how the text is cut into pieces. What might be the beginning of
    a stop string is held back until it is decided.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(stop)
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """The text that is safe to show now, and whether a stop string ended it."""
        held = self._held + text
        # Held text holds no stop string yet, so the first to be completed ends within `text`;
        # of two that end together the longer one begins first and takes more away.
        found = [(at + len(stop), at) for stop in self._stop if (at := held.find(stop)) >= 0]
        if found:
            self._held = ""
            return held[: min(found)[1]], True
        keep = max((_overlap(held, stop) for stop in self._stop), default=0)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep], False

    def finish(self) -> str:
        """What was held back, now that nothing follows it."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that is a beginning of ``stop``, but not all of it."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0


class Writer:
    """Writes one choice: takes its tokens one by one, gives out text and token results.

    A token result is given out together with the text in which its first character stands. A
    token cut by a stop string keeps only its part before it.
    """

    def __init__(
        self, tokenizer: Tokenizer, stop: Sequence[str], before: Sequence[int], hidden: int = 0
    ) -> None:
        """
        Args:
            before: the tokens of the prompt if they are not written out: a character that they
                left unfinished is completed by the first tokens of the continuation.
            hidden: characters at the beginning that repeat the prompt's and are not shown.
        """
        self._tokenizer = tokenizer
        self._matcher = StopMatcher(stop)
        self._decoder = tokenizer.stream_decoder()
        self._tail = _Tail()
        for token in before[-3:]:  # an unfinished character has at most three bytes
            self._decoder.push(token)
            self._tail.push(tokenizer.token_bytes(token))
        self._hidden = hidden
        self._decoded = 0
        self._shown = 0
        self._tokens: deque[TokenResult] = deque()

    def echo(
        self, tokens: Iterable[int], measured: Iterable[Measured | None]
    ) -> tuple[str, tuple[TokenResult, ...]]:
        """Write out the prompt, in which stop strings mean nothing."""
        text = []
        for token, measure in zip(tokens, measured, strict=True):
            if measure is not None:
                self._tokens.append(self._result(token, measure))
            text.append(self._decode(token))
        return self._show("".join(text))

    def push(
        self, token: int, measured: Measured | None
    ) -> tuple[str, tuple[TokenResult, ...], bool]:
        """Write one generated token.

        Returns:
            Text and token results that may be shown now, and whether a stop string was met;
            then nothing may be pushed any more.
        """
        if measured is not None:
            self._tokens.append(self._result(token, measured))
        text, stopped = self._matcher.push(self._decode(token))
        shown, results = self._show(text)
        if stopped:
            self._tokens.clear()
            results = tuple(self._cut(result) for result in results)
        return shown, results, stopped

    def repeat(self, token: int) -> None:
        """Take a token that only repeats the prompt."""
        self._decode(token)

    def finish(self) -> tuple[str, tuple[TokenResult, ...]]:
        """What was held back, at an end that is no stop string.

        The bytes of a character that was not finished are not shown; their token results are.
        """
        text, results = self._show(self._matcher.finish())
        results += tuple(self._tokens)
        self._tokens.clear()
        return text, results

    def _decode(self, token: int) -> str:
        text = self._decoder.push(token)
        self._tail.push(self._tokenizer.token_bytes(token))
        repeated = min(self._hidden, len(text))
        self._hidden -= repeated
        self._decoded += len(text) - repeated
        return text[repeated:]

    def _result(self, token: int, measured: Measured) -> TokenResult:
        # Its first byte either goes on with the unfinished character, which will stand at
        # `decoded`, or breaks it off: then U+FFFD stand there and the token begins behind them.
        broken = self._tail.broken_by(self._tokenizer.token_bytes(token))
        top = tuple(
            TokenLogprob(rival, token_text(self._tokenizer, rival), logprob)
            for rival, logprob in measured.top
        )
        text = token_text(self._tokenizer, token)
        if self._hidden and not text.startswith("bytes:"):
            text = text[self._hidden :]
        return TokenResult(token, text, measured.logprob, self._decoded + broken, top)

    def _show(self, text: str) -> tuple[str, tuple[TokenResult, ...]]:
        self._shown += len(text)
        results = []
        while self._tokens and self._tokens[0].offset < self._shown:
            results.append(self._tokens.popleft())
        return text, tuple(results)

    def _cut(self, result: TokenResult) -> TokenResult:
        room = self._shown - result.offset
        if result.text.startswith("bytes:") or len(result.text) <= room:
            return result
        return replace(result, text=result.text[:room])


class _Tail:
    """The bytes of the character that is not finished yet."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, data: bytes) -> None:
        self._decoder.decode(data)

    def broken_by(self, data: bytes) -> int:
        """How many U+FFFD the unfinished character turns into if ``data`` follows; 0 if ``data``
        goes on with it.

        The incremental decoder holds back the beginning of a surrogate, which nothing can finish
        and whose every byte will be one; so it is not asked.
        """
        tail, _ = self._decoder.getstate()
        if not tail or not data:
            return 0
        return len((tail + data[:1]).decode(errors="replace")) - 1
