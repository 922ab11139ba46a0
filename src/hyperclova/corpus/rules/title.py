"""The rule that cuts the title out of the body."""

import re
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from hyperclova.corpus.documents import Document
from hyperclova.corpus.rule import Rule, Verdict

_TAG = re.compile(r"<[^<>]{0,300}>|\{[/#][^{}]{0,100}\}")
_NOT_WORD = re.compile(r"[\W_]+")
_WORD = re.compile(r"[^\W_]+")
_SENTENCE = re.compile(r"(?<=[.!?…])\s+")


@dataclass(frozen=True, kw_only=True)
class RepeatedTitle(Rule):
    """Lines and sentences of the body that say the title again are cut.

    They are compared by their letters and digits alone, in lower case and without tags. The first
    line goes if it is the title or nearly so; further down, a line or sentence goes if it is the
    title exactly and the title is long enough not to be a heading or the item of a list. What
    would leave no letter stays.

    Source: paper, Appendix A.1 (sentences that title and body share).
    """

    characters: int = 8
    """Letters and digits that a title must have to be cut below the first line."""
    similarity: float = 0.85
    """How alike the first line must be to be cut: twice the matching characters over all of both
    (Ratcliff and Obershelp)."""

    def apply(self, document: Document) -> Verdict:
        title = _fold(document.title)
        if len(title) < 2:
            return Verdict(document)
        text = document.text
        body = text.lstrip()
        first, _, rest = body.partition("\n")
        if self._is_title(first, title):
            body = rest.lstrip("\n")
        if len(title) >= self.characters:
            longest = max(_WORD.findall(_TAG.sub(" ", document.title)), key=len)
            if longest in body:
                body = _without(body, title, longest)
        if body in (text, text.lstrip()) or not _WORD.search(body):
            return Verdict(document)
        cut = len(text) - len(body)
        return Verdict(
            replace(document, text=body), f"the title cut from the body, {cut} characters"
        )

    def _is_title(self, line: str, title: str) -> bool:
        if len(line) > 3 * len(title) + 400:
            return False
        folded = _fold(line)
        if folded == title:
            return True
        if len(title) < self.characters or not 0.8 <= len(folded) / len(title) <= 1.25:
            return False
        matcher = SequenceMatcher(None, title, folded, autojunk=False)
        return matcher.quick_ratio() >= self.similarity <= matcher.ratio()


def _fold(text: str) -> str:
    if "<" in text or "{" in text:
        text = _TAG.sub(" ", text)
    return _NOT_WORD.sub("", text).lower()


def _without(body: str, title: str, word: str) -> str:
    """``body`` without the lines and sentences that fold to ``title``; only those that hold
    ``word`` can."""
    lines: list[str] = []
    changed = False
    for line in body.split("\n"):
        if len(line) < len(title) or word not in line:
            lines.append(line)
            continue
        sentences = _SENTENCE.split(line)
        kept = [
            sentence
            for sentence in sentences
            if len(sentence) > 3 * len(title) + 400 or _fold(sentence) != title
        ]
        if len(kept) == len(sentences) and _fold(line) != title:
            lines.append(line)
            continue
        changed = True
        if kept and _fold(line) != title:
            lines.append(" ".join(kept))
    return "\n".join(lines) if changed else body
