"""Rules that put the same text into the same characters; only :class:`Mojibake` ever drops.

A sensible order is ``escapes``, ``mojibake``, ``unicode``, ``whitespace``: what is wrapped must be
unwrapped before its characters can be judged, and text in the wrong encoding hides half of its
bytes in the control characters that ``unicode`` removes.
"""

import re
import unicodedata
from abc import abstractmethod
from dataclasses import dataclass, replace

from hyperclova.corpus.documents import Document
from hyperclova.corpus.rule import Rule, Verdict
from hyperclova.corpus.rules._mojibake import broken_words, repair
from hyperclova.corpus.rules._serialised import unescape, unwrap


@dataclass(frozen=True, kw_only=True)
class _Normaliser(Rule):
    """A rule that rewrites the text and the title alike."""

    @abstractmethod
    def normalise(self, text: str) -> str:
        """``text`` as it should be; doing it twice changes nothing more."""

    @abstractmethod
    def explain(self, before: str, after: str) -> str:
        """What became of a text that changed, one line for people."""

    def apply(self, document: Document) -> Verdict:
        text = self.normalise(document.text)
        title = self.normalise(document.title) if document.title else ""
        if text == document.text and title == document.title:
            return Verdict(document)
        before, after = (document.text, text) if text != document.text else (document.title, title)
        return Verdict(replace(document, text=text, title=title), self.explain(before, after))


# Format characters that show nothing in Korean text: soft hyphen, zero-width space and joiners,
# directional marks, invisible operators, byte order mark, annotation marks, variation selectors,
# tags, object replacement; C0 and C1 controls but tab, line feed and carriage return (which
# `whitespace` turns into a line feed); and the non-characters of the basic plane.
_INVISIBLE = (
    r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180b-\u180e\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\ufff9-\ufffc\ufffe\uffff"
    r"\U000e0000-\U000e01ef"
)
_SUSPECT = re.compile(f"[{_INVISIBLE}]|\ufffd\ufffd")
_PICTURE = r"[\xa9\xae\u203c-\u205e\u2100-\u27ff\u2900-\u2bff\u3030\u303d\u3297\u3299]"
_EMOJI = rf"(?:{_PICTURE}|[\U0001f000-\U0001faff])"
_MODIFIED = rf"{_EMOJI}[\U0001f3fb-\U0001f3ff]?[\ufe0e\ufe0f]?[\U000e0020-\U000e007f]*\u20e3?"
_CLEAN = re.compile(
    # Kept: keycaps and emoji sequences, ideographs with their variant, joiners where scripts of
    # the Near East, South and Southeast Asia spell with them.
    rf"(?P<kept>[#*0-9]\ufe0f?\u20e3|{_MODIFIED}(?:\u200d{_MODIFIED})*"
    r"|[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff][\ufe00-\ufe02\U000e0100-\U000e01ef]"
    r"|(?<=[\u0620-\u109f\u1780-\u17ff])[\u200c\u200d](?=[\u0620-\u109f\u1780-\u17ff]))"
    r"|(?P<line>[\x0b\x0c\x85\u2028\u2029]+)"
    r"|(?P<lost>\ufffd{2,})"
    rf"|[{_INVISIBLE}]+"
)
# A syllable block of conjoining jamo: initials, vowels, finals.
_BLOCK = re.compile(
    r"[\u1100-\u115f\ua960-\ua97c]+[\u1160-\u11a7\ud7b0-\ud7c6]+[\u11a8-\u11ff\ud7cb-\ud7fb]*"
)
_MODERN = re.compile(r"[\u1100-\u1112][\u1161-\u1175][\u11a8-\u11c2]?")


@dataclass(frozen=True, kw_only=True)
class Unicode(_Normaliser):
    """NFC, without control and invisible characters.

    Blocks of conjoining jamo that are not one modern syllable stay as they are: plain NFC would
    tear old Hangul apart by composing the modern part of a block (the partial composition that
    KS X 1026-1 rules out). Zero-width joiners and variation selectors stay where they make an
    emoji, an ideographic variant or the spelling of a script that needs them; form feeds and the
    line separators of Unicode become line feeds. A run of U+FFFD becomes one: what was lost there
    was one stretch of text.

    Source: Unicode Standard Annex 15 (NFC); KS X 1026-1:2007; paper, Appendix A.1, leaves the
    matter open.
    """

    def normalise(self, text: str) -> str:
        if _SUSPECT.search(text):
            text = _CLEAN.sub(_cleaned, text)
        if not unicodedata.is_normalized("NFC", text):
            text = _compose(text)
        return text

    def explain(self, before: str, after: str) -> str:
        removed = sum(len(match[0]) for match in _CLEAN.finditer(before) if not match["kept"])
        if not removed:
            return "characters composed (NFC)"
        return f"{removed} control or invisible characters removed or replaced"


def _cleaned(match: re.Match[str]) -> str:
    if match["kept"]:
        return match["kept"]
    if match["line"]:
        return "\n"
    return "\ufffd" if match["lost"] else ""


def _compose(text: str) -> str:
    parts: list[str] = []
    end = 0
    for block in _BLOCK.finditer(text):
        if not _MODERN.fullmatch(block[0]):
            parts += (unicodedata.normalize("NFC", text[end : block.start()]), block[0])
            end = block.end()
    parts.append(unicodedata.normalize("NFC", text[end:]))
    return "".join(parts)


