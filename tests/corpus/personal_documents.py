"""Korean documents with planted identifiers, for the tests of `hyperclova.corpus.anonymise`.

Names, numbers and sentences are made up here. A document is a few sentences: some with an
identifier in one of :data:`FORMS`, others with numbers that identify nobody.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

Maker = Callable[[Random], str]


@dataclass(frozen=True)
class Form:
    """One way to write one kind of identifier."""

    kind: str
    name: str
    make: Maker
    sentences: tuple[str, ...]
    """Sentences with ``{}`` where it stands."""


@dataclass(frozen=True)
class Planted:
    kind: str
    form: str
    start: int
    end: int


@dataclass(frozen=True)
class PersonalDocument:
    text: str
    planted: tuple[Planted, ...]


def documents(count: int, seed: int = 0) -> Iterator[PersonalDocument]:
    """``count`` documents, the same for the same seed; the forms take turns."""
    random = Random(seed)
    turn = 0
    for _ in range(count):
        parts: list[str] = []
        planted: list[Planted] = []
        length = 0
        for _ in range(random.randint(3, 7)):
            if random.random() < 0.55:
                sentence = random.choice(HARMLESS)(random)
            else:
                form = FORMS[turn % len(FORMS)]
                turn += 1
                identifier = form.make(random)
                head, _, tail = random.choice(form.sentences).partition("{}")
                start = length + len(head)
                planted.append(Planted(form.kind, form.name, start, start + len(identifier)))
                sentence = head + identifier + tail
            separator = random.choice((" ", "\n", "\n\n"))
            parts += (sentence, separator)
            length += len(sentence) + len(separator)
        yield PersonalDocument("".join(parts), tuple(planted))


# Digits ------------------------------------------------------------------------------------------


def _number(random: Random, length: int) -> str:
    """Digits of which the first isn't 0; never only 1 and 0."""
    return str(random.randint(2, 9)) + "".join(random.choices("0123456789", k=length - 1))


def _translate(source: str, target: str) -> Callable[[Maker], Maker]:
    table = str.maketrans(source, target)
    return lambda make: lambda random: make(random).translate(table)


_wide = _translate("0123456789-", "０１２３４５６７８９－")
_circled = _translate("0123456789", "⓪①②③④⑤⑥⑦⑧⑨")
_bold = _translate("0123456789", "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗")
_letters = _translate("01", "Ol")
_words = _translate("0123456789", "공일이삼사오육칠팔구")


def _keycaps(make: Maker) -> Maker:
    return lambda random: "".join(
        char + "\ufe0f\u20e3" if char.isdigit() else char for char in make(random)
    )


def _joined(prefix: str, *between: str, middle: int = 4) -> Maker:
    """Prefix, middle group and four digits with what is put between them."""
    first, second = between
    return lambda random: f"{prefix}{first}{_number(random, middle)}{second}{_number(random, 4)}"


def _resident(between: str, *, foreign: bool = False, since_2020: bool = False) -> Maker:
    """Birth, sex digit and the rest; no check digit for those born since October 2020."""

    def make(random: Random) -> str:
        late = since_2020 or random.random() < 0.3
        year = random.randint(0, 19) if late else random.randint(40, 99)
        if since_2020:
            year = random.randint(21, 25)
        sex = random.choice("34" if late else "12")
        if foreign:
            sex = str(int(sex) + 4)
        birth = f"{year:02}{random.randint(1, 12):02}{random.randint(1, 28):02}"
        digits = birth + sex + "".join(random.choices("0123456789", k=5))
        weights = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
        total = sum(int(d) * weight for d, weight in zip(digits, weights, strict=True))
        check = ((11 - total % 11) % 10 + (2 if foreign else 0)) % 10
        if since_2020:
            check = random.randint(0, 9)
        return f"{birth}{between}{digits[6:]}{check}"

    return make


def _resident_with_dots(random: Random) -> str:
    digits = _resident("")(random)
    return f"{digits[:2]}.{digits[2:4]}.{digits[4:6]}-{digits[6:]}"


def _luhn(digits: str) -> str:
    doubled = [int(d) * (2 - i % 2) for i, d in enumerate(reversed(digits))]
    total = sum(value - 9 if value > 9 else value for value in doubled)
    return digits + str((10 - total % 10) % 10)


def _card(between: str, groups: tuple[int, ...] = (4, 4, 4, 4)) -> Maker:
    def make(random: Random) -> str:
        prefix = random.choice(("34", "37") if len(groups) == 3 else ("4", "51", "55", "9", "2300"))
        length = sum(groups) - 1 - len(prefix)
        digits = _luhn(prefix + "".join(random.choices("0123456789", k=length)))
        cut, parts = 0, []
        for group in groups:
            parts.append(digits[cut : cut + group])
            cut += group
        return between.join(parts)

    return make


