"""Runs of digits, however they are written, and the search for patterns in them."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hyperclova.corpus.anonymise.folding import (
    DIGITS,
    DOTS,
    HYPHENS,
    INVISIBLE,
    SPACES,
    Folded,
    fold,
)

# Parts of patterns: not after or before a digit or a mask, nor inside of a longer hyphenated
# number; what stands between two groups of digits. Never \\b: in "는010-1234-5678입니다" there is
# no boundary, as Hangul are word characters.
START = r"(?<![0-9*])(?<![0-9*]-)"
END = r"(?![0-9*])(?!-[0-9*])"
GAP = r"(?:\ ?[-~./_]{1,2}\ ?|\ {1,2})"

SEPARATORS = "".join("\\-" if char == "-" else char for char in HYPHENS + DOTS) + "~～∼" + SPACES

_BEFORE, _AFTER = 40, 24
"""Characters around a run that are read as its context."""
_AHEAD = 8
"""How far before its run a number may begin: (+82), 경기북부."""
_FEWEST_DIGITS = 9

# Letters typed for digits (O1O-l234-5678) count inside of a run of digits only.
_RUN = re.compile(f"[{DIGITS}OoIl][{DIGITS}OoIl{SEPARATORS}{INVISIBLE}/／_()（）]{{7,}}")
_NOT_DIGIT = re.compile(r"[^0-9]")
_NOT_DIGIT_LIKE = re.compile(f"[^{DIGITS}OoIl]")
_LETTERS_FOR_DIGITS = re.compile(r"(?<![A-Za-z])[OoIl]+(?![A-Za-z])")
LETTER_DIGITS = str.maketrans("OoIl", "0011")


@dataclass(frozen=True, slots=True)
class Run:
    """A run of digits and separators in its surroundings, folded."""

    folded: Folded
    first: int
    last: int
    """Where in the folded text the run stands. What is outside belongs to other runs, and may be
    cut by the end of the slice."""

    def matches(
        self, pattern: re.Pattern[str], accept: Callable[[re.Match[str]], bool]
    ) -> Iterator[re.Match[str]]:
        """Matches in this run that ``accept`` takes.

        Behind one that it doesn't take, the search goes on at the match's second character.
        """
        position = max(0, self.first - _AHEAD)
        while match := pattern.search(self.folded.text, position):
            if match.start() >= self.last:
                return
            if match.end() > self.first and accept(match):
                yield match
                position = match.end()
            else:
                position = match.start() + 1


def find_runs(text: str) -> Iterator[Run]:
    """Runs with digits enough to identify anybody."""
    for run in _RUN.finditer(text):
        if len(_NOT_DIGIT_LIKE.sub("", run[0])) >= _FEWEST_DIGITS:
            yield _surroundings(text, run.start(), run.end())


def _surroundings(text: str, start: int, end: int) -> Run:
    folded = fold(text, start - _BEFORE, end + _AFTER)
    first, last = folded.find(start), folded.find(end)
    parts: list[str] = []
    done = 0
    for letters in _LETTERS_FOR_DIGITS.finditer(folded.text, first, last):
        parts += (folded.text[done : letters.start()], letters[0].translate(LETTER_DIGITS))
        done = letters.end()
    parts.append(folded.text[done:])
    return Run(Folded("".join(parts), folded.start, folded.positions), first, last)


def digits_of(text: str) -> str:
    """The digits of ``text`` alone."""
    return _NOT_DIGIT.sub("", text)


def before(match: re.Match[str], reach: int = _BEFORE) -> str:
    """What stands before ``match``."""
    return match.string[max(0, match.start() - reach) : match.start()]


def after(match: re.Match[str], reach: int = _AFTER) -> str:
    """What stands behind ``match``."""
    return match.string[match.end() : match.end() + reach]
