"""What happened to a corpus, counted: plain data that adds up, however the work was divided."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from hyperclova.corpus.documents import Document
from hyperclova.corpus.rule import Verdict

EXAMPLES = 8
"""Examples kept of each rule."""
_EXCERPT = 400
LENGTH_BINS = 24
"""Histogram bin ``i`` counts documents of ``2**i`` to ``2**(i+1) - 1`` characters; 0 also empty
ones; the last bin all that are longer."""

SCRIPTS = ("other", "hangul", "latin", "han", "kana", "digit", "space")


def _script_table() -> np.ndarray[Any, np.dtype[np.uint8]]:
    table = np.zeros(1 << 16, np.uint8)
    ranges = {
        "hangul": [(0x1100, 0x1200), (0x3130, 0x3190), (0xA960, 0xA980), (0xAC00, 0xD800)],
        "latin": [(0x41, 0x5B), (0x61, 0x7B), (0xC0, 0x250), (0x1E00, 0x1F00)],
        "han": [(0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00)],
        "kana": [(0x3040, 0x3100), (0x31F0, 0x3200)],
        "digit": [(0x30, 0x3A), (0xFF10, 0xFF1A)],
        "space": [(0x09, 0x0E), (0x20, 0x21), (0xA0, 0xA1), (0x3000, 0x3001)],
    }
    for script, spans in ranges.items():
        for low, high in spans:
            table[low:high] = SCRIPTS.index(script)
    return table


_SCRIPT_OF = _script_table()


def scripts(text: str) -> dict[str, int]:
    """Characters of ``text`` by writing system (:data:`SCRIPTS`); astral ones count as two."""
    units = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), np.uint16)
    counts = np.bincount(_SCRIPT_OF[units], minlength=len(SCRIPTS))
    return {name: int(count) for name, count in zip(SCRIPTS, counts, strict=True) if count}


def language(counts: Mapping[str, int]) -> str:
    """``ko``, ``en``, ``ja``, ``zh``, ``mixed`` or ``none``, from the shares of scripts.

    A language has it all its own way from three fifths of the letters; kana mark Japanese, whose
    letters are also Han.
    """
    hangul, latin = counts.get("hangul", 0), counts.get("latin", 0)
    han, kana = counts.get("han", 0), counts.get("kana", 0)
    letters = hangul + latin + han + kana
    if not letters:
        return "none"
    if hangul >= 0.6 * letters:
        return "ko"
    if latin >= 0.6 * letters:
        return "en"
    if han + kana >= 0.6 * letters:
        return "ja" if kana >= 0.1 * letters else "zh"
    return "mixed"


@dataclass
class Volume:
    """How much text there is."""

    documents: int = 0
    characters: int = 0
    bytes: int = 0
    """As UTF-8."""
    lengths: list[int] = field(default_factory=lambda: [0] * LENGTH_BINS)
    scripts: dict[str, int] = field(default_factory=dict)
    languages: dict[str, int] = field(default_factory=dict)
    """Documents by :func:`language`."""

    def add(self, text: str) -> None:
        """Count one document."""
        self.documents += 1
        self.characters += len(text)
        self.bytes += len(text.encode("utf-8", "surrogatepass"))
        self.lengths[min(LENGTH_BINS - 1, max(0, len(text).bit_length() - 1))] += 1
        counts = scripts(text)
        _add(self.scripts, counts)
        _add(self.languages, {language(counts): 1})

    def merge(self, other: "Volume") -> None:
        """Add another volume to this one."""
        self.documents += other.documents
        self.characters += other.characters
        self.bytes += other.bytes
        self.lengths = [a + b for a, b in zip(self.lengths, other.lengths, strict=True)]
        _add(self.scripts, other.scripts)
        _add(self.languages, other.languages)


@dataclass
class Effect:
    """What one rule did to the documents of one source."""

    seen: int = 0
    changed: int = 0
    dropped: int = 0
    characters_removed: int = 0


@dataclass(frozen=True)
class Example:
    """A document that a rule changed or dropped."""

    key: str
    """A hash: the examples with the smallest ones are kept, a random choice that is the same
    however the work was divided."""
    id: str
    source: str
    title: str
    outcome: str
    """``changed`` or ``dropped``."""
    reason: str
    before: str
    after: str
    """Excerpts, at most some hundred characters; ``after`` is empty if dropped."""


@dataclass
class Tally:
    """Counts and examples of one stage of a build, or of all of them together."""

    before: dict[str, Volume] = field(default_factory=dict)
    """By source, as read."""
    after: dict[str, Volume] = field(default_factory=dict)
    """By source, as written (both splits)."""
    held_out: dict[str, int] = field(default_factory=dict)
    """Documents of ``after`` that are held out, by source."""
    effects: dict[str, dict[str, Effect]] = field(default_factory=dict)
    """By rule label, in the order of the configuration, then by source."""
    examples: dict[str, list[Example]] = field(default_factory=dict)
    """By rule label."""

    def note(self, label: str, document: Document, verdict: Verdict) -> None:
        """Count a rule's verdict on ``document``, which is the document before the rule."""
        effect = self.effects.setdefault(label, {}).setdefault(document.source, Effect())
        effect.seen += 1
        result = verdict.document
        if result is document:
            return
        if result is None:
            effect.dropped += 1
            effect.characters_removed += len(document.text)
        else:
            effect.changed += 1
            effect.characters_removed += max(0, len(document.text) - len(result.text))
        self._exemplify(label, document, verdict)

    def _exemplify(self, label: str, document: Document, verdict: Verdict) -> None:
        key = hashlib.blake2b(
            f"{label}\0{document.source}\0{document.id}".encode("utf-8", "surrogatepass"),
            digest_size=8,
        ).hexdigest()
        kept = self.examples.setdefault(label, [])
        if len(kept) == EXAMPLES and key >= kept[-1].key:
            return
        before, after = excerpts(document, verdict.document)
        kept.append(
            Example(
                key=key,
                id=document.id,
                source=document.source,
                title=document.title[:_EXCERPT],
                outcome="changed" if verdict.document else "dropped",
                reason=verdict.reason,
                before=before,
                after=after,
            )
        )
        kept.sort(key=lambda example: (example.key, example.id, example.before))
        del kept[EXAMPLES:]

    def merge(self, other: "Tally") -> None:
        """Add another tally to this one. The order of merging does not matter."""
        for mine, theirs in ((self.before, other.before), (self.after, other.after)):
            for source, volume in theirs.items():
                mine.setdefault(source, Volume()).merge(volume)
        _add(self.held_out, other.held_out)
        for label, by_source in other.effects.items():
            for source, effect in by_source.items():
                total = self.effects.setdefault(label, {}).setdefault(source, Effect())
                total.seen += effect.seen
                total.changed += effect.changed
                total.dropped += effect.dropped
                total.characters_removed += effect.characters_removed
        for label, examples in other.examples.items():
            kept = self.examples.setdefault(label, [])
            kept += examples
            kept.sort(key=lambda example: (example.key, example.id, example.before))
            del kept[EXAMPLES:]

    def to_mapping(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> "Tally":
        """Back from :meth:`to_mapping`."""
        return cls(
            before={source: Volume(**volume) for source, volume in data["before"].items()},
            after={source: Volume(**volume) for source, volume in data["after"].items()},
            held_out=dict(data["held_out"]),
            effects={
                label: {source: Effect(**effect) for source, effect in by_source.items()}
                for label, by_source in data["effects"].items()
            },
            examples={
                label: [Example(**example) for example in examples]
                for label, examples in data["examples"].items()
            },
        )


def excerpts(before: Document, after: Document | None) -> tuple[str, str]:
    """The part of a document around the first difference, before and after a rule."""
    if after is None:
        return before.text[:_EXCERPT], ""
    old, new = before.text, after.text
    start = next(
        (i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b),
        min(len(old), len(new)),
    )
    start = max(0, start - _EXCERPT // 4)
    return old[start : start + _EXCERPT], new[start : start + _EXCERPT]


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        total[name] = total.get(name, 0) + count
