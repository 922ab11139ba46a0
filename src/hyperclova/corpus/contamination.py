"""Keeping evaluation texts out of training text.

A document is contaminated if it shares a run of words with an evaluation example: eight words,
or the whole example where it is shorter but still has five. (GPT-3, Brown et al. 2020,
Appendix C, looks for 13-grams of English; a Korean word carries its particles and endings, so
fewer words say as much.) Shorter examples are not looked for: they are common phrases.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperclova.corpus.hashing import Hashes, code_points, span_hashes
from hyperclova.errors import UserError

WORDS = 8
FEWEST_WORDS = 5
_PREFILTER_BITS = 22


def _word_characters() -> NDArray[np.bool_]:
    """Which code points words are made of, as ``\\w`` of :mod:`re` has it."""
    return np.array([chr(c).isalnum() or c == ord("_") for c in range(1 << 16)] + [True])


_IS_WORD = _word_characters()


def _words(texts: Sequence[str]) -> tuple[Hashes, NDArray[np.int64]]:
    """Hashes of all words of all texts, in order, and the number of the text of each.

    What lies beyond the Basic Multilingual Plane counts as a letter.
    """
    folded = [
        (
            text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)
        ).lower()
        for text in texts
    ]
    # A line end after each text keeps its last word apart from the next one's first.
    ends = np.cumsum([len(text) + 1 for text in folded])
    points = code_points("\n".join(folded) + "\n")
    inside = np.zeros(len(points) + 2, np.int8)
    inside[1:-1] = _IS_WORD[np.minimum(points, 1 << 16)]
    edges = np.diff(inside)
    starts = np.flatnonzero(edges == 1)
    hashes = span_hashes(points, starts, np.flatnonzero(edges == -1))
    return hashes, np.searchsorted(ends, starts, side="right")


def _runs(words: Hashes, texts: NDArray[np.int64], length: int) -> tuple[Hashes, NDArray[np.int64]]:
    """Hashes of all runs of ``length`` words that lie in one text, and its number."""
    starts = np.flatnonzero(texts[: max(0, len(texts) - length + 1)] == texts[length - 1 :])
    return span_hashes(words, starts, starts + length), texts[starts]


class Contamination:
    """The runs of words of a set of evaluation examples."""

    def __init__(self, examples: Iterable[str]) -> None:
        words, owners = _words(list(examples))
        sizes = np.bincount(owners)
        runs = {}
        for length in range(FEWEST_WORDS, WORDS + 1):
            hashes, examples_of = _runs(words, owners, length)
            chosen = (
                sizes[examples_of] >= length if length == WORDS else sizes[examples_of] == length
            )
            runs[length] = np.unique(hashes[chosen])
        self._set_runs(runs)

    def _set_runs(self, runs: Mapping[int, Hashes]) -> None:
        self._runs = {length: known for length, known in sorted(runs.items()) if len(known)}
        # Most runs of a document are in no example: a look at one bit says so.
        self._perhaps = {}
        for length, known in self._runs.items():
            table = np.zeros(1 << _PREFILTER_BITS, np.bool_)
            table[known >> np.uint64(64 - _PREFILTER_BITS)] = True
            self._perhaps[length] = table

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

    @property
    def runs(self) -> dict[int, Hashes]:
        """Sorted hashes of runs by their length in words."""
        return dict(self._runs)

    @classmethod
    def from_runs(cls, runs: Mapping[int, Hashes]) -> "Contamination":
        """Back from :attr:`runs`."""
        contamination = cls(())
        contamination._set_runs(runs)
        return contamination

    def found_in(self, text: str) -> bool:
        """Whether ``text`` shares a run of words with an example."""
        return bool(self.found_in_each([text])[0])

    def found_in_each(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """:meth:`found_in` of many texts at once, far faster for short ones: ``(texts,)``."""
        found = np.zeros(len(texts), np.bool_)
        if not self._runs or not texts:
            return found
        words, owners = _words(texts)
        for length, known in self._runs.items():
            runs, texts_of = _runs(words, owners, length)
            perhaps = self._perhaps[length][runs >> np.uint64(64 - _PREFILTER_BITS)]
            runs, texts_of = runs[perhaps], texts_of[perhaps]
            at = np.minimum(np.searchsorted(known, runs), len(known) - 1)
            found[texts_of[known[at] == runs]] = True
        return found
