"""The rule against documents in other languages."""

import re
from dataclasses import dataclass

from hyperclova.corpus.documents import Document
from hyperclova.corpus.rule import Rule, Verdict
from hyperclova.corpus.rules._characters import Letters, has_hangul_share, letters

_CODE = re.compile(
    r"^[ \t]*(```+|~~~+)[^\n]*\n.*?(?:^[ \t]*\1[^\n]*$|\Z)"  # fenced blocks
    r"|`[^`\n]+`"  # code within a line
    r"|https?://[^\s)>\]\"]+"
    r"|\]\([^)\n]*\)"  # targets of Markdown links
    r"|<[A-Za-z/!][^>\n]{0,500}>"  # tags
    r"|^(?: {4,}|\t)[^\n가-힣]*$",  # indented lines without Hangul
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, kw_only=True)
class NotKorean(Rule):
    """Documents whose letters are mostly not Hangul are dropped.

    Chinese characters beside Hangul don't count against a text (statutes and older newspapers mix
    them), and code, links and tags don't count at all: what remains of a technical article is
    its prose. Short documents pass: a name or a formula says nothing about the language.

    Source: the paper's corpus is Korean but for 5.2B tokens of foreign encyclopedias (Table 1):
    limit ``sources`` to those that should be Korean.
    """

    hangul: float = 0.2
    """Least share of Hangul among the letters. A Korean word has a third of the letters of its
    English equivalent, so where sentences stand in both languages a quarter are Hangul."""
    letters: int = 20
    """Documents with fewer letters pass."""
    mixed_script: bool = True
    """Leave Chinese characters out of the count if there is Hangul and there are no kana."""
    ignore_code: bool = True
    """Leave code, links and tags out of the count."""

    def apply(self, document: Document) -> Verdict:
        if has_hangul_share(document.text, self.hangul):
            return Verdict(document)
        share = self._share(letters(document.text))
        if share >= self.hangul:
            return Verdict(document)
        if self.ignore_code:
            share = self._share(letters(_CODE.sub(" ", document.text)))
            if share >= self.hangul:
                return Verdict(document)
        return Verdict(None, f"{share:.0%} of the letters are Hangul", share)

    def _share(self, count: Letters) -> float:
        """Hangul among the letters that count; 1 if there are too few to tell."""
        total = count.hangul + count.latin + count.han + count.others
        if total < self.letters:
            return 1.0
        if self.mixed_script and count.hangul >= 0.1 * total and count.others < 0.1 * total:
            total -= count.han
        return count.hangul / total if total else 1.0
