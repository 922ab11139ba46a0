"""Keeping evaluation texts out of training text.

A document is contaminated if it shares a run of words with an evaluation example: eight words,
or the whole example where it is shorter but still has five. (GPT-3, Brown et al. 2020,
Appendix C, looks for 13-grams of English; a Korean word carries its particles and endings, so
fewer words say as much.) Shorter examples are not looked for: they are common phrases.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hyperclova.errors import UserError

WORDS = 8
FEWEST_WORDS = 5
_WORD = re.compile(r"\w+")


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFC", text).lower())


def _runs(words: list[str], length: int) -> Iterator[int]:
    for start in range(len(words) - length + 1):
        yield hash(tuple(words[start : start + length]))


class Contamination:
    """The runs of words of a set of evaluation examples."""

    def __init__(self, examples: Iterable[str]) -> None:
        self._runs: dict[int, set[int]] = {}
        for example in examples:
            words = _words(example)
            if len(words) >= FEWEST_WORDS:
                length = min(len(words), WORDS)
                self._runs.setdefault(length, set()).update(_runs(words, length))

    @classmethod
    def from_files(cls, paths: Sequence[Path]) -> "Contamination":
        """One example a line, UTF-8.

        Raises:
            UserError: a file can't be read.
        """
        examples: list[str] = []
        for path in paths:
            try:
                examples += path.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(f"{path}: can't be read as UTF-8 text: {error}") from None
        return cls(examples)

    def found_in(self, text: str) -> bool:
        """Whether ``text`` shares a run of words with an example."""
        if not self._runs:
            return False
        words = _words(text)
        return any(
            run in known for length, known in self._runs.items() for run in _runs(words, length)
        )
