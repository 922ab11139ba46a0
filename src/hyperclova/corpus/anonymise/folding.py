"""One spelling for the many ways to write a digit, a hyphen or a space.

Patterns read folded text; masks name offsets of the text as it was written.
"""

import re
from dataclasses import dataclass

HYPHENS = "-‐‑‒–—―−－﹣ㅡー─━"
DOTS = ".．·・∙⋅"
SPACES = " \u00a0\u2000-\u200a\u202f\u3000"
INVISIBLE = "\u200b-\u200d\u2060\ufeff\ufe0f\u20e3"
"""What splits a number unseen: zero-width characters, and the two that make a keycap (1️⃣)."""
CIRCLED = "⓪①②③④⑤⑥⑦⑧⑨"
DIGITS = "0-9０-９𝟎-𝟿" + CIRCLED

_ONE_TO_ONE: dict[int, str] = {}
for _first in (0xFF10, *range(0x1D7CE, 0x1D800, 10)):  # full width; five mathematical alphabets
    _ONE_TO_ONE.update((_first + digit, str(digit)) for digit in range(10))
for _offset in range(26):
    _ONE_TO_ONE[ord("Ａ") + _offset] = chr(ord("A") + _offset)
    _ONE_TO_ONE[ord("ａ") + _offset] = chr(ord("a") + _offset)
_ONE_TO_ONE |= dict.fromkeys(map(ord, HYPHENS), "-")
_ONE_TO_ONE |= dict.fromkeys(map(ord, DOTS), ".")
_ONE_TO_ONE |= dict.fromkeys(map(ord, "～∼"), "~")
_ONE_TO_ONE |= dict.fromkeys([0xA0, *range(0x2000, 0x200B), 0x202F, 0x3000], " ")
_ONE_TO_ONE |= {
    ord(wide): plain for wide, plain in zip("（）［］＋／＠＿：＝＃％", "()[]+/@_:=#%", strict=True)
}

_INVISIBLE = re.compile(f"[{INVISIBLE}]")
_CIRCLED_DIGITS = {ord(circled): str(digit) for digit, circled in enumerate(CIRCLED)}
# One alone is the marker of a list or of a paragraph of a statute: "①010-…".
_CIRCLED_RUN = re.compile(f"[{CIRCLED}]{{2,}}")


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded slice of a text that knows where its characters stood."""

    text: str
    start: int
    positions: list[int] | None
    """Where in the slice each folded character stood, and the slice's end; None: nowhere else."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Offsets in the whole original text of ``self.text[start:end]``."""
        if self.positions is None:
            return self.start + start, self.start + end
        return self.start + self.positions[start], self.start + self.positions[end]

    def find(self, offset: int) -> int:
        """Where in the folded text the original ``offset`` stands, or the next one kept."""
        offset -= self.start
        if self.positions is None:
            return offset
        return next(i for i, position in enumerate(self.positions) if position >= offset)


def fold(text: str, start: int, end: int) -> Folded:
    """Fold ``text[start:end]``; offsets are cut to the text."""
    start = max(0, start)
    folded = text[start:end].translate(_ONE_TO_ONE)
    positions = None
    if _INVISIBLE.search(folded):
        positions = [i for i, char in enumerate(folded) if not _INVISIBLE.match(char)]
        folded = "".join([folded[i] for i in positions])
        positions.append(min(end, len(text)) - start)
    folded = _CIRCLED_RUN.sub(lambda run: run[0].translate(_CIRCLED_DIGITS), folded)
    return Folded(folded, start, positions)
