"""Phone numbers, of mobile phones and of landlines; the dialling code is kept."""

import re
from collections.abc import Iterator

from hyperclova.corpus.anonymise.folding import DIGITS, INVISIBLE, Folded, fold
from hyperclova.corpus.anonymise.mask import Mask
from hyperclova.corpus.anonymise.runs import (
    END,
    GAP,
    LETTER_DIGITS,
    SEPARATORS,
    START,
    Run,
    after,
    before,
    digits_of,
)

NUMERALS = "공영일이삼사오육칠팔구"
_NUMERAL_DIGITS = str.maketrans(NUMERALS, "00123456789") | LETTER_DIGITS
# A phone number in words begins with its zero: 공일공 일이삼사 오육칠팔, 공1공-….
_SPOKEN_RUN = re.compile(
    f"[공영0０oO][{NUMERALS}{DIGITS}lI][{NUMERALS}{DIGITS}OoIl{SEPARATORS}{INVISIBLE}에다시,]{{7,}}"
)
_NUMERAL = re.compile(f"[{NUMERALS}]")
_SPOKEN_SEPARATOR = re.compile(r"에|다시")
_FREE = re.compile(START)

_AREA = r"(?:1[016-9]|2|3[1-3]|4[1-4]|50[2-8]|5[1-5]|6[1-4]|70)"
_PHONE_TEXT = (
    r"(?:(?P<country>\(?(?:\+\ ?|00)?82\)?)[-.\ )]{0,2}(?:\(0\)\ ?)?)?"
    rf"(?P<open>\(?)(?P<code>(?(country)0?|0){_AREA})(?P<first>\)?(?:GAP)?)"
    r"(?P<middle>[0-9]{3,4})(?P<second>(?:GAP)?)(?P<last>[0-9]{4})"
)
_PHONE = re.compile(START + _PHONE_TEXT.replace("GAP", GAP) + END)
_SPOKEN_GAP = rf"(?:{GAP}|\ ?,\ ?|에\ ?|\ ?다시\ ?)"
_SPOKEN_PHONE = re.compile(START + _PHONE_TEXT.replace("GAP", _SPOKEN_GAP))
_PHONE_WORD = re.compile(
    r"전화|연락|휴대|핸드폰|폰|팩스|번호|문의|예약|☎|☏|📞|📱|\b(?:tel|fax|phone|mobile|h\.?p|call)\b",
    re.I | re.A,
)
_BINARY = re.compile(r"[01]+")
_DECIMAL = re.compile(r"[0-9][.,:]$")
_GLUED = re.compile(r"[A-Za-z/%&_=#]")


def find_phones(run: Run) -> Iterator[Mask]:
    """Phone numbers in a run of digits."""
    for match in run.matches(_PHONE, _is_phone):
        start = match.start()
        if match[0].count("(") > match[0].count(")"):  # the first bracket isn't the number's
            start += match[0].index("(") + 1
        yield Mask("phone", *run.folded.span(start, match.end()), _masked(match))


def find_spoken_phones(text: str) -> Iterator[Mask]:
    """Phone numbers in words, or partly so: 공일공에 일이삼사에 오육칠팔, 010-일이삼사-5678."""
    for run in _SPOKEN_RUN.finditer(text):
        if _NUMERAL.search(run[0]) or _SPOKEN_SEPARATOR.search(run[0]):
            yield from _spoken(text, run.start(), run.end())


def _spoken(text: str, start: int, end: int) -> Iterator[Mask]:
    folded = fold(text, start, end)
    digits = Folded(folded.text.translate(_NUMERAL_DIGITS), folded.start, folded.positions)
    for match in _SPOKEN_PHONE.finditer(digits.text):
        if match.start() == 0 and not _FREE.match(text, start):
            continue
        written = folded.text[match.start() : match.end()]
        if not match["middle"].strip("0") or _BINARY.fullmatch(digits_of(match[0])):
            continue
        # Particles look like numerals: in "JIS X 0213이 2004년" there is no 2.
        if (
            written[0] in "공영"
            or len(_NUMERAL.findall(written)) > 2
            or (len(_SPOKEN_SEPARATOR.findall(written)) == 2 and match["code"][1] == "1")
        ):
            yield Mask("phone", *digits.span(*match.span()), _masked(match))


def _masked(match: re.Match[str]) -> str:
    if not match["country"]:
        return f"{match['code']}-****-****"
    return f"+82-{match['code'].lstrip('0')}-****-****"


def _is_phone(match: re.Match[str]) -> bool:
    code = "0" + match["code"].lstrip("0")
    mobile = code.startswith("01")
    subscriber = match["middle"] + match["last"]
    if not subscriber.strip("0") or _BINARY.fullmatch(digits_of(match[0])):
        return False
    first, second = match["first"], match["second"]
    if code == "010" and len(match["middle"]) == 3 and not (first and second):
        return False
    if _DECIMAL.search(before(match, 2)) and "-" not in second:
        return False
    country = match["country"] or ""
    abroad = "+" in country or country.strip("(").startswith("00")
    if country and not abroad and not ("-" in second and (mobile or _beside_phone_word(match))):
        return False
    if abroad or _beside_phone_word(match):
        return mobile or bool(first) or not second
    if first and second:
        # Spaces and dots alone also stand between the columns of tables and in versions.
        return mobile or (match["middle"][0] != "0" and ("-" in second or ")" in first))
    return code == "010" and not _GLUED.search(before(match, 1) + "\n" + after(match, 1))


def _beside_phone_word(match: re.Match[str]) -> bool:
    return _PHONE_WORD.search(before(match, 16)) is not None
