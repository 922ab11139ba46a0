"""Examples of what rules did, prepared for showing: differences marked, personal data masked.

A report is passed around, so what it quotes is masked like the corpus itself, whichever rule is
being shown. Of the masks that the build itself set, the text before is shown by its shape alone:
``010-2345-6789`` as ``000-0000-0000``, letters as ``x``, syllables as ``○``. That tells a
telephone number from a date or a price, and tells nothing about a person.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hyperclova.corpus.tally import Example, language, scripts

CHANGED, MASKED, INVISIBLE = "changed", "masked", "invisible"
_LANGUAGES = ("ko", "en", "ja", "zh")
_BIDIRECTIONAL = frozenset(
    map(chr, (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
)


_SPACES = {"\n": "↵\n", "\t": "⇥\t", " ": "␣"}

_LENGTH, _LEAD = 400, 100
"""Characters of a whole excerpt, and of those the ones before the first difference."""
_RAGGED = 40
"""Characters at a cut end in which a word or number may be cut short."""
_COMMON = 3
"""Characters in a row, from which a common stretch between two differences is shown as one."""
_RAGGED_START = re.compile(r"[\w@.+-]*?(?=\s)|[\d-]+")
_RAGGED_END = re.compile(r"[\w@.+-]*\Z|[\d\s().+-]*\Z")


@dataclass(frozen=True)
class Span:
    """A stretch of an excerpt that looks the same throughout."""

    text: str
    marks: frozenset[str] = frozenset()
    """Of :data:`CHANGED` (differs from the other side), :data:`MASKED` (stands for personal
    data) and :data:`INVISIBLE` (names a character that can't be seen)."""


@dataclass(frozen=True)
class Shown:
    """An example, ready to be set."""

    id: str
    source: str
    title: str
    title_language: str | None
    outcome: str
    reason: str
    language: str | None
    """Of the excerpt, as the attribute ``lang`` has it; None: none in particular."""
    before: tuple[Span, ...]
    after: tuple[Span, ...]
    """Empty if dropped."""


def show(example: Example, *, masks: bool = False) -> Shown:
    """Prepare an example.

    Args:
        example: of a rule.
        masks: the rule is the one that masks personal data, so what it changed is shown by its
            shape.
    """
    window = _Window.of(example)
    if example.outcome == "dropped":
        left = _masked(window.old)
        before = _spans(left.text, [False] * len(left.text), left.masks)
        after: list[Span] = []
    elif masks:
        before, after = _around_masks(window)
    else:
        left, right = _masked(window.old), _masked(window.new)
        change = _compare(left.text, right.text, window.open_end)
        before = _spans(left.text, change.gone, left.masks)
        after = _spans(right.text, change.come, right.masks)
    if window.open_start:
        before.insert(0, Span("… "))
        after.insert(0, Span("… "))
    if window.old_cut:
        before.append(Span(" …"))
    if window.new_cut and after:
        after.append(Span(" …"))
    title = _masked(example.title).text
    return Shown(
        id=_legible(_masked(example.id).text),
        source=example.source,
        title=_legible(title),
        title_language=_language(title),
        outcome=example.outcome,
        reason=_legible(_masked(example.reason).text),
        language=_language(example.before),
        before=tuple(before),
        after=tuple(after),
    )


@dataclass(frozen=True)
class _Window:
    """An example's two excerpts, without the halves of words and numbers at their ends.

    Half a telephone number is not recognised as one, and still tells most of it.
    """

    old: str
    new: str
    open_start: bool
    old_cut: bool
    new_cut: bool

    @property
    def open_end(self) -> bool:
        """Whether one side may only seem to end earlier than the other."""
        return self.old_cut or self.new_cut

    @classmethod
    def of(cls, example: Example) -> "_Window":
        old, new = example.before, example.after
        cuts = [len(text) >= _LENGTH for text in (old, new)]
        common = next(
            (i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b),
            min(len(old), len(new)),
        )
        open_start = example.outcome == "changed" and common >= _LEAD
        if open_start:
            ragged = _RAGGED_START.match(old, 0, _LEAD // 2)
            start = ragged.end() if ragged else 0
            start += len(old[start:_LEAD]) - len(old[start:_LEAD].lstrip())
            old, new = old[start:], new[start:]
        if cuts[0]:
            old = old[:-_RAGGED] + _RAGGED_END.sub("", old[-_RAGGED:]).rstrip()
        if cuts[1]:
            new = new[:-_RAGGED] + _RAGGED_END.sub("", new[-_RAGGED:]).rstrip()
        return cls(old, new, open_start, *cuts)


@dataclass(frozen=True)
class _Masked:
    """A text with personal data masked."""

    text: str
    masks: list[bool]
    """Which of its characters belong to masks."""


@dataclass(frozen=True)
class _Change:
    """How two texts differ, character by character."""

    gone: list[bool]
    """Of the old text: not in the new one."""
    kept: list[bool]
    """Of the old text: in the new one too. Neither: beyond the end of the new one's window."""
    come: list[bool]
    """Of the new text: not in the old one."""


def _around_masks(window: _Window) -> tuple[list[Span], list[Span]]:
    """The two sides of a mask: what it replaced by its shape, what replaced it as it is."""
    old, new = window.old, window.new
    change = _compare(old, new, window.open_end)
    end = max((i + 1 for i, kept in enumerate(change.kept) if kept), default=0)
    if window.old_cut:  # what follows has no counterpart here, masked or not
        end = max(end, max((i + 1 for i, gone in enumerate(change.gone) if gone), default=0))
        old = old[:end]
    shaped = "".join(
        character if kept else _shape(character)
        for character, kept in zip(old, change.kept, strict=False)
    )
    gone = change.gone[: len(old)]
    return _spans(shaped, gone, gone), _spans(new, change.come, change.come)


def _shape(character: str) -> str:
    if character.isdigit():
        return "0"
    if not character.isalpha():
        return character
    return "○" if ord(character) > 0x10FF else "x"


def _masked(text: str) -> _Masked:
    from hyperclova.corpus.anonymise import anonymise

    result = anonymise(text)
    masks: list[bool] = []
    position = 0
    for mask in sorted(result.masked, key=lambda mask: mask.start):
        masks += [False] * (mask.start - position) + [True] * len(mask.replacement)
        position = mask.end
    masks += [False] * (len(text) - position)
    return _Masked(result.text, masks)


def _compare(old: str, new: str, open_end: bool) -> _Change:
    """Which characters either side has and the other one lacks.

    With ``open_end`` the two are windows on longer texts: where one only runs on beyond the
    other's end, the windows differ and the texts need not.
    """
    change = _Change([False] * len(old), [False] * len(old), [False] * len(new))
    operations = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    words = [
        kind != "equal" and any(map(str.isalnum, old[a:b] + new[c:d]))
        for kind, a, b, c, d in operations
    ]
    for number, (kind, a, b, c, d) in enumerate(operations, start=1):
        # A character or two that two changed words share would only make them hard to read.
        within = 1 < number < len(operations) and words[number - 2] and words[number]
        if kind == "equal" and not (within and b - a < _COMMON):
            change.kept[a:b] = [True] * (b - a)
        elif not (open_end and 1 < number == len(operations) and (a == b or c == d)):
            change.gone[a:b] = [True] * (b - a)
            change.come[c:d] = [True] * (d - c)
    return change


def _spans(text: str, changed: Sequence[bool], masked: Sequence[bool]) -> list[Span]:
    """Runs of characters with the same marks; what can't be seen is named."""
    spans: list[Span] = []
    for character, marks in _characters(text, changed, masked):
        if spans and spans[-1].marks == marks and INVISIBLE not in marks:
            spans[-1] = Span(spans[-1].text + character, marks)
        else:
            spans.append(Span(character, marks))
    return spans


def _characters(
    text: str, changed: Sequence[bool], masked: Sequence[bool]
) -> Iterator[tuple[str, frozenset[str]]]:
    for place, (character, is_changed, is_masked) in enumerate(
        zip(text, changed, masked, strict=True)
    ):
        marks = {CHANGED} if is_changed else set()
        if is_masked:
            marks.add(MASKED)
        # Among other changes a space is seen; alone or doubled it is not.
        near = zip(
            text[max(0, place - 1) : place + 2], changed[max(0, place - 1) : place + 2], strict=True
        )
        alone = all(other.isspace() for other, also in near if also)
        name = _name(character, is_changed, alone)
        if name:
            marks.add(INVISIBLE)
        yield name or character, frozenset(marks)


def _name(character: str, changed: bool, alone: bool) -> str:
    """What to write in place of a character that would not show, or would disturb what does."""
    if character in _SPACES:
        return _SPACES[character] if changed and alone else ""
    category = unicodedata.category(character)
    if category == "Cc":
        return f"{ord(character):02X}"
    hidden = category in ("Cs", "Co", "Cn") or character in _BIDIRECTIONAL
    if hidden or (changed and category in ("Cf", "Zs", "Zl", "Zp")):
        return f"U+{ord(character):04X}"
    return ""


def _legible(text: str) -> str:
    """A line of text without characters that would not show."""
    return " ".join("".join(_name(c, False, False) or c for c in text).split())


def _language(text: str) -> str | None:
    found = language(scripts(text))
    if found == "mixed":  # of a Korean corpus: its fonts and line breaks suit the others too
        return "ko"
    return found if found in _LANGUAGES else None