def _groups(between: str, *lengths: int) -> Maker:
    return lambda random: between.join(_number(random, length) for length in lengths)


def _licence(region: tuple[str, ...], between: str, gap: str) -> Maker:
    return lambda random: (
        f"{random.choice(region)}{between}{random.randint(60, 99)}{gap}"
        f"{_number(random, 6)}{gap}{_number(random, 2)}"
    )


_CODES = ("11", "12", "13", "17", "19", "21", "23", "26", "28")
_PLACES = ("서울", "부산", "경기", "강원", "충남", "전북", "경남", "제주", "대구", "울산")


def _name(random: Random) -> str:
    stem = random.choice(("bomnal", "haneul", "norae", "sarang", "dalbit", "gureum", "minji"))
    return stem + random.choice(("", "_", "")) + str(random.randint(2, 9999))


def _mail(at: str, domains: tuple[str, ...]) -> Maker:
    return lambda random: f"{_name(random)}{at}{random.choice(domains)}"


_DOMAINS = ("naver.com", "gmail.com", "hanmail.net", "daum.net", "snu.ac.kr", "yahoo.co.kr")
_CALL = (
    "제 번호는 {}입니다.",
    "궁금하시면 {}으로 전화 주세요.",
    "는{}입니다라고 적혀 있었다.",
    "연락처: {}, 김봄날.",
    "({})로 문자 주시면 바로 답장할게요!",
    "밤에는{}번으로 부탁드려요",
    "①{} ②없음",
    "hp.{}",
)
_OFFICE = (
    "사무실 전화는 {}입니다.",
    "예약 문의 {} (평일 9시~18시)",
    "☎{}",
    "Tel: {} / 담당 박하늘",
    "전화번호 {}로 연락 바랍니다.",
)
_OFFICE_BARE = ("사무실은 {}이에요.", "담당자({})에게 물어보니 모른답니다.", "직통 {}, 3층 상담실")
_RESIDENT = (
    "주민등록번호는 {}입니다.",
    "주민번호: {} (본인)",
    "외국인등록번호 {}번으로 접수했습니다",
)
_RESIDENT_BARE = ("신청인 김노래({})는 다음과 같이 진술한다.", "이름과 {}을 적어 내세요.")
_MAIL = (
    "메일은 {}으로 보내 주세요.",
    "자막 있으신 분 {} 부탁드려요",
    "이메일:{}",
    "({})로 신청하시면 됩니다.",
)
_BANK = (
    "국민은행 {} 김구름",
    "계좌번호는 {}입니다.",
    "농협 {}으로 입금해 주세요.",
    "후원금 계좌: 우리은행 {} (예금주 달빛모임)",
    "카카오뱅크 {}로 송금했어요",
    "{} 신한은행 박사랑",
)
_CARD = (
    "카드 번호 {}로 결제했습니다.",
    "분실한 카드는 {}입니다.",
    "승인은{}, 유효기간 09/27",
)
_PASSPORT = ("여권번호 {}로 예약했습니다.", "여권 번호는 {}이고 곧 만료됩니다.", "Passport No. {}")
_LICENCE = ("운전면허번호 {}입니다.", "면허증({})을 잃어버렸습니다.", "면허 번호:{}")