@dataclass(frozen=True, kw_only=True)
class Mojibake(Rule):
    """Text that was read in the wrong encoding is repaired, or dropped if too much is broken.

    Three accidents are undone: CP949 read as Latin-1 or Windows-1252 (``¾È³ç``), UTF-8 read so
    (``ì•ˆë…•``), and UTF-8 read as CP949 where every byte survived. A stretch of text is only
    replaced if what comes out is clearly Korean (see :func:`repair`), so that Zürich and Ångström
    stay. What can't be repaired counts as broken, and so do U+FFFD inside or beside words and the
    ``占쏙옙`` that U+FFFD itself becomes.

    Source: the paper's Appendix A.1 names no such step; the accidents are those of Korean pages
    that declare no or the wrong character set.
    """

    syllables: int = 3
    """Fewest common Hangul syllables that a repair must bring to light."""
    common: float = 0.7
    """Least share of common syllables among the non-ASCII characters of a repair from CP949."""
    broken: float = 0.05
    """Drop if more than this share of the words is still broken."""

    def apply(self, document: Document) -> Verdict:
        text = repair(document.text, self.syllables, self.common)
        title = repair(document.title, self.syllables, self.common) if document.title else ""
        broken = broken_words(text)
        if broken:
            share = broken / len(text.split())
            if share > self.broken:
                return Verdict(None, f"{share:.0%} of the words are broken", share)
        if text == document.text and title == document.title:
            return Verdict(document)
        return Verdict(
            replace(document, text=text, title=title), "text read in the wrong encoding repaired"
        )


@dataclass(frozen=True, kw_only=True)
class Escapes(_Normaliser):
    """Text that came wrapped in another format is unwrapped.

    - JSON objects, one a line or one alone, with a key that holds the text; Jupyter notebooks
      (their Markdown cells, and their code cells as fenced code);
    - one field of a CSV file, in quotation marks with those inside doubled;
    - literal ``\\n``, ``\\"``, ``\\u1234`` in prose, where they are dense and clearly stand for
      line ends and quotation marks: code, paths and formulas that mention them stay;
    - character references of HTML (``&nbsp;``, ``&#44032;``) outside of code;
    - the backslash that Markdown writers put before the point of a list number (``1\\.``).

    Source: the paper's Appendix A.1 parses HTML and keeps what is meaningful; the other wrappings
    are those that public Korean data sets arrive in.
    """

    keys: tuple[str, ...] = ("text", "content", "body")
    """Keys of JSON objects that may hold the text; the first that is there is taken."""
    escapes: int = 2
    """Literal escapes stay unless there are at least so many"""
    characters: int = 300
    """and at least one for each so many characters."""

    def normalise(self, text: str) -> str:
        while True:  # every step makes the text shorter, so this ends
            after = unwrap(text, self.keys)
            after = unescape(after, self.escapes, self.characters)
            if len(after) >= len(text):
                return text
            text = after

    def explain(self, before: str, after: str) -> str:
        if unwrap(before, self.keys) != before:
            return f"unwrapped: {len(before):,} characters hold {len(after):,} of text"
        return f"escapes undone: {len(before):,} characters stand for {len(after):,}"


_EXOTIC = r"\xa0\u1680\u2000-\u200a\u202f\u205f\u3000\u3164\uffa0"
_ANY_EXOTIC = re.compile(f"[{_EXOTIC}]")
_INDENTED_PROSE = re.compile(
    rf"^[ \t]*[{_EXOTIC}][ \t{_EXOTIC}]*(?=[가-힣\"'“‘(「『])", re.MULTILINE
)
_EXOTIC_RUN = re.compile(rf"(?<! ) *[{_EXOTIC}][ {_EXOTIC}]*")
_WIDE_GAP = re.compile(r"(?<=[가-힣.,!?…”’)]) {2,}(?=[가-힣“‘(])")
_TRAILING = re.compile(r"(?<![ \t])[ \t]+$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Whitespace(_Normaliser):
    """One kind of line end and of space; no more of them than say something.

    Line ends become line feeds. No-break, ideographic and other typographic spaces (and the Hangul
    filler, which people use as an invisible space) become plain ones, and runs of spaces between
    Hangul become one. Spaces at line ends and all around the text go; the indentation of lines,
    which code and lists need, stays.

    Source: common practice (C4, Gopher); the paper's Appendix A.1 leaves the matter open.
    """

    blank_lines: int = 2
    """At most so many empty lines in a row."""

    def normalise(self, text: str) -> str:
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        if _ANY_EXOTIC.search(text):
            text = _EXOTIC_RUN.sub(" ", _INDENTED_PROSE.sub("", text))
        if "  " in text:
            text = _WIDE_GAP.sub(" ", text)
        if " \n" in text or "\t\n" in text:
            text = _TRAILING.sub("", text)
        most = "\n" * (self.blank_lines + 1)
        if most + "\n" in text:
            text = re.sub(most + "\n+", most, text)
        if text[:1].isspace() or text[-1:].isspace():
            text = _stripped(text)
        return text

    def explain(self, before: str, after: str) -> str:
        fewer = len(before) - len(after)
        return f"{fewer:,} characters of white space fewer" if fewer else "spaces made plain ones"


def _stripped(text: str) -> str:
    """Without white space around it, but with the first line's indentation if the second line is
    indented as well: then it is code."""
    text = text.rstrip()
    bare = text.lstrip()
    first = text[: len(text) - len(bare)].rpartition("\n")[2]
    _, newline, following = bare.partition("\n")
    code = newline and first.startswith(("    ", "\t")) and following.startswith(("    ", "\t"))
    return first + bare if code else bare
