"""Personal information in Korean text, masked so that what can't identify stays.

Paper, Appendix A.2: age and sex of a resident registration number, the region of a driver's
licence, the dialling code of a phone number and the domain of an e-mail address are kept.

    >>> anonymise("연락처는 010-1234-5678입니다").text
    '연락처는 010-****-****입니다'
"""

import re
from dataclasses import dataclass

from hyperclova.corpus.anonymise.emails import find_emails
from hyperclova.corpus.anonymise.folding import DIGITS
from hyperclova.corpus.anonymise.mask import Mask, compose, disjoint, replace
from hyperclova.corpus.anonymise.numbers import find_numbers, find_passports
from hyperclova.corpus.anonymise.phones import NUMERALS, find_phones, find_spoken_phones
from hyperclova.corpus.anonymise.runs import find_runs
from hyperclova.corpus.anonymise.web_accounts import find_web_accounts

__all__ = ["KINDS", "Anonymised", "Mask", "anonymise"]

KINDS = (
    "resident-number",
    "phone",
    "email",
    "bank-account",
    "card",
    "passport",
    "drivers-licence",
    "web-account",
)
"""What is masked; docs/anonymisation.md says of each how it is found and what is kept."""

# An identifier has a letter or a digit of ASCII or one that is read as such, or is spoken.
_HINT = re.compile(f"[0-9A-Za-z{DIGITS}Ａ-Ｚａ-ｚ]|[공영][{NUMERALS}]")


@dataclass(frozen=True, slots=True)
class Anonymised:
    """A text without identifiers, and what they were."""

    text: str
    """The same object as the argument if nothing was masked."""
    masked: tuple[Mask, ...]
    """In order, none overlapping another."""


def anonymise(text: str) -> Anonymised:
    """Mask what identifies a person in ``text``.

    Pure and idempotent: the masked text has nothing left to mask. Replacing the spans of
    ``masked`` in ``text`` by their replacements gives the masked text.
    """
    if not _HINT.search(text):
        return Anonymised(text, ())
    masked = _find(text)
    result = replace(text, masked)
    # A mask changes the surroundings of what is beside it, so we look again until all is quiet.
    # Every round leaves fewer letters and digits, so there is an end; one round is the rule.
    while masked and (more := _find(result)):
        masked = compose(result, masked, more)
        result = replace(text, masked)
    return Anonymised(result, tuple(masked))


def _find(text: str) -> list[Mask]:
    """The masks of one look. Of two that overlap, the one of the surer finder is kept."""
    found = [*find_emails(text), *find_web_accounts(text), *find_passports(text)]
    for run in find_runs(text):
        found += find_phones(run)
        found += find_numbers(run)
    found += find_spoken_phones(text)
    return disjoint(found)
