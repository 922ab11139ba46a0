"""Which digits can be an identifier at all: check digits, dates, ranges."""

from calendar import monthrange

LATEST_BIRTH_YEAR = 2035
"""Later birth years aren't taken for births; a constant, so that results don't change with time."""

_RESIDENT_WEIGHTS = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
# The fifth and sixth digit of a corporation's registration number tell its legal form: companies,
# associations, foundations, others. (Forms above 31 can't be taken for a day of birth.)
_CORPORATE_FORMS = frozenset(("11", "12", "13", "14", "15", "21", "22", "31"))


def born(digits: str) -> tuple[int, int, int] | None:
    """Year, month and day of birth in a registration number; None: no such person.

    The seventh digit gives century and sex: 1, 2 (1900s) and 3, 4 (2000s); foreigners 5, 6 and
    7, 8. (9 and 0 were for births before 1900.)
    """
    if digits[6] in "1256":
        year = 1900 + int(digits[:2])
    elif digits[6] in "3478":
        year = 2000 + int(digits[:2])
    else:
        return None
    month, day = int(digits[2:4]), int(digits[4:6])
    if not 1 <= month <= 12 or year > LATEST_BIRTH_YEAR:
        return None
    if not 1 <= day <= monthrange(year, month)[1]:
        return None
    return year, month, day


def resident_checksum(digits: str) -> bool:
    """Whether the thirteenth digit checks the others (numbers given until October 2020).

    Foreigners' numbers add 2 to the check digit.
    """
    total = sum(int(d) * weight for d, weight in zip(digits, _RESIDENT_WEIGHTS, strict=False))
    check = (11 - total % 11) % 10
    if digits[6] in "5678":
        check = (check + 2) % 10
    return check == int(digits[12])


def corporate(digits: str) -> bool:
    """Whether thirteen digits are a well-formed registration number of a corporation.

    Registry (4), legal form (2), serial number (6), check digit with weights 1 and 2 in turn.
    """
    total = sum(int(digit) * (1 + i % 2) for i, digit in enumerate(digits[:12]))
    return digits[4:6] in _CORPORATE_FORMS and (10 - total % 10) % 10 == int(digits[12])


def luhn(digits: str) -> bool:
    """The check digit of payment cards (ISO/IEC 7812-1, annex B)."""
    total = 0
    for i, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + i % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def card_issuer(digits: str) -> bool:
    """Whether a payment card network, or a Korean domestic issuer (9), gives such numbers."""
    if len(digits) == 15:
        return digits[:2] in ("34", "37")
    return (
        digits[0] in "49"
        or "51" <= digits[:2] <= "55"
        or "2221" <= digits[:4] <= "2720"
        or digits[:2] in ("35", "36", "60", "62", "64", "65")
    )
