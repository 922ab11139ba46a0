"""Rules against documents that repeat themselves: graphemes, symbols, lines, words.

Source of the idea: the paper's Appendix A.1 drops documents that are "too repetitive" at the level
of graphemes, numbers and special characters, and names reviews padded to a site's minimum length.
The measures of lines and n-grams are those of Gopher (Rae et al. 2021, Table A1), with thresholds
set for Korean words, which carry their particles and so repeat less.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hyperclova.corpus.documents import Document
from hyperclova.corpus.hashing import code_points
from hyperclova.corpus.rule import Rule, Verdict
from hyperclova.corpus.rules._characters import kinds, rest_share

_RUN = re.compile(r"(\S)\1{3,}|(\S\S)\2{3,}")
# What people lengthen to say it louder: Hangul, punctuation that expresses, pictures. Not digits,
# Latin letters or the signs that draw rules and tables, which mean something else when shorter.
_EXPRESSIVE = re.compile(
    r"[가-힣ㄱ-ㆎ.!?~,;^♥♡★☆…‥ㅡ･・·⁺"
    r"\u2600-\u27bf\u2b50\ufe0f\U0001f000-\U0001faff]+"
)
_LONG = 400
"""Characters from which arrays are faster than a regular expression."""


@dataclass(frozen=True, kw_only=True)
class GraphemeRepetition(Rule):
    """Documents that are mostly one grapheme over and over (``ㅋㅋㅋㅋㅋㅋ``, ``아아아아``,
    ``하호하호하호하호``) are dropped; in others long runs are cut to :attr:`longest_run` repeats.

    A run is four or more repeats of one character or of a pair. Only Hangul, expressive
    punctuation and pictures are cut; numbers, Latin letters and the rules of tables stay as they
    are.

    Source: paper, Appendix A.1 (too repetitive at grapheme level).
    """

    share: float = 0.7
    """Drop if more than this share of the visible characters is in runs."""
    longest_run: int = 6
    """Repeats that stay of a longer run, at least 4 (the Korean ellipsis has six points); 0: runs
    stay as they are."""

    def __post_init__(self) -> None:
        if self.longest_run and self.longest_run < 4:
            raise ValueError(f"longest_run is {self.longest_run}; at least 4, or 0 for any length")

    def apply(self, document: Document) -> Verdict:
        text = document.text
        if not _may_have_runs(text):
            return Verdict(document)
        inside = sum(match.end() - match.start() for match in _RUN.finditer(text))
        if not inside:
            return Verdict(document)
        share = inside / (len(text) - sum(map(text.count, " \n\t")))
        if share > self.share:
            return Verdict(None, f"{share:.0%} of the characters are in runs of the same", share)
        shorter = self._shorten(text)
        if shorter == text:
            return Verdict(document)
        cut = len(text) - len(shorter)
        return Verdict(
            replace(document, text=shorter), f"runs shortened by {cut} characters", share
        )

    def _shorten(self, text: str) -> str:
        if not self.longest_run:
            return text

        def cut(match: re.Match[str]) -> str:
            unit = match[1] or match[2]
            kept = unit * self.longest_run
            return kept if len(kept) < len(match[0]) and _EXPRESSIVE.fullmatch(unit) else match[0]

        while True:  # two runs may become one when what was between them is cut
            shorter = _RUN.sub(cut, text)
            if shorter == text:
                return text
            text = shorter


def _may_have_runs(text: str) -> bool:
    """False if ``text`` surely has no run of four; quick for long texts."""
    if len(text) < _LONG:
        return True
    points = code_points(text)
    same = points[1:] == points[:-1]
    if (same[2:] & same[1:-1] & same[:-2] & (points[3:] > 0x20)).any():
        return True
    every_other = points[2:] == points[:-2]
    half = every_other[3:] & every_other[2:-1] & every_other[1:-2] & every_other[:-3]
    return bool((half & (points[5:] > 0x20) & (points[4:-1] > 0x20)).any())


@dataclass(frozen=True, kw_only=True)
class SymbolRepetition(Rule):
    """Documents that are mostly digits, punctuation, signs or emoji are dropped.

    Source: paper, Appendix A.1 (too repetitive at the level of numbers and special characters);
    Gopher's share of alphabetic words.
    """

    digits: float = 0.6
    """Drop if more than this share of the visible characters is digits,"""
    symbols: float = 0.7
    """or this share symbols,"""
    both: float = 0.75
    """or this share either."""

    def apply(self, document: Document) -> Verdict:
        least = min(self.digits, self.symbols, self.both)
        if rest_share(document.text) <= least:
            return Verdict(document)
        count = kinds(document.text)
        visible = count.visible
        digits, symbols = count.digits, count.symbols
        if digits > self.digits * visible:
            return _mostly("digits", digits / visible)
        if symbols > self.symbols * visible:
            return _mostly("symbols", symbols / visible)
        if digits + symbols > self.both * visible:
            return _mostly("digits and symbols", (digits + symbols) / visible)
        return Verdict(document)


def _mostly(what: str, share: float) -> Verdict:
    return Verdict(None, f"{share:.0%} of the characters are {what}", share)


@dataclass(frozen=True, kw_only=True)
class LineRepetition(Rule):
    """Documents whose lines are largely copies of other lines of theirs are dropped.

    Lines of fewer than four characters (brackets, rules, "삭제") don't count.

    Source: Gopher, Table A1 (duplicate lines 30 %, characters in them 20 %).
    """

    lines: int = 6
    """Documents with fewer lines pass."""
    line_share: float = 0.6
    """Drop if more than this share of the lines repeats an earlier one,"""
    character_share: float = 0.4
    """or if such lines hold more than this share of the characters."""

    def apply(self, document: Document) -> Verdict:
        if document.text.count("\n") + 1 < self.lines:
            return Verdict(document)
        lines = [line for line in map(str.strip, document.text.split("\n")) if len(line) >= 4]
        distinct = set(lines)
        repeats = len(lines) - len(distinct)
        if not repeats or len(lines) < self.lines:
            return Verdict(document)
        share = repeats / len(lines)
        if share > self.line_share:
            return Verdict(None, f"{share:.0%} of the lines repeat an earlier one", share)
        total = sum(map(len, lines))
        share = 1 - sum(map(len, distinct)) / total
        if share > self.character_share:
            return Verdict(None, f"{share:.0%} of the characters are in repeated lines", share)
        return Verdict(document)


@dataclass(frozen=True, kw_only=True)
class NgramRepetition(Rule):
    """Documents that say the same words again and again are dropped.

    Three measures: the share of the words that lie in runs of five said before; how much of the
    text is one and the same run of three words; and, for short texts such as reviews, where words
    may stand without spaces, the share of repeated runs of four characters
    ("재밌어요재밌어요재밌어요").

    Source: Gopher, Table A1; paper, Appendix A.1 (reviews padded to a minimum length).
    """

    words: int = 20
    """Shorter documents are not judged by their words."""
    repeated: float = 0.65
    """Drop if more than this share of the words is in five-word runs that came before. Statutes and
    reference manuals reach 0.6,"""
    top: float = 0.3
    """or the most frequent three-word run makes up more than this share of the words,"""
    padded: float = 0.5
    """or more than this share of the runs of four characters came before"""
    characters: int = 400
    """in a text of at most so many characters."""

    def apply(self, document: Document) -> Verdict:
        text = document.text
        if len(text) <= self.characters and _may_be_padded(text):
            share = _repeated_characters(text)
            if share > self.padded:
                return Verdict(None, f"{share:.0%} of the text repeats itself", share)
        if len(text) < 2 * self.words:
            return Verdict(document)
        words = text.split()
        if len(words) < self.words:
            return Verdict(document)
        # Words that are said again in runs are said again alone: most documents are let off here.
        again = 1 - len(set(words)) / len(words)
        if again > self.repeated:
            share = _repeated_words(_runs(words, 5), 5, len(words))
            if share > self.repeated:
                return Verdict(
                    None, f"{share:.0%} of the words are in five-word runs said before", share
                )
        if again > self.top / 2 and max(Counter(words).values()) >= self.top / 3 * len(words):
            share = _top_words(_runs(words, 3), 3, len(words))
            if share > self.top:
                return Verdict(
                    None, f"one run of three words makes up {share:.0%} of the text", share
                )
        return Verdict(document)


_FOLD = re.compile(r"[\W_]+")
_PROBES = 16


def _may_be_padded(text: str) -> bool:
    """Whether some of a few evenly spaced runs of three characters come again further on.

    In prose of a few hundred characters one or two of sixteen do; in a text that says the same
    thing over and over, all but those in its last repeat.
    """
    length = len(text)
    if length < 12 or (length < 200 and len(set(text)) > 0.7 * length):
        return False
    step = max(1, length // _PROBES)
    find = text.find
    again = 0
    for start in range(0, length - 3, step):
        if find(text[start : start + 3], start + 1) >= 0:
            again += 1
    return again >= _PROBES // 4


def _repeated_characters(text: str) -> float:
    """Share of the runs of four letters that came before; 0 for texts of fewer than eleven."""
    folded = _FOLD.sub("", text)
    runs = len(folded) - 3
    if runs < 8:
        return 0.0
    return 1 - len({folded[start : start + 4] for start in range(runs)}) / runs


def _runs(words: list[str], length: int) -> npt.NDArray[np.int64]:
    """A hash of each run of ``length`` words, good only for telling runs apart in this process."""
    hashes = np.fromiter(map(hash, words), np.int64, len(words))
    total = np.zeros(len(hashes) - length + 1, np.int64)
    for offset in range(length):
        total *= 1_000_003
        total += hashes[offset : len(hashes) - length + 1 + offset]
    return total


def _repeated_words(runs: npt.NDArray[np.int64], length: int, words: int) -> float:
    """Share of the words that lie in a run that came before."""
    _, first = np.unique(runs, return_index=True)
    if len(first) == len(runs):
        return 0.0
    again = np.ones(len(runs), np.bool_)
    again[first] = False
    inside = np.zeros(words, np.bool_)
    for offset in range(length):
        inside[offset : offset + len(runs)] |= again
    return float(inside.mean())


def _top_words(runs: npt.NDArray[np.int64], length: int, words: int) -> float:
    """Share of the words that the most frequent run makes up, if it comes three times."""
    _, count = np.unique(runs, return_counts=True)
    most = int(count.max())
    if most < 3:
        return 0.0
    return min(1.0, most * length / words)
