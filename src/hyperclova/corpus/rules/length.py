"""The rule against documents that are too short to say anything."""

import re
from dataclasses import dataclass

from hyperclova.corpus.documents import Document
from hyperclova.corpus.rule import Rule, Verdict

_LETTERS = re.compile(r"[^\W_]+")


@dataclass(frozen=True, kw_only=True)
class TooShort(Rule):
    """Documents with too few letters or words are dropped.

    Letters and digits of any script count, white space and signs don't. A comment says something
    in a dozen letters and an article doesn't: give each source its own threshold.

    Source: paper, Appendix A.1 ("too short" documents; its threshold is not published).
    """

    characters: int = 5
    """Fewest letters and digits."""
    words: int = 0
    """Fewest words between white space; 0: any number."""

    def apply(self, document: Document) -> Verdict:
        text = document.text
        letters = _letters(text, self.characters)
        if letters < self.characters:
            return Verdict(None, f"{letters} letters, fewer than {self.characters}", letters)
        if self.words and len(text) < 64 * self.words:  # longer texts have them, or are one word
            words = len(text.split())
            if words < self.words:
                return Verdict(None, f"{words} words, fewer than {self.words}", words)
        return Verdict(document)


def _letters(text: str, enough: int) -> int:
    """Letters and digits of ``text``; counting stops at ``enough``."""
    count = 0
    step = 4 * enough + 64
    for start in range(0, len(text), step):
        count += sum(map(len, _LETTERS.findall(text, start, start + step)))
        if count >= enough:
            break
    return count
