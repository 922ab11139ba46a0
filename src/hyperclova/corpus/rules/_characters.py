"""Counting kinds of characters in the bytes of UTF-8.

Only the first byte of a character says what kind it is, and deleting bytes from a string is far
faster than looking at characters: these counts run at hundreds of megabytes a second.
"""

import string
from dataclasses import dataclass

_CONTINUATION = bytes(range(0x80, 0xC0))
_SPACES = string.whitespace.encode() + _CONTINUATION
_DIGITS = string.digits.encode()
_SIGNS = string.punctuation.encode()
_LATIN = string.ascii_letters.encode()
# First bytes: U+0080 to U+00BF; U+2000 to U+2FFF; U+10000 and beyond (emoji, nearly always).
_OTHER_SIGNS = b"\xc2\xe2\xf0"
_HANGUL = b"\xea\xeb\xec\xed"
_JAMO = (b"\xe1\x84", b"\xe1\x85", b"\xe1\x86", b"\xe1\x87", b"\xe3\x84", b"\xe3\x85", b"\xe3\x86")
_KANA = (b"\xe3\x81", b"\xe3\x82", b"\xe3\x83")
_HANGUL_AND_LATIN = _HANGUL + _LATIN
_HAN = bytes(range(0xE4, 0xEA))
_OTHER_LETTERS = bytes(range(0xC3, 0xE2))


@dataclass(frozen=True, slots=True)
class Kinds:
    """How many characters of a text are of each kind."""

    visible: int
    """All but white space."""
    digits: int
    symbols: int
    """Punctuation, signs and emoji."""


@dataclass(frozen=True, slots=True)
class Letters:
    """How many letters of a text belong to each script."""

    hangul: int
    latin: int
    han: int
    others: int
    """Kana, Greek, Cyrillic, Arabic, accented Latin …"""


def kinds(text: str) -> Kinds:
    """Visible characters, digits and symbols of ``text``."""
    data = text.encode("utf-8", "surrogatepass")
    no_break = data.count(b"\xc2\xa0")
    ideographic = data.count(b"\xe3\x80\x80")
    return Kinds(
        visible=len(data.translate(None, _SPACES)) - no_break - ideographic,
        digits=_count(data, _DIGITS),
        symbols=_count(data, _SIGNS)
        + _count(data, _OTHER_SIGNS)
        + data.count(b"\xe3\x80")
        - no_break
        - ideographic,
    )


def rest_share(text: str) -> float:
    """Share of the visible characters that are neither Hangul syllables nor Latin letters: a quick
    upper bound of the share of digits and symbols."""
    visible = text.encode("utf-8", "surrogatepass").translate(None, _SPACES)
    return len(visible.translate(None, _HANGUL_AND_LATIN)) / len(visible) if visible else 0.0


def has_hangul_share(text: str, share: float) -> bool:
    """Whether at least ``share`` of the letters are surely Hangul; quick, and no for some texts
    where :func:`letters` says yes."""
    data = text.encode("utf-8", "surrogatepass")
    hangul = _count(data, _HANGUL)
    # A syllable has three bytes, and what else is in the text at most one letter a byte.
    return hangul >= share * (len(data) - 2 * hangul)


def letters(text: str) -> Letters:
    """Letters of ``text`` by script."""
    data = text.encode("utf-8", "surrogatepass")
    if len(data) == len(text):
        return Letters(hangul=0, latin=_count(data, _LATIN), han=0, others=0)
    jamo = sum(map(data.count, _JAMO))
    conjoining = sum(map(data.count, _JAMO[:4]))
    return Letters(
        hangul=_count(data, _HANGUL) + jamo,
        latin=_count(data, _LATIN),
        han=_count(data, _HAN),
        others=_count(data, _OTHER_LETTERS) - conjoining + sum(map(data.count, _KANA)),
    )


def _count(data: bytes, kind: bytes) -> int:
    return len(data) - len(data.translate(None, kind))
