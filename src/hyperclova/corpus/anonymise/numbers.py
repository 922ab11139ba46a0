"""Numbers of persons, papers, cards and accounts: decided by form, check digit and context."""

import re
from collections.abc import Iterator
from itertools import chain

from hyperclova.corpus.anonymise import checks
from hyperclova.corpus.anonymise.folding import fold
from hyperclova.corpus.anonymise.mask import Mask
from hyperclova.corpus.anonymise.runs import END, GAP, START, Run, after, before, digits_of

_RESIDENT = re.compile(
    rf"{START}(?P<birth>[0-9]{{2}}(?P<dot>[-./]?)[0-9]{{2}}(?P=dot)[0-9]{{2}})"
    rf"(?P<gap>{GAP}?)(?P<tail>[1-8][0-9]{{6}}){END}"
)
_RESIDENT_WORD = re.compile(r"주민|주번|민증|외국인\ ?등록|등록번호|거소신고")

_CARD = re.compile(
    rf"{START}(?<![0-9][.,])(?:[0-9]{{4}}(?P<gap>{GAP}?)[0-9]{{4}}(?P=gap)[0-9]{{4}}(?P=gap)"
    rf"[0-9]{{4}}|3[47][0-9]{{2}}(?P<amex>{GAP}?)[0-9]{{6}}(?P=amex)[0-9]{{5}}){END}"
)

_REGIONS = (
    "서울|부산|경기남부|경기북부|경기|강원|충북|충남|전북|전남|경북|경남|제주|대구|인천|광주|대전|"
    "울산"
)
_LICENCE = re.compile(
    rf"(?:{START}(?P<number>1[1-9]|2[0-68])|(?P<name>{_REGIONS}))(?P<first>{GAP}?)"
    rf"[0-9]{{2}}(?P<gap>{GAP}?)[0-9]{{6}}(?P=gap)[0-9]{{2}}{END}"
)

_ACCOUNT = re.compile(
    rf"{START}(?<![0-9][.,])(?<![A-Za-z])(?:(?<![/=_])[0-9]{{10,14}}(?![A-Za-z_])|"
    r"[0-9]{2,6}(?P<gap>\ ?-\ ?|[.\ ])[0-9]{1,8}(?:(?P=gap)[0-9]{1,8}){1,3}|"
    rf"[0-9]{{3,6}}-[0-9]{{6,8}}){END}"
)
_BANKS = (
    r"(?:국민|신한|우리|하나|외환|기업|제일|한국씨티|씨티|시티|산업|대구|부산|경남|광주|전북|제주|수협|농협|"
    r"카카오|케이|토스|KB|IBK|NH|SC|KDB|iM|BNK|KEB)"
)
_BANK_WORD = re.compile(
    rf"계좌|입금|송금|이체|예금주|후원금|통장|{_BANKS}\ ?(?:은행|뱅크)|[가-힣]+은행|카뱅|케뱅|농협|"
    r"신협|수협|새마을금고|우체국|SC제일|(?i:account\ ?(?:no|number)|bank\ ?account)"
)
_BANK_BESIDE = re.compile(rf"(?<![가-힣A-Za-z])(?:{_BANKS}|카뱅|우체국|새마을)\ ?[:)]?\ ?$", re.I)
_BANK_BEHIND = re.compile(
    rf"\ ?[(,]?\ ?(?:{_BANKS}(?:은행|뱅크)?|카뱅|우체국|새마을(?:금고)?)"
    r"(?![가-힣A-Za-z]|\ ?[:)]?\ ?(?:[0-9*]|계좌))",
    re.I,
)
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}\D{1,3}(?:0?[1-9]|1[0-2])\D{1,3}(?:0?[1-9]|[12][0-9]|3[01])\b"
)
_BUSINESS = re.compile(r"[0-9]{3}\D{1,3}[0-9]{2}\D{1,3}[0-9]{5}")
# Between a bank's name and its account there is no end of a sentence and no other number.
_OTHER_MATTER = re.compile(r"[.!?요]\s|\n\n|(?<!:)\n|[0-9*][0-9*-]{5,}")
_BINARY = re.compile(r"[01\D]+")
_FIRM = re.compile(r"080\D{1,3}[0-9]{3,4}\D{1,3}[0-9]{4}")
_NETWORK_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_NOT_ACCOUNT = re.compile(r"사업자|법인|ISBN|ISSN|우편|고유번호|승인번호|주문|송장", re.I)