FORMS = (
    Form("phone", "hyphens", _joined("010", "-", "-"), _CALL),
    Form("phone", "bare", _joined("010", "", ""), _CALL),
    Form("phone", "spaces", _joined("010", " ", " "), _CALL),
    Form("phone", "dots", _joined("010", ".", "."), _CALL),
    Form("phone", "slashes", _joined("010", "/", "/"), _CALL),
    Form("phone", "underscores", _joined("010", "_", "_"), _CALL),
    Form("phone", "tildes", _joined("010", "~", "~"), _CALL),
    Form("phone", "spaced hyphens", _joined("010", " - ", " - "), _CALL),
    Form("phone", "one hyphen", _joined("010", "-", ""), _CALL),
    Form("phone", "hyphen, space", _joined("010", "-", " "), _CALL),
    Form("phone", "en dashes", _joined("010", "–", "–"), _CALL),
    Form("phone", "vowel as dash", _joined("010", "ㅡ", "ㅡ"), _CALL),
    Form("phone", "middle dots", _joined("010", "·", "·"), _CALL),
    Form("phone", "ideographic spaces", _joined("010", "\u3000", "\u3000"), _CALL),
    Form("phone", "zero width", _joined("010", "\u200b-", "-\u200b"), _CALL),
    Form("phone", "code in brackets", _joined("(010)", " ", "-"), _CALL),
    Form("phone", "one bracket", _joined("010)", "", "-"), _CALL[:4]),
    Form("phone", "full width", _wide(_joined("010", "-", "-")), _CALL),
    Form("phone", "full width, bare", _wide(_joined("010", "", "")), _CALL),
    Form("phone", "bold", _bold(_joined("010", "-", "-")), _CALL),
    Form("phone", "circled", _circled(_joined("010", "-", "-")), _CALL[:-2]),
    Form("phone", "keycaps", _keycaps(_joined("010", "-", "-")), _CALL),
    Form("phone", "letters", _letters(_joined("010", "-", "-")), _CALL[:-1]),
    Form("phone", "words", _words(_joined("010", " ", " ")), _CALL),
    Form("phone", "words, glued", _words(_joined("010", "", "")), _CALL),
    Form("phone", "words, hyphens", _words(_joined("010", "-", "-")), _CALL),
    Form("phone", "words, spoken", _words(_joined("010", "에 ", "에 ")), _CALL),
    Form("phone", "spoken", _joined("010", "에 ", "에 "), _CALL),
    Form("phone", "half in words", _joined("공1공", "-", "-"), _CALL),
    Form("phone", "code in words", _joined("공일공", " ", "-"), _CALL),
    Form("phone", "older code", _joined("011", "-", "-", middle=3), _CALL),
    Form("phone", "older code, spaces", _joined("017", " ", " ", middle=3), _CALL),
    Form("phone", "international", _joined("+82 10", "-", "-"), _CALL),
    Form("phone", "international, hyphens", _joined("+82-10", "-", "-"), _CALL),
    Form("phone", "international, bare", _joined("+8210", "", ""), _CALL),
    Form("phone", "international, (0)", _joined("+82(0)10", "-", "-"), _CALL),
    Form("phone", "international, no plus", _joined("82-10", "-", "-"), _CALL),
    Form("phone", "Seoul", _joined("02", "-", "-"), _OFFICE + _OFFICE_BARE),
    Form("phone", "Seoul, seven digits", _joined("02", "-", "-", middle=3), _OFFICE + _OFFICE_BARE),
    Form("phone", "Seoul, bracket", _joined("02)", "", "-", middle=3), _OFFICE),
    Form("phone", "Seoul, brackets, spaces", _joined("(02)", " ", " ", middle=3), _OFFICE),
    Form("phone", "Seoul, dots", _joined("02", ".", "."), _OFFICE),
    Form("phone", "Seoul, bare", _joined("02", "", ""), _OFFICE),
    Form("phone", "Seoul, international", _joined("+82-2", "-", "-"), _OFFICE + _OFFICE_BARE),
    Form("phone", "Gyeonggi", _joined("031", "-", "-", middle=3), _OFFICE + _OFFICE_BARE),
    Form("phone", "Jeju, full width", _wide(_joined("064", "-", "-", middle=3)), _OFFICE),
    Form("phone", "Sejong, spaces", _joined("044", " ", " ", middle=3), _OFFICE),
    Form("phone", "internet", _joined("070", "-", "-"), _OFFICE + _OFFICE_BARE),
    Form("phone", "virtual", _joined("0507", "-", "-"), _OFFICE),
    Form("resident-number", "hyphen", _resident("-"), _RESIDENT + _RESIDENT_BARE),
    Form("resident-number", "bare, no context", _resident(""), _RESIDENT_BARE),
    Form("resident-number", "bare", _resident(""), _RESIDENT),
    Form(
        "resident-number",
        "since 2020",
        _resident("-", since_2020=True),
        _RESIDENT + _RESIDENT_BARE,
    ),
    Form("resident-number", "since 2020, bare", _resident("", since_2020=True), _RESIDENT),
    Form("resident-number", "space", _resident(" "), _RESIDENT),
    Form("resident-number", "spaced dash", _resident(" – "), _RESIDENT + _RESIDENT_BARE),
    Form("resident-number", "full width", _wide(_resident("-")), _RESIDENT + _RESIDENT_BARE),
    Form("resident-number", "date with dots", _resident_with_dots, _RESIDENT + _RESIDENT_BARE),
    Form("resident-number", "foreigner", _resident("-", foreign=True), _RESIDENT),
    Form("resident-number", "foreigner, bare", _resident("", foreign=True), _RESIDENT),
    Form("email", "plain", _mail("@", _DOMAINS), _MAIL),
    Form("email", "full width", _mail("＠", ("naver．com", "gmail．com")), _MAIL),
    Form("email", "spaces", _mail(" @ ", ("naver . com", "hanmail . net")), _MAIL),
    Form("email", "(at)", _mail(" (at) ", _DOMAINS), _MAIL),
    Form("email", "[at] [dot]", _mail("[at]", ("naver[dot]com", "gmail[dot]com")), _MAIL),
    Form("email", "at dot", _mail(" at ", ("naver dot com", "gmail dot com")), _MAIL),
    Form("email", "골뱅이", _mail("골뱅이", _DOMAINS), _MAIL),
    Form("email", "골뱅이, Hangul", _mail(" 골뱅이 ", ("네이버 점 컴", "지메일 닷컴")), _MAIL),
    Form("email", "골뱅이 in brackets", _mail("(골뱅이)", _DOMAINS), _MAIL),
    Form("bank-account", "6-2-6", _groups("-", 6, 2, 6), _BANK),
    Form("bank-account", "3-3-6", _groups("-", 3, 3, 6), _BANK),
    Form("bank-account", "4-2-7", _groups("-", 4, 2, 7), _BANK),
    Form("bank-account", "3-4-4-2", _groups("-", 3, 4, 4, 2), _BANK),
    Form("bank-account", "bare", _groups("", 12), _BANK),
    Form("bank-account", "spaces", _groups(" ", 4, 3, 6), _BANK),
    Form("bank-account", "full width", _wide(_groups("-", 3, 2, 6)), _BANK),
    Form("card", "hyphens", _card("-"), _CARD),
    Form("card", "spaces", _card(" "), _CARD),
    Form("card", "bare", _card(""), _CARD),
    Form("card", "full width", _wide(_card("-")), _CARD),
    Form("card", "15 digits", _card("-", (4, 6, 5)), _CARD),
    Form("passport", "M and digits", lambda r: f"M{_number(r, 8)}", _PASSPORT),
    Form(
        "passport",
        "new",
        lambda r: f"M{_number(r, 3)}{r.choice('ABCFK')}{_number(r, 4)}",
        _PASSPORT,
    ),
    Form("passport", "other type, space", lambda r: f"S {_number(r, 8)}", _PASSPORT),
    Form("passport", "small letter", lambda r: f"m{_number(r, 8)}", _PASSPORT),
    Form("drivers-licence", "hyphens", _licence(_CODES, "-", "-"), _LICENCE + _RESIDENT_BARE),
    Form("drivers-licence", "place", _licence(_PLACES, " ", "-"), _LICENCE + _RESIDENT_BARE),
    Form("drivers-licence", "place, glued", _licence(_PLACES, "", "-"), _LICENCE),
    Form("drivers-licence", "spaces", _licence(_CODES, " ", " "), _LICENCE),
    Form("drivers-licence", "bare", _licence(_CODES, "", ""), _LICENCE),
    Form(
        "web-account",
        "page",
        _name,
        (
            "사진은 https://www.instagram.com/{}/ 에 있어요.",
            "https://blog.naver.com/{}/221234567890 참고하세요",
            "출처:https://m.blog.naver.com/{}",
            "트위터 https://twitter.com/{}/status/1512345678901234567",
            "facebook.com/{}에서 만나요",
            "https://brunch.co.kr/@{}/46 에서 읽은 글입니다",
            "http://cafe.naver.com/ca-fe/cafes/10050146/members/{} 님의 글",
            "http://blog.naver.com/PostView.nhn?blogId={}&logNo=221053494355",
            "https://www.youtube.com/@{} 구독해 주세요",
        ),
    ),
    Form(
        "web-account",
        "subdomain",
        lambda r: _name(r).replace("_", "-"),
        ("정리는 https://{}.tistory.com/138 에 했습니다.", "http://{}.egloos.com/12 의 글"),
    ),
    Form(
        "web-account",
        "messenger",
        _name,
        (
            "카톡 아이디 {}로 연락 주세요.",
            "카카오톡ID: {}",
            "텔레그램 아이디는 {}입니다",
            "네이버 아이디 {}로 보내주시면 안 될까요",
            "라인 아이디: {}",
            "디스코드 계정 {}",
        ),
    ),
    Form(
        "web-account",
        "handle",
        _name,
        (
            "인스타 @{}",
            "인스타그램: @{} 팔로우",
            "트위터(@{})에 올렸다.",
            "Insta @{}",
            "@{}님 감사합니다",
        ),
    ),
)


