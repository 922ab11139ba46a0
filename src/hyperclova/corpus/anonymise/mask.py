"""What was masked, and the arithmetic of masks over one text."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mask:
    """One identifier and what stands in its place."""

    kind: str
    """One of :data:`hyperclova.corpus.anonymise.KINDS`."""
    start: int
    end: int
    """Offsets in the original text, in code points."""
    replacement: str


def disjoint(masks: Iterable[Mask]) -> list[Mask]:
    """``masks`` by position; of two that overlap, the earlier of the argument is kept."""
    kept: list[Mask] = []
    for mask in masks:
        place = bisect_left(kept, mask.start, key=lambda other: other.start)
        if place and kept[place - 1].end > mask.start:
            continue
        if place < len(kept) and kept[place].start < mask.end:
            continue
        kept.insert(place, mask)
    return kept


def replace(text: str, masks: list[Mask]) -> str:
    """``text`` with the spans of ``masks``, sorted and disjoint, replaced; itself if none."""
    if not masks:
        return text
    parts: list[str] = []
    end = 0
    for mask in masks:
        parts += (text[end : mask.start], mask.replacement)
        end = mask.end
    parts.append(text[end:])
    return "".join(parts)


def compose(between: str, first: list[Mask], second: list[Mask]) -> list[Mask]:
    """One list of masks that does what ``first`` and then ``second`` do.

    Args:
        between: the text after ``first``, which the offsets of ``second`` count.
    """
    ends: list[int] = []  # of the replacements in `between`,
    grown: list[int] = [0]  # and how far `between` is ahead of the original behind each
    spans: list[tuple[int, int, Mask]] = []
    for mask in first:
        start = mask.start + grown[-1]
        grown.append(grown[-1] + len(mask.replacement) - (mask.end - mask.start))
        ends.append(mask.end + grown[-1])
        spans.append((start, ends[-1], mask))
    spans += [(mask.start, mask.end, mask) for mask in second]

    def original(position: int) -> int:
        return position - grown[bisect_right(ends, position)]

    composed: list[Mask] = []
    for start, end, kind in _unions(spans):
        inside = [
            Mask(mask.kind, mask.start - start, mask.end - start, mask.replacement)
            for mask in second
            if start <= mask.start and mask.end <= end
        ]
        replacement = replace(between[start:end], inside)
        composed.append(Mask(kind, original(start), original(end), replacement))
    return composed


def _unions(spans: list[tuple[int, int, Mask]]) -> list[tuple[int, int, str]]:
    """What the spans cover together, where they overlap, and the kind of the first of each."""
    unions: list[tuple[int, int, str]] = []
    for start, end, mask in sorted(spans, key=lambda span: span[:2]):
        if unions and start < unions[-1][1]:
            before, until, kind = unions[-1]
            unions[-1] = (before, max(until, end), kind)
        else:
            unions.append((start, end, mask.kind))
    return unions