_PASSPORT_WORDS = tuple(map(re.compile, ("여권", "패스포트", "passport", "Passport", "PASSPORT")))
_PASSPORT = re.compile(
    r"(?<![A-Za-z0-9*])(?P<type>[MSROD])[-\ ]?(?:[0-9]{8}|[0-9]{3}[A-Z][0-9]{4})(?![A-Za-z0-9*])",
    re.I | re.A,
)
_PASSPORT_LENGTH = 10
_REACH = 40


def find_numbers(run: Run) -> Iterator[Mask]:
    """Registration numbers, cards, licences and accounts; where two overlap, the surer first."""
    for match in run.matches(_RESIDENT, _is_resident):
        kept = f"{match['birth'][:2]}****-{match['tail'][0]}******"
        yield Mask("resident-number", *run.folded.span(*match.span()), kept)
    for match in run.matches(_CARD, _is_card):
        yield Mask("card", *run.folded.span(*match.span()), "****-****-****-****")
    for match in run.matches(_LICENCE, _is_licence):
        kept = f"{match['name'] or match['number']}-**-******-**"
        yield Mask("drivers-licence", *run.folded.span(*match.span()), kept)
    for match in run.matches(_ACCOUNT, _is_account):
        yield Mask("bank-account", *run.folded.span(*match.span()), "***-******-***")


def find_passports(text: str) -> Iterator[Mask]:
    """Passport numbers, where the text speaks of passports nearby."""
    for word in chain.from_iterable(context.finditer(text) for context in _PASSPORT_WORDS):
        # A little wider than the reach, so that no number is cut in two.
        folded = fold(text, word.start() - _REACH - 1, word.end() + _REACH + _PASSPORT_LENGTH + 1)
        for match in _PASSPORT.finditer(folded.text, 1 if folded.start else 0):
            start, end = folded.span(*match.span())
            if start < word.end() + _REACH:
                yield Mask("passport", start, end, f"{match['type']}********")


def _is_resident(match: re.Match[str]) -> bool:
    digits = digits_of(match[0])
    born = checks.born(digits)
    if born is None:
        return False
    context = before(match, 24)
    if "법인" in context:
        return False
    if _RESIDENT_WORD.search(context) or checks.resident_checksum(digits):
        return True
    # Numbers given since October 2020 have no check digit, but bare digits need one to be told
    # from others. Corporations have the same form: 110111-… is one of Seoul, not an 11 January.
    return "-" in match["gap"] and (born[0] >= 2020 or not checks.corporate(digits))


def _is_card(match: re.Match[str]) -> bool:
    digits = digits_of(match[0])
    return checks.card_issuer(digits) and checks.luhn(digits)


def _is_licence(match: re.Match[str]) -> bool:
    if "-" in match["gap"] and (match["name"] or "-" in match["first"]):
        return True
    return "면허" in before(match)


def _is_account(match: re.Match[str]) -> bool:
    if not 10 <= len(digits_of(match[0])) <= 14:
        return False
    if _DATE.match(match[0]) or any(
        other.fullmatch(match[0]) for other in (_BUSINESS, _FIRM, _BINARY, _NETWORK_ADDRESS)
    ):
        return False
    if _NOT_ACCOUNT.search(before(match, 16)):
        return False
    near = _OTHER_MATTER.split(before(match))[-1]
    return bool(
        _BANK_WORD.search(near) or _BANK_BESIDE.search(near) or _BANK_BEHIND.match(after(match))
    )
