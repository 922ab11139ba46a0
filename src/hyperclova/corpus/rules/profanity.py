"""Documents with too many swear words and too much vulgar slang are dropped."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from hyperclova.corpus import lexicon
from hyperclova.corpus.documents import Document
from hyperclova.corpus.rule import Rule, Verdict

_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Profanity(Rule):
    """Drop documents in which too many words are profane (paper, appendix A.1).

    Hits of our list (``lexicon/profanity.toml``) are weighed, a swear word or a slur as one and
    vulgar slang as a half, and divided by the number of words. Disguises are seen through: tense
    and plain consonants, loose jamo, signs in between, the Korean word typed with Latin keys.
    One word in a long text is no reason to drop it.
    """

    share: float = 0.1
    """Weighed hits in a word, from which a document is dropped."""
    least: float = 1.0
    """Weighed hits that it must have at least."""

    @cached_property
    def _matcher(self) -> lexicon.Matcher:
        return lexicon.load("profanity")

    def find(self, text: str) -> Sequence[lexicon.Hit]:
        """The profane words of ``text``."""
        return list(self._matcher.find(text))

    def apply(self, document: Document) -> Verdict:
        """Keep or drop ``document``."""
        hits = self.find(document.text)
        weight = sum(hit.entry.weight for hit in hits)
        if not weight:
            return Verdict(document, measure=0.0)
        words = max(1, len(document.text.split()))
        measure = weight / words
        if weight < self.least or measure < self.share:
            return Verdict(document, measure=measure)
        found = list(dict.fromkeys(document.text[hit.start : hit.end] for hit in hits))
        named = ", ".join(found[:_NAMED]) + (" …" if len(found) > _NAMED else "")
        reason = f"{len(hits)} profane in {words} words: {named}"
        return Verdict(None, reason, measure)
