"""Advertising and spam are dropped."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from hyperclova.corpus import lexicon
from hyperclova.corpus.documents import Document
from hyperclova.corpus.rule import Rule, Verdict

_UNIT = 1000
"""Characters; a cue counts in full if a text has one hit of it for each so many."""
_STACKED = 3
"""Hits of one cue that can add up in a unit: an advertisement that says the same thing four ways
is no more of one."""

_FEWEST_HASHTAGS = 5

# Digits are not preceded by others: no part of a longer number. Hangul may touch them.
_PHONE = re.compile(
    r"(?<![0-9-])(?:0(?:1[016789]|2|[3-6][1-5]|70|80|50[2-8]?)[-. )]{0,2}\d{3,4}[-. ]{0,2}\d{4}"
    r"|1[568]\d\d-\d{4})(?!\d)"
)
_ADDRESS = re.compile(r"https?://[^\s<>\"')\]]+|www\.[^\s<>\"')\]]+")
_INVITATION = re.compile(
    r"open\.kakao\.com|pf\.kakao\.com|(?<![\w.])t\.me/|bit\.ly/|me2\.do/|(?<![\w.])han\.gl/|"
    r"vvd\.bz/|smartstore\.naver\.com|coupa\.ng/|link\.coupang\.com|linktr\.ee/"
)
_PRICE = re.compile(r"\d(?:[\d,.]*\d)?\s?(?:만\s?)?(?:천\s?)?원(?!\w*[고칙리인장본자래])")
_HASHTAG = re.compile(r"#(?=[^\W\d_])\w+")
_SIGNS = re.compile(r"[☎☏✆📞📱♥♡★☆▶◀►◄▷◁■□●○◆◇☞☜→✔✅❤🎁💰🔥👉⭐️]")


@dataclass(frozen=True, kw_only=True)
class Spam(Rule):
    """Drop advertising by the cues that add up in it (the paper's spam filter, appendix A.1).

    What the paper used is not public; this is a weighted list of cues: wordings
    (``lexicon/spam.toml``: gambling, loans, pills, calls to action, contact, sponsored posts),
    telephone numbers beside an invitation to call, links and repeated links, price lists, and
    hashtag stuffing. The weight of a wording counts once for each hit, at most three times a cue,
    in a text of up to 1,000 characters; in a longer text it needs proportionally more hits, so
    that an article about casinos or loans stays.
    """

    threshold: float = 3.0
    """Sum of weights from which a document is dropped."""

    @cached_property
    def _matcher(self) -> lexicon.Matcher:
        return lexicon.load("spam")

    def cues(self, text: str) -> Mapping[str, float]:
        """What speaks for advertising, with its weight; empty for most texts."""
        units = max(1.0, len(text) / _UNIT)
        cues: dict[str, float] = {}
        counts: dict[str, int] = {}
        for hit in self._matcher.find(text):
            category = hit.entry.category
            counts[category] = counts.get(category, 0) + 1
            cues[category] = hit.entry.weight * min(_STACKED, counts[category] / units)
        if "http" in text or "www." in text or ".kakao" in text or "t.me/" in text:
            cues.update(_links(text, units))
        if text.count("#") >= _FEWEST_HASHTAGS:
            tags = len(_HASHTAG.findall(text))
            if tags >= _FEWEST_HASHTAGS:
                cues["hashtags"] = min(3.5, 6 * tags / len(text.split()))
        if cues:
            cues.update(_company(text, units))
        return cues

    def apply(self, document: Document) -> Verdict:
        """Keep or drop ``document``."""
        text = f"{document.title}\n{document.text}" if document.title else document.text
        cues = self.cues(text)
        measure = sum(cues.values())
        if measure < self.threshold:
            return Verdict(document, measure=measure)
        strongest = sorted(cues.items(), key=lambda cue: (-cue[1], cue[0]))
        named = ", ".join(f"{cue} {weight:.1f}" for cue, weight in strongest)
        return Verdict(None, f"advertising: {named}", measure)


def _company(text: str, units: float) -> Mapping[str, float]:
    """What is harmless alone and speaks for advertising in the company of another cue."""
    cues: dict[str, float] = {}
    phones = len(_PHONE.findall(text)) / units
    if phones:
        cues["telephone"] = 1.5 * min(1.0, phones)
    prices = len(_PRICE.findall(text)) / units
    if prices >= 4:
        cues["price list"] = min(1.5, prices / 4)
    signs = len(_SIGNS.findall(text)) / units
    if signs >= 3:
        cues["eye-catching signs"] = min(1.0, signs / 10)
    return cues


def _links(text: str, units: float) -> Mapping[str, float]:
    """Cues from web addresses: invitations to a chat or a shop, the same one over and over."""
    cues: dict[str, float] = {}
    invitations = len(_INVITATION.findall(text)) / units
    if invitations:
        cues["chat or shop link"] = 1.5 * min(1.0, invitations)
    addresses = Counter(_ADDRESS.findall(text))
    if addresses:
        most = max(addresses.values())
        # Footnotes repeat an address too, in a text that is mostly something else.
        inside = sum(len(address) * count for address, count in addresses.items()) / len(text)
        if most >= 3 and inside >= 0.1:
            cues["repeated link"] = min(2.0, most / 3 / units)
        if len(addresses) > 1 and inside >= 0.5:
            cues["little but links"] = 1.0
    return cues
