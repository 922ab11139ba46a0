"""The rule that masks personal information."""

from collections import Counter
from dataclasses import dataclass, replace

from hyperclova.corpus.anonymise import KINDS, anonymise
from hyperclova.corpus.documents import Document
from hyperclova.corpus.rule import Rule, Verdict


@dataclass(frozen=True, kw_only=True)
class Anonymise(Rule):
    """Masks what identifies a person in title and text; drops nothing.

    Registration numbers, phone numbers, e-mail addresses, bank accounts, cards, passports,
    driver's licences and accounts on the web (paper, Appendix A.2); what each keeps is said in
    docs/anonymisation.md. The measure is the number of masks.
    """

    def apply(self, document: Document) -> Verdict:
        title = anonymise(document.title)
        text = anonymise(document.text)
        masked = title.masked + text.masked
        if not masked:
            return Verdict(document)
        counts = Counter(mask.kind for mask in masked)
        reason = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind])
        changed = replace(document, title=title.text, text=text.text)
        return Verdict(changed, f"masked {reason}", len(masked))
