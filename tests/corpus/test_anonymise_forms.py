"""What `anonymise` makes of single identifiers, and what it leaves alone."""

import pytest

from hyperclova.corpus.anonymise import anonymise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Hangul are word characters: \b finds no boundary beside them.
        ("는010-1234-5678입니다", "는010-****-****입니다"),
        ("는900101-1234568이다", "는90****-1******이다"),
        ("는abc12@naver.com입니다", "는****@naver.com입니다"),
        ("카드는4111111111111111이다", "카드는****-****-****-****이다"),
        ("여권은M12345678이다", "여권은M********이다"),
        ("면허는11-12-345678-90이다", "면허는11-**-******-**이다"),
        ("농협302-1234-5678-91입니다", "농협***-******-***입니다"),
        ("주소는instagram.com/abc_d입니다", "주소는instagram.com/****입니다"),
        # What can't identify is kept.
        ("020520-4123456 주민등록번호", "02****-4****** 주민등록번호"),
        ("(02) 123 4567", "02-****-****"),
        ("031)527-8345", "031-****-****"),
        ("+82 (0)10-1234-5678", "+82-10-****-****"),
        ("82-10-1234-5678", "+82-10-****-****"),
        ("대표번호는 82-2-2345-6789이며", "대표번호는 +82-2-****-****이며"),
        ("제주 98-123456-12", "제주-**-******-**"),
        ("abc@mail.example-firm.co.kr", "****@mail.example-firm.co.kr"),
        ("https://blog.naver.com/abc/2213", "https://blog.naver.com/****/2213"),
        # Ranges, lists and labels around numbers.
        ("02-123-4567~8", "02-****-****~8"),
        ("010-1234-5678,010-2345-6789", "010-****-****,010-****-****"),
        ("010-1234-5678 010-2345-6789", "010-****-**** 010-****-****"),
        ("①010-1234-5678 ②없음", "①010-****-**** ②없음"),
        ("Tel010-1234-5678", "Tel010-****-****"),
        ("|이름|010-1234-5678|", "|이름|010-****-****|"),
        ("O1O-l234-5678", "010-****-****"),
        ("공일공에 일이삼사에 오육칠팔이에요", "010-****-****이에요"),
        ("01012345678@naver.com", "****@naver.com"),
        ("메일로 드릴게요.bomnal@naver.com 입니다", "메일로 드릴게요.****@naver.com 입니다"),
        ("카톡 bomnal715로 연락 주세요", "카톡 ****로 연락 주세요"),
    ],
)
def test_masks(text: str, expected: str) -> None:
    assert anonymise(text).text == expected


@pytest.mark.parametrize(
    "text",
    [
        "2019-01-01부터 2019.08.15까지, 2019/08/15 13:05:59",
        "1,234,567,890원과 9,876,543,210달러",
        "버전 10.0.19041.1234, v2.3.4-beta.5, react@18.2.0",
        "제123조의2제3항 및 법률 제12345호(2019. 1. 15. 공포)",
        "[시행 2022. 1. 13.] [대통령령 제32274호, 2021. 12. 28., 제정]",
        "ISBN 978-89-01-12345-6, 9788901123456, ISSN 1225-1234, doi:10.1000/182.2019.01.0123",
        "123~456쪽, pp. 1234-5678, 12(3): 101-2345",
        "192.168.0.1, 010.123.045.067, 2001:0db8:85a3:0000",
        "북위 37.566535 동경 126.977969, 37°33'59\" 126°58'40\"",
        "3-2, 21-19 19-21 15-13, 1승 2무 3패",
        "사업자등록번호 123-45-67890, 법인등록번호 110111-1234567",
        "대표전화 1588-1234, 무료 상담 080-123-4567",
        "3.14159265358979323846264338327950288419716939937510",
        "0.01012345678, 1.6021773349, 0.052631578947368421",
        "2진수 0101 0101 0101, 01010101010",
        "하계 1988-1992-1996-2000-2004-2008",
        "901399-1234567 (13월은 없다)",
        "카드 번호처럼 보이는 4111-1111-1111-1112",
        "주문번호 20190101123456, 송장 123456789012",
        "SM-G998N, ABC-1234-5678, KR10-2019-0012345",
        "JIS X 0213이 2004년에 개정되면서",
        "공일이 사오일 이어졌다. 일이삼사오육칠팔구",
        "통장에 2019.01.15 10:30 입금 1,234,567원",
        "여권은 2019년 12월에 발급, 여당과 야권",
        "icon@2x.png, @Override, git@github.com:torvalds/linux.git, user@example.com",
        "카톡 pc버전, 카톡 2019년판, 트위터 계정 640개, 다음은 @override 예제, 인스타그램 @ 2020",
        "https://github.com/torvalds/linux, https://www.instagram.com/p/B1abc/, x.com/home",
        "https://cafe.naver.com/joonggonara, https://twitter.com/search?q=abc",
        "web.archive.org/web/20190125161855/https://bank.com",
        "5천만 명 가운데 12345678901234567890명은 없다",
        "loss 2.934802532196045, time 2.5420753955841064, 3.350963830947876",
    ],
)
def test_leaves_alone_what_identifies_nobody(text: str) -> None:
    result = anonymise(text)
    assert result.text is text
    assert result.masked == ()


def test_masks_say_what_stood_where() -> None:
    text = "김봄날 010-1234-5678, bom@naver.com, 국민은행 123456-01-234567"
    masked = anonymise(text).masked
    assert [(mask.kind, text[mask.start : mask.end], mask.replacement) for mask in masked] == [
        ("phone", "010-1234-5678", "010-****-****"),
        ("email", "bom@naver.com", "****@naver.com"),
        ("bank-account", "123456-01-234567", "***-******-***"),
    ]


def test_long_names_and_numbers_are_not_cut_in_two() -> None:
    """Candidates are read in slices: nothing may be taken for whole at the end of one."""
    name = "a" * 150
    page = f"https://www.instagram.com/{name}"
    pages = " ".join(f"https://twitter.com/bomnal{number:03}" for number in range(40))
    assert set(anonymise(pages).text.split()) == {"https://twitter.com/****"}
    assert anonymise(page).text in (page, "https://www.instagram.com/****")
    table = " ".join(
        f"2.{number}" for number in range(5_420_753_955_841_064, 5_420_753_955_841_094)
    )
    assert anonymise(table).text is table


def test_text_without_boundaries_takes_time_in_proportion() -> None:
    """Patterns are bounded: long texts of one word end at once, not after hours."""
    for piece in ("a", "1", "a.", "@", "01", "1-", "공일", ".com/", "아이디", "( "):
        text = piece * 5_000
        anonymise(text)
        anonymise("@ 카톡 아이디 여권 " + text)
