from hyperclova.corpus.documents import Document
from hyperclova.corpus.rule import build_rule
from hyperclova.corpus.rules import RULES


def test_masks_title_and_text_and_counts_kinds() -> None:
    rule = build_rule({"rule": "anonymise"}, RULES, "test")
    document = Document(
        id="1",
        source="cafe",
        title="중고 자전거 팝니다 010-1234-5678",
        text="서울입니다. 010-2345-6789 또는 bomnal7@naver.com으로 연락 주세요.",
        meta={"board": "장터"},
    )
    verdict = rule(document)
    assert verdict.document is not None
    assert verdict.document.title == "중고 자전거 팝니다 010-****-****"
    assert verdict.document.text == "서울입니다. 010-****-**** 또는 ****@naver.com으로 연락 주세요."
    assert verdict.document.meta == {"board": "장터"}
    assert verdict.reason == "masked 2 phone, 1 email"
    assert verdict.measure == 3


def test_same_document_if_there_is_nothing_to_mask() -> None:
    rule = build_rule({"rule": "anonymise"}, RULES, "test")
    document = Document(id="1", source="news", title="날씨", text="2019년 1월 1일, 기온 3.5도.")
    verdict = rule(document)
    assert verdict.document is document
    assert verdict.reason == ""
    assert rule(verdict.document).document is document
