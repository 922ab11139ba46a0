"""Text → pieces. Merges happen inside a piece, so no token crosses a morpheme boundary.

Two segmentation units, chosen when a tokenizer is trained:

``word``
    Each eojeol (the text between white space) is analysed by itself, so its pieces depend on
    nothing else: they can be cached, and a longer text never changes the pieces before its last
    word.
``sentence``
    Each line is analysed as a whole; the analyser sees the neighbouring words.

Pieces keep the white space before them. Joined, they are the text again.
"""

import re
from typing import Literal, get_args

from hyperclova.tokenizer.morphemes import SEPARATOR, morphemes

Unit = Literal["word", "sentence"]
UNITS: tuple[Unit, ...] = get_args(Unit)

# An eojeol with the one space before it, or a run of white space and NUL (but for that space).
_WORD = re.compile(r" ?[^\s\0]+|[\s\0]+(?= [^\s\0])|[\s\0]+")
# Newlines, NUL and the separator itself never reach the analyser.
_LINE_END = re.compile(r"([\n\0]+|\x1f)")
_SEPARATORS = re.compile(r"(\x1f)")


def split_words(text: str) -> list[str]:
    """``text`` as eojeols, each with the one space before it, and runs of other white space."""
    return _WORD.findall(text)


def word_pieces(word: str) -> list[str]:
    """The pieces of one item of :func:`split_words`; a U+001F is a piece by itself."""
    if word.isspace() or "\0" in word:
        return [part for part in _SEPARATORS.split(word) if part]
    space, bare = (" ", word[1:]) if word[0] == " " else ("", word)
    # A word is always analysed as one that follows a space, as it would in running text: the
    # analyser weighs particles differently there.
    first, *rest = morphemes(f" {bare}")
    first = space + first[1:]
    return [first, *rest] if first else rest


def line_pieces(text: str) -> list[str]:
    """The pieces of ``text``, analysed line by line."""
    pieces: list[str] = []
    for index, part in enumerate(_LINE_END.split(text)):
        if part:
            pieces += [part] if index % 2 else morphemes(part)
    return pieces


def split_pieces(text: str, unit: Unit) -> list[str]:
    """The pieces of ``text``: ``"".join(split_pieces(text, unit)) == text``."""
    if unit == "sentence":
        return line_pieces(text)
    return [piece for word in split_words(text) for piece in word_pieces(word)]


def join_pieces(text: str, unit: Unit) -> str:
    """``text`` with U+001F between its pieces: what ``tokenizer.json`` expects.

    This is how a program that has only ``tokenizer.json`` (a server of another make) can be given
    exact morpheme boundaries. A U+001F of the text itself is lost there; it has no place in text.
    """
    return SEPARATOR.join(piece for piece in split_pieces(text, unit) if piece != SEPARATOR)