# Numbers that identify nobody ---------------------------------------------------------------------

_int = Random.randint


def _date(r: Random) -> str:
    return f"{_int(r, 1950, 2026)}-{_int(r, 1, 12):02}-{_int(r, 1, 28):02}"


HARMLESS: tuple[Maker, ...] = (
    lambda r: f"{_date(r)}에 접수하여 {_date(r)}에 끝났다.",
    lambda r: f"{_date(r).replace('-', '.')}. ~ {_date(r).replace('-', '.')}. 동안 열립니다.",
    lambda r: f"회의는 {_date(r)} {_int(r, 0, 23):02}:{_int(r, 0, 59):02}:05에 시작했다.",
    lambda r: f"가격은 {_int(r, 1, 999)},{_int(r, 100, 999)},{_int(r, 100, 999)}원입니다.",
    lambda r: f"국민은행 계좌에서 {_int(r, 1, 99)},{_int(r, 100, 999)},000원을 찾았다.",
    lambda r: f"통장은 {_date(r)}에 만들었고 이자는 {_int(r, 1, 9)}.{_int(r, 10, 99)}%이다.",
    lambda r: f"{_date(r).replace('-', ' ')} 우체국에 들렀다.",
    lambda r: f"제{_int(r, 1, 400)}조의{_int(r, 2, 9)}제{_int(r, 1, 9)}항에 따른다.",
    lambda r: f"[시행 2021. 1. 1.] 법률 제{_int(r, 10000, 19999)}호, 2020. 12. 29., 일부개정",
    lambda r: f"ISBN 978-89-{_number(r, 4)}-{_number(r, 3)}-{_int(r, 0, 9)} 03810",
    lambda r: f"ISBN 97889{_number(r, 8)}, 정가 {_int(r, 9, 35)},000원",
    lambda r: (
        f"사업자등록번호 {_number(r, 3)}-{_number(r, 2)}-{_number(r, 5)}, 대표 1588-{_number(r, 4)}"
    ),
    lambda r: f"법인등록번호는 110111-{_number(r, 7)}이다.",
    lambda r: f"수신자 부담 080-{_number(r, 3)}-{_number(r, 4)}로 신청하세요.",
    lambda r: f"서버 주소는 192.168.{_int(r, 0, 255)}.{_int(r, 0, 255)}:8080이다.",
    lambda r: (
        f"버전 {_int(r, 0, 9)}.{_int(r, 10, 99)}.{_int(r, 100, 999)}-rc{_int(r, 1, 9)}로 올렸다."
    ),
    lambda r: f"{_int(r, 1, 90)}~{_int(r, 91, 400)}쪽, 제{_int(r, 1, 30)}권 {_int(r, 1, 12)}호",
    lambda r: f"북위 37.{_number(r, 6)}, 동경 126.{_number(r, 7)} 지점",
    lambda r: f"경기는 3-{_int(r, 0, 2)}, 점수 25-{_int(r, 10, 23)} 25-{_int(r, 10, 23)} 25-19",
    lambda r: f"인구는 {_int(r, 1985, 1999)}년 {_int(r, 1, 9)}{_number(r, 6)}명에서 줄었다.",
    lambda r: f"원주율은 3.14159265358979323846264338327950288이다. 넓이 {_number(r, 12)}",
    lambda r: f"주문 번호 {_date(r).replace('-', '')}{_number(r, 6)}, 모델명 SM-G{_number(r, 3)}N",
    lambda r: f"1950–{_int(r, 1951, 1999)}, 2001–{_int(r, 2002, 2026)}년의 기록이다.",
    lambda r: f"공일이 사오일이나 이어졌고 이 일 저 일이 많았다. {_int(r, 2, 9)}시 40분 출발.",
    lambda r: "일이삼사오육칠팔구십, 하나부터 열까지 세어 보았다.",
    lambda r: (
        f"카톡으로 사진 {_int(r, 2, 40)}장을 보냈는데 트위터 계정 {_int(r, 2, 900)}개가 퍼 갔다."
    ),
    lambda r: (
        f"다음은 @Override 예제이고 react@{_int(r, 15, 19)}.{_int(r, 0, 9)}.0과 icon@2x.png를 쓴다."
    ),
    lambda r: (
        "https://github.com/torvalds/linux 저장소와 https://www.instagram.com/p/B1abcDEf/ 를 보라."
    ),
    lambda r: f"오늘은 카페에서 책을 읽고 {_int(r, 2, 9)}시간쯤 걸었다. 바람이 아직 차다.",
    lambda r: f"2진수 0101010{_int(r, 0, 1)}101과 1011 0010 1101을 더한다.",
    lambda r: (
        f"서울 종로구 세종대로 {_int(r, 2, 300)}번길 {_int(r, 2, 99)} (우 031{_int(r, 10, 99)})"
    ),
)
