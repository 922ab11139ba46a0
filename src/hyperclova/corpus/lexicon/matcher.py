"""Finding words of a list in Korean text, also where they are disguised.

A disguised word is written with tense or plain consonants and like vowels (the list says which),
with the letters of a syllable apart (ㅆㅣ발), with signs or digits in between (시1발, 씨@발), or
with the Latin keys of the Korean keyboard (tlqkf). All disguises are worked into one regular
expression when the list is read, so that the text itself needs no folding: hits have offsets into
the text as it is, and a text without hits costs one scan.

The expression is an alternation of branches that each begin with one literal character. Python's
engine makes a set of those characters and skips everything else at full speed.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

_INITIALS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_FINALS = ("", *"ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ")
_SYLLABLES = range(0xAC00, 0xD7A4)
# The Latin keys of the standard Korean keyboard (KS X 5002), jamo made of two keys included.
_KEYS = dict(
    zip(
        "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎㅏㅐㅑㅒㅓㅔㅕㅖㅗㅛㅜㅠㅡㅣ",
        "rRseEfaqQtTdwWczxvgkoiOjpuPhynbml",
        strict=True,
    )
) | {
    "ㅘ": "hk", "ㅙ": "ho", "ㅚ": "hl", "ㅝ": "nj", "ㅞ": "np", "ㅟ": "nl", "ㅢ": "ml",
    "ㄳ": "rt", "ㄵ": "sw", "ㄶ": "sg", "ㄺ": "fr", "ㄻ": "fa", "ㄼ": "fq", "ㄽ": "ft",
    "ㄾ": "fx", "ㄿ": "fv", "ㅀ": "fg", "ㅄ": "qt",
}  # fmt: skip
_GAP = "[0-9@!*^~.,_/|+=:;'\"ㆍ·ㅡㅣㅋㅎ♡♥★☆\u200b-\u200d\u2060\ufeff]"
_LONGEST_GAP = 3
_FREQUENT = (
    "이다에의는1가을은하한지고로기사대시년자인아서도일수라나정리전주제해그부장화보개게조문오유"
)
"""The commonest characters of Korean text that may begin a word, commonest first."""
_FEWEST_KEYS = 5
"""Shorter sequences of Latin keys are too likely to be words of some other language."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One word and its variants; a table ``[[entries]]`` of a list."""

    name: str
    """What hits are called."""
    category: str
    weight: float = 1.0
    words: tuple[str, ...] = ()
    """Spellings. A space may be there or not in the text."""
    syllables: tuple[str, ...] = ()
    """A family of spellings: for each syllable, the variants that may stand for it."""
    disguised: bool = False
    """Also with letters apart, with signs in between, and typed with Latin keys."""
    start: bool = False
    """Not directly after a syllable, except one of the list's ``prefixes``."""
    alone: bool = False
    """Not next to a loose jamo that could be part of another abbreviation."""
    unless_after: tuple[str, ...] = ()
    unless_before: tuple[str, ...] = ()
    """Contexts in which the word is another one (글씨 before 발, 점 after 시발)."""
    only_before: tuple[str, ...] = ()
    """If given: only where one of these follows."""
    only_after: tuple[str, ...] = ()
    """If given: only where one of these stands directly before."""


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry found in a text."""

    entry: Entry
    start: int
    end: int


class Matcher:
    """All entries of a list as one expression.

    Args:
        entries: at one place, the first that matches wins.
        prefixes: what may stand directly before an entry with ``start``.
    """

    def __init__(self, entries: Iterable[Entry], prefixes: Iterable[str] = ()) -> None:
        self.entries = tuple(entries)
        self._prefixes = tuple(prefixes)

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        """All spellings of all entries, without telling which is whose: that would cost speed."""
        branches: dict[str, dict[str, None]] = {}
        for entry in self.entries:
            for first, rest in _spellings(entry):
                branches.setdefault(first, {})[rest] = None
        # The engine tries the branches one after the other: frequent characters go first.
        frequent = {character: place for place, character in enumerate(_FREQUENT)}
        order = sorted(branches, key=lambda c: (frequent.get(c, len(frequent)), c))
        return re.compile(
            "|".join(f"{re.escape(first)}(?:{'|'.join(branches[first])})" for first in order)
        )

    @cached_property
    def _owners(self) -> "dict[str, list[tuple[Entry, re.Pattern[str]]]]":
        """Entries by first character, with their spellings that begin with it."""
        owners: dict[str, list[tuple[Entry, re.Pattern[str]]]] = {}
        for entry in self.entries:
            spellings: dict[str, list[str]] = {}
            for first, rest in _spellings(entry):
                spellings.setdefault(first, []).append(rest)
            for first, rests in spellings.items():
                longest_first = sorted(dict.fromkeys(rests), key=len, reverse=True)
                pattern = re.compile(f"{re.escape(first)}(?:{'|'.join(longest_first)})")
                owners.setdefault(first, []).append((entry, pattern))
        return owners

    def find(self, text: str) -> Iterator[Hit]:
        """Hits in ``text``, in order, without overlaps."""
        search, owners = self._expression.search, self._owners
        place = 0
        while candidate := search(text, place):
            start = candidate.start()
            place = start + 1
            for entry, pattern in owners[text[start]]:
                match = pattern.match(text, start)
                if match and self._stands(entry, text, start, match.end()):
                    place = match.end()
                    yield Hit(entry, start, place)
                    break

    def _stands(self, entry: Entry, text: str, start: int, end: int) -> bool:
        """Whether the word is the one that is meant, by what stands around it."""
        before, after = text[start - 1 : start], text[end : end + 1]
        if entry.unless_after and text.endswith(entry.unless_after, 0, start):
            return False
        if entry.unless_before and text.startswith(entry.unless_before, end):
            return False
        if entry.only_before and not text.startswith(entry.only_before, end):
            return False
        if entry.only_after and not text.endswith(entry.only_after, 0, start):
            return False
        if entry.start and (before.isdigit() or (_is_latin(before) and _is_latin(text[start]))):
            return False  # 5개년, GTX같은
        if entry.start and _is_syllable(before):
            return bool(self._prefixes) and text.endswith(self._prefixes, 0, start)
        if entry.alone:
            return not (_is_jamo(before) or _is_jamo(after))
        if entry.disguised:
            inside = text[start:end]
            if inside.isascii():  # Latin keys
                return not (_is_latin(before) or _is_latin(after))
            if not all(_is_syllable(c) or _is_jamo(c) for c in inside):
                # Something in between: certain only if it is a word of its own.
                return not (_is_syllable(before) or before.isdigit() or _is_particle(after))
        return True


def _is_particle(after: str) -> bool:
    return _is_syllable(after) and after not in "새놈년넘것아이련럼려들"


def _is_latin(character: str) -> bool:
    return character.isascii() and character.isalnum()


def _is_syllable(character: str) -> bool:
    return "가" <= character <= "힣"


def _is_jamo(character: str) -> bool:
    """Loose consonants that build abbreviations; laughter and tears do not count."""
    return "ㄱ" <= character <= "ㆎ" and character not in "ㅋㅎㅠㅜㅡㅗ"


def _spellings(entry: Entry) -> Iterator[tuple[str, str]]:
    """First characters with the expression of what follows them."""
    for word in entry.words:
        yield word[0], re.escape(word[1:]).replace("\\ ", "\\s?")
    if not entry.syllables:
        return
    first, *others = entry.syllables
    if not entry.disguised:
        rest = "".join(f"[{variants}]" for variants in others)
        yield from ((character, rest) for character in first)
        return
    gap = f"{_GAP}{{0,{_LONGEST_GAP}}}"
    rest = "".join(gap + _apart(variants) for variants in others)
    for character in first:
        yield character, rest
        initial, vowel, final = _letters(character)
        yield initial, f"{initial}*{vowel}+{final}{rest}"
        if final:
            yield _compose(initial, vowel, ""), final + rest
    for keys in _typed(entry.syllables):
        if len(keys) >= _FEWEST_KEYS:
            yield keys[0], keys[1:]


def _apart(variants: str) -> str:
    """One of the syllables, whole or with its letters apart."""
    forms = [f"[{variants}]"]
    for character in variants:
        initial, vowel, final = _letters(character)
        forms.append(f"{initial}+{vowel}+{final}")
        if final:
            forms.append(_compose(initial, vowel, "") + final)
    return "(?:" + "|".join(dict.fromkeys(forms)) + ")"


def _typed(syllables: tuple[str, ...]) -> list[str]:
    """The first variant of each syllable, and those of the first one, as Latin keys."""
    rest = "".join(variants[0] for variants in syllables[1:])
    return [
        "".join(
            _KEYS[letter] for syllable in first + rest for letter in _letters(syllable) if letter
        )
        for first in syllables[0]
    ]


def _letters(syllable: str) -> tuple[str, str, str]:
    number = ord(syllable) - _SYLLABLES.start
    initial, others = divmod(number, 21 * 28)
    return _INITIALS[initial], _VOWELS[others // 28], _FINALS[others % 28]


def _compose(initial: str, vowel: str, final: str) -> str:
    place = (_INITIALS.index(initial) * 21 + _VOWELS.index(vowel)) * 28 + _FINALS.index(final)
    return chr(_SYLLABLES.start + place)


def load(name: str) -> Matcher:
    """The matcher of the list ``name`` of this package."""
    source = resources.files(__package__) / f"{name}.toml"
    return parse(tomllib.loads(source.read_text(encoding="utf-8")), name)


def parse(content: Mapping[str, Any], name: str) -> Matcher:
    """The matcher of a list: ``prefixes`` and tables ``[[entries]]``."""
    from hyperclova import configuration

    entries = (
        configuration.build(Entry, table, f"{name}, entry {number}")
        for number, table in enumerate(content["entries"], start=1)
    )
    return Matcher(entries, content.get("prefixes", ()))
