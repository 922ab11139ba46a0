"""Advertisements are dropped for reasons that are told; texts about the same things stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperclova.corpus.documents import Document
from hyperclova.corpus.rules.spam import Spam

RULE = Spam()


def document(text: str, title: str = "") -> Document:
    return Document(id="1", source="blog", title=title, text=text)


ADVERTISEMENTS = {
    "gambling": "안전놀이터 추천! 먹튀검증 완료된 메이저사이트에서 꽁머니 받으세요. 가입코드 7788",
    "casino": "온라인카지노 추천 바카라사이트 첫 가입 시 30% 보너스 텔레그램 문의 환영합니다",
    "loan": "무직자 당일대출 가능합니다. 신용불량자도 상담 환영. 전화 상담 010-0000-0000 24시간",
    "pills": "정품 비아그라 구매 시알리스 구입 카톡 문의 주세요. 당일 발송, 100% 정품 보장",
    "adult": "서울 전지역 출장안마 출장샵 24시간 상담 카톡아이디 abc123 후불제",
    "renovation": (
        "♥♥ 욕실 리모델링 전문 업체 ♥♥ 업계 최저 가격, 저렴하게 시공해 드립니다. "
        "무료 견적 문의 전화 010-0000-0000 지금 바로 신청하세요! 선착순 할인 이벤트"
    ),
    "apartment": (
        "◆역세권 새 아파트 선착순 분양◆ 분양가 문의 1600-0000, 모델하우스 방문 예약 문의 "
        "잔여 세대 마감 임박! 사은품 증정"
    ),
    "sponsored": (
        "오늘은 강남 맛집 추천해 드릴게요. 고기가 정말 부드러웠어요. 본 포스팅은 업체로부터 "
        "식사권을 받아 소정의 원고료를 제공받아 작성했습니다."
    ),
    "partners": (
        "가습기 추천 순위입니다. 최저가 바로 확인 https://link.coupang.com/a/xyz 이 포스팅은 "
        "쿠팡 파트너스 활동의 일환으로, 이에 따른 일정액의 수수료를 제공받습니다."
    ),
    "stocks": "급등주 무료 리딩방 입장하세요! 수익 보장 open.kakao.com/o/abcd 선착순 50명",
    "part-time": (
        "재택알바 하루 2시간 투자로 월 천만원! 고수익 보장, 누구나 쉽게 시작. 카톡 문의 kk77"
    ),
    "hashtags": "오늘 하루 #맛집 #강남맛집 #데이트 #먹스타그램 #맞팔 #선팔 #좋반 #일상 #소통 #줄눈",
    "links": "\n".join(["무료 체험 https://example.com/landing?x=1"] * 6),
    "price list": (
        "네일 가격 안내: 기본 20,000원, 젤 35,000원, 패디 45,000원, 제거 10,000원, 연장 5,000원. "
        "예약 문의 010-0000-0000 카톡 상담 가능, 첫 방문 할인 이벤트"
    ),
}

HONEST = [
    "카지노는 이탈리아어로 작은 집을 뜻하는 말에서 왔다. 바카라는 카드 놀이의 하나이다. "
    "19세기 프랑스에서 널리 퍼졌다.",
    "불법 도박 사이트 운영자가 경찰에 붙잡혔다. 이들은 토토사이트를 열어 백억 원대의 판돈을 "
    "받은 혐의를 받는다.",
    "실데나필은 비아그라라는 이름으로 팔리는 발기부전 치료제의 성분이다. 처음에는 협심증 치료를 "
    "위해 연구되었다.",
    "은행의 가계 대출 금리가 또 올랐다. 한국은행은 기준 금리를 3.5퍼센트로 동결했다.",
    "어제 산 책을 다 읽었다. 15,000원이라는 값이 아깝지 않았다. 다음 책도 살 생각이다.",
    "자세한 내용은 구청 민원실(02-000-0000)로 문의하시기 바랍니다. 신청은 이달 말까지 받습니다.",
    "코드를 내려받으려면 https://example.org/a 와 https://example.org/b 를 보라. 설치는 간단하다.",
    "# 제목\n\n## 개요\n\n### 설치\n\n#### 사용법\n\n##### 참고\n\n본문이 이어진다.",
    "친구와 캠핑을 다녀왔다. 밤하늘의 별이 쏟아질 듯했다. #캠핑 #여행",
    "정부는 전세 사기 피해자를 위한 지원 대책을 발표했다. 피해 금액은 2억 원에서 3억 원이다.",
    "이 영화 정말 재밌다 강추! 안 보면 후회합니다",
    "할인 행사를 한다기에 갔더니 사람만 많고 살 것은 없었다.",
]


@pytest.mark.parametrize("name", ADVERTISEMENTS)
def test_advertising_is_dropped_and_the_cues_are_named(name: str) -> None:
    verdict = RULE(document(ADVERTISEMENTS[name]))
    assert verdict.document is None
    assert verdict.reason.startswith("advertising: ")
    assert verdict.measure is not None and verdict.measure >= RULE.threshold


@pytest.mark.parametrize("text", HONEST)
def test_honest_texts_on_the_same_things_stay(text: str) -> None:
    kept = document(text)
    assert RULE(kept).document is kept


def test_cues_name_what_speaks_for_advertising() -> None:
    assert {"loans", "contact", "telephone"} <= set(RULE.cues(ADVERTISEMENTS["loan"]))
    assert "hashtags" in RULE.cues(ADVERTISEMENTS["hashtags"])
    assert "repeated link" in RULE.cues(ADVERTISEMENTS["links"])
    assert "price list" in RULE.cues(ADVERTISEMENTS["price list"])


def test_a_telephone_number_touching_hangul_is_seen() -> None:
    assert "telephone" in RULE.cues("대출 문의는010-0000-0000으로")
    assert "telephone" not in RULE.cues("대출 문의 계좌 110-010-0000-00001")


def test_cues_thin_out_in_a_long_text() -> None:
    advertisement = ADVERTISEMENTS["stocks"]
    article = "투자자들은 지난해의 시장을 이렇게 돌아보았다. " * 400
    assert RULE(document(article + advertisement)).document is not None


def test_the_title_counts() -> None:
    body = "자세한 것은 카톡 문의 주세요. 선착순으로 모십니다."
    assert RULE(document(body)).document is not None
    assert RULE(document(body, title="온라인카지노 추천 먹튀검증")).document is None


def test_the_threshold_decides() -> None:
    text = document(ADVERTISEMENTS["renovation"])
    assert Spam(threshold=100)(text).document is text


@given(st.text(alphabet="카지노 토사이트대출문의01-9#원,http://w.만상담☎\n", max_size=80))
def test_never_raises_and_is_deterministic(text: str) -> None:
    assert RULE(document(text)) == RULE(document(text))
    assert all(weight > 0 for weight in RULE.cues(text).values())
