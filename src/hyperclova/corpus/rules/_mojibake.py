"""Undoing wrong encodings of Korean text."""

import re

# The 400 syllables that make up 93 % of running Korean text, measured over encyclopedia, news,
# statutes, fiction, petitions, blogs and film reviews (each kind counting the same). Bytes of
# another language that happen to decode as Hangul hit one in six.
_COMMON = frozenset(
    "가각간갈감값강같개거건걸검것게겠겨격견결경계고공과관광교구국군권귀규그극근글금급기긴길김까께끝나난날남내냐너넘네녀년노논누눈느는늘능니님다단달담답당대더던데도독"
    "돌동되된될두뒤드든들듯등디따때떻또라락란람랑래러런럼럽렇레려력련령로록론료루류르른를름리린림립마막만많말망맞매맨머먹메며면명모목몰못무문물뭐미민밌및바박반받발방"
    "배백버번벌범법베변별병보복본볼봐봤부분불뷰브비빈빠사산살상새색생서석선설성세션소속손송수순술쉬슈스습승시식신실심싶쓰씨아악안않알았앞애액야약양어억언얼엄업없었에"
    "엔여역연열였영예오온올와완왔왕왜외요용우운울움웃워원월위유육으은을음응의이인일임입있자작잘잡장재저적전절점접정제져졌조족존좀종좋죠주죽준줄중증지직진질집짜짝째쪽"
    "차착찰참창찾채책처천청체초최추축출충취측치친침카케코크클키타태택터테토통투트특티파판패페편평포표품프플피필하학한할함합항해했행향허험현형호혼화확환활황회후희히힘"
)

# Windows-1252 puts letters and signs where Latin-1 has control characters.
_SIGNS = {
    bytes([byte]).decode("cp1252"): byte
    for byte in range(0x80, 0xA0)
    if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)
}
_TO_LATIN = str.maketrans({sign: chr(byte) for sign, byte in _SIGNS.items()})
_HIGH = r"\x80-\xff" + "".join(map(re.escape, _SIGNS))

_LATIN_TELLTALE = re.compile(rf"[\x80-\x9f\xa1-\xff](?<!·)[{_HIGH}]")
_LATIN_SEGMENT = re.compile(rf"[\t\x20-\x7e{_HIGH}]+")
_HIGH_RUN = re.compile(rf"[{_HIGH}]{{4,}}")

# UTF-8 of Hangul starts with EA to ED and goes on with 80 to BF: read as CP949, Chinese
# characters of four rows, followed by something that is not ASCII.
_CP949_TELLTALE = re.compile(
    "["
    + "".join(
        bytes([lead, trail]).decode("cp949")
        for lead in range(0xEA, 0xEE)
        for trail in range(0xA1, 0xC0)
    )
    + r"][^\x00-\x7f]"
)
_FOREIGN_RUN = re.compile(r"[^\x00-\x7f]+")

# A no-break space inside UTF-8 that someone already turned into a plain one.
_LOST_SPACE = re.compile(rb"([\xea-\xed]) (?=[\x80-\xbf])|([\xea-\xed][\x80-\xbf]) ")

# Three or more in a row, letters and signs mixed as no language mixes them.
_UNREAD = (
    rf"(?=[{_HIGH}]{{0,40}}[À-ÿ])(?=[{_HIGH}]{{0,40}}[\x80-\x9f\xa1-\xb6\xb8-\xbf])[{_HIGH}]{{3}}"
)
_BROKEN = re.compile(rf"\w\ufffd|\ufffd\w|\ufffd\ufffd|占쏙|{_UNREAD}")


def repair(text: str, syllables: int, common: float) -> str:
    """``text`` with each stretch repaired that was clearly Korean in another encoding.

    Args:
        syllables: fewest common syllables that make a repair credible.
        common: least share of common syllables among the non-ASCII characters that CP949 yields.
            UTF-8 needs none: other text is not valid UTF-8 by accident.
    """

    def latin(match: re.Match[str]) -> str:
        segment = match[0]
        if not _LATIN_TELLTALE.search(segment):
            return segment
        found = _reread(segment.translate(_TO_LATIN).encode("latin-1"), syllables, common)
        if found is not None:
            return found
        # Real Latin text around it: look at each run of high characters by itself.
        return _HIGH_RUN.sub(
            lambda run: (
                _reread(run[0].translate(_TO_LATIN).encode("latin-1"), syllables, common) or run[0]
            ),
            segment,
        )

    def cp949(match: re.Match[str]) -> str:
        if not _CP949_TELLTALE.search(match[0]):
            return match[0]
        try:
            found = match[0].encode("cp949").decode("utf-8")
        except UnicodeError:
            return match[0]
        return found if _is_korean(found, syllables, common) else match[0]

    if _LATIN_TELLTALE.search(text):
        text = _LATIN_SEGMENT.sub(latin, text)
    if _CP949_TELLTALE.search(text):
        text = _FOREIGN_RUN.sub(cp949, text)
    return text


def broken_words(text: str) -> int:
    """Words (between white space) that hold lost or unreadable characters."""
    if not ("\ufffd" in text or "占쏙" in text or _LATIN_TELLTALE.search(text)):
        return 0
    return sum(1 for word in text.split() if _BROKEN.search(word))


def _reread(data: bytes, syllables: int, common: float) -> str | None:
    """Korean text from the bytes of UTF-8 (encoded once or twice) or CP949, or None."""
    for candidate in (data, _LOST_SPACE.sub(rb"\1\2" + b"\xa0", data)):
        found = _decode(candidate, "utf-8")
        if found is not None and not _hangul(found) and _LATIN_TELLTALE.search(found):
            try:
                found = _decode(found.translate(_TO_LATIN).encode("latin-1"), "utf-8")
            except UnicodeEncodeError:
                found = None
        if found is not None and _is_korean(found, syllables, 0.0):
            return found
    found = _decode(data, "cp949")
    return found if found is not None and _is_korean(found, syllables, common) else None


def _decode(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        # The last character may have been cut in half: then only the very end is wrong.
        if error.start < len(data) - 3 or error.start < 4:
            return None
        try:
            return data[: error.start].decode(encoding) + "\ufffd"
        except UnicodeDecodeError:
            return None


def _hangul(text: str) -> int:
    return sum("가" <= character <= "힣" for character in text)


def _is_korean(text: str, syllables: int, common: float) -> bool:
    foreign = [character for character in text if character > "\x7f"]
    known = sum(character in _COMMON for character in foreign)
    return known >= syllables and known >= common * len(foreign)
