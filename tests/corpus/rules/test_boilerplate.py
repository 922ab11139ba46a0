"""Menus and notices of web pages; bylines and notices of news."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperclova.corpus import Document
from hyperclova.corpus.rules.boilerplate import NewsBoilerplate, WebBoilerplate

ARTICLE = """두루미 삼백 마리가 올겨울도 철원 들판을 찾았다.
주민들은 논에 물을 대고 볍씨를 뿌려 새들을 맞았다. "해마다 조금씩 늘어요."라고 이장은 말했다.
군은 내년 2월까지 탐조대를 운영한다. 입장료는 3,000원이다."""


def document(text: str, source: str = "news") -> Document:
    return Document(id="1", source=source, title="", text=text)


@pytest.mark.parametrize("rule", [WebBoilerplate(), NewsBoilerplate()])
@pytest.mark.parametrize(
    "text",
    [
        ARTICLE,
        "추천",
        "이 영화 강력 추천",
        "로그인",
        "요구 사항\n\n- 로그인\n- 회원가입\n- 검색\n\n위 기능을 구현한다.",
        "| 정치 | 경제 | 사회 |\n|------|------|------|\n| 3 | 4 | 5 |\n\n표는 면별 기사 수이다.",
        "검색\n검색은 찾는 일을 말한다.\n댓글이 없는 글도 찾는다.",
        "쿠키를 굽는 법\n밀가루와 버터를 섞는다.\n반죽을 떼어 쿠키 모양을 만든다.",
        "제5조(저작권자의 권리) 저작권자는 복제를 허락할 수 있다.\n(c) 그 밖의 사항\n제6조 삭제",
        "기자가 되려면 글을 잘 써야 한다. 김 기자는 그렇게 말했다.",
        "2020 = 2 × 2 × 5 × 101\n(서울은 대한민국의 수도이다)\n[주] 각주이다.\n끝.",
    ],
)
def test_leaves_good_text_alone(rule: WebBoilerplate, text: str) -> None:
    before = document(text)
    assert rule(before).document is before


class TestWeb:
    @pytest.mark.parametrize(
        "line",
        [
            "본문 바로가기",
            "로그인 | 회원가입 | 사이트맵",
            "홈 > 게시판 > 자유게시판",
            "정치 | 경제 | 사회 | 문화 | 스포츠",
            "로그인",
            "검색",
            "> 공유하기",
            "페이스북으로 공유하기",
            "댓글 12개",
            "좋아요 3",
            "조회수 1,024회",
            "구독하기",
            "관련 기사",
            "이 사이트는 쿠키를 사용합니다. 계속 이용하시면 쿠키 사용에 동의하는 것으로 봅니다.",
            "This site uses cookies to improve your experience.",
            "Copyright © 2021 두루미신문. All rights reserved.",
            "ⓒ 두루미신문, 무단전재 및 재배포 금지",
            "상호: 두루미상사 | 대표: 김철원 | 사업자등록번호: 123-45-67890 | 전화: 033-000-0000",
            "구독과 좋아요, 알림 설정까지 부탁드려요!",
        ],
    )
    def test_cuts_edges(self, line: str) -> None:
        verdict = WebBoilerplate().apply(document(f"{ARTICLE}\n\n{line}\n"))
        assert verdict.document == document(ARTICLE)
        verdict = WebBoilerplate().apply(document(f"로그아웃\n{line}\n\n{ARTICLE}"))
        assert verdict.document == document(ARTICLE)

    def test_cuts_the_frame_of_a_page(self) -> None:
        text = "\n".join(
            [
                "본문 바로가기",
                "홈 | 뉴스 | 게시판 | 로그인",
                "",
                ARTICLE,
                "공유하기",
                "페이스북",
                "카카오톡",
                "",
                "관련 기사",
                "개인정보처리방침",
                "Copyright 2021 두루미신문 All rights reserved",
            ]
        )
        verdict = WebBoilerplate().apply(document(text))
        assert verdict.document == document(ARTICLE)
        assert verdict.reason == "10 lines of menus and notices cut"

    def test_within_a_page_only_in_company(self) -> None:
        parts = ARTICLE.split("\n")
        together = "\n".join([parts[0], "공유하기", "페이스북", "인쇄", *parts[1:]])
        assert WebBoilerplate().apply(document(together)).document == document(ARTICLE)
        before = document("\n".join([parts[0], "공유하기", "페이스북", *parts[1:]]))
        assert WebBoilerplate().apply(before).document is before

    def test_marks_within_a_text(self) -> None:
        notice = " [본 게시물의 일부 내용이 요건에 맞지 않아 관리자에 의해 수정되었습니다]"
        assert WebBoilerplate().apply(document(ARTICLE + notice)).document == document(ARTICLE)
        wiki = document(ARTICLE + "\n[[분류:새]]")
        assert WebBoilerplate().apply(wiki).document == document(ARTICLE)

    def test_a_page_of_nothing_else_is_dropped(self) -> None:
        verdict = WebBoilerplate().apply(document("홈\n로그인\n회원가입\n고객센터"))
        assert verdict.document is None
        assert verdict.reason == "nothing but menus and notices"


class TestNews:
    @pytest.mark.parametrize(
        "opening",
        [
            "[서울=뉴시스] ",
            "(철원=연합뉴스) 김두루 기자 = ",
            "【철원=뉴시스】 김두루 기자 = ",
            "[두루미신문=김두루 기자] ",
            "[두루미신문 | 김두루 기자] ",
            "김두루 기자 = ",
            "김두루·이미나 기자 duru@example.co.kr\n",
            "김두루 기자\n",
            "입력 2021.05.25 10:30 수정 2021.05.25 11:00\n김두루 기자 duru@example.com\n\n",
            "▲ 철원 들판에 내려앉은 두루미 /사진=두루미신문 제공\n",
        ],
    )
    def test_openings(self, opening: str) -> None:
        verdict = NewsBoilerplate().apply(document(opening + ARTICLE))
        assert verdict.document == document(ARTICLE)
        assert "cut" in verdict.reason

    @pytest.mark.parametrize(
        "closing",
        [
            " 김두루 기자 duru@example.com",
            " duru@example.com",
            " ⓒ 두루미신문, 무단전재 및 재배포 금지",
            " 김두루 기자 duru@example.com <저작권자(c) 두루미통신, 무단 전재-재배포 금지>",
            "\n김두루 기자 duru@example.com\n",
            "\n/두루미신문=김두루 기자",
            "\n[김두루 기자 / duru@example.com]",
            "\n<저작권자ⓒ 두루미신문. 무단전재-재배포금지>",
            "\n[ⓒ 두루미신문, 무단전재 및 재배포 금지]",
            "\n▶ 두루미신문 채널 구독하고 경품 받기\n▶ 뉴스레터 신청은 여기를 클릭\n",
            "\n온라인뉴스팀 news@example.com",
            "\n2021/05/25 10:30 송고",
            "\n(끝)",
            "\n김두루 한국대 조류학과 교수",
            "\n(필자는 조류 보호 단체에서 일합니다.)",
        ],
    )
    def test_closings(self, closing: str) -> None:
        verdict = NewsBoilerplate().apply(document(f"머리말이다.\n{ARTICLE}{closing}"))
        assert verdict.document == document(f"머리말이다.\n{ARTICLE}")

    def test_other_sources_only_on_request(self) -> None:
        text = f"(철원=연합뉴스) 김두루 기자 = {ARTICLE}"
        wiki = document(text, source="wiki")
        assert NewsBoilerplate()(wiki).document is wiki
        assert NewsBoilerplate(sources=())(wiki).document == document(ARTICLE, source="wiki")

    def test_affiliation_can_stay(self) -> None:
        text = f"머리말이다.\n{ARTICLE}\n김두루 한국대 조류학과 교수"
        before = document(text)
        assert NewsBoilerplate(affiliation=False).apply(before).document is before

    def test_an_article_of_nothing_else_is_dropped(self) -> None:
        text = "(철원=연합뉴스) 김두루 기자\nduru@example.com\n(끝)"
        assert NewsBoilerplate().apply(document(text)).reason == "nothing but bylines and notices"


_LINES = st.sampled_from(
    ["홈", "로그인 | 회원가입", "- 검색", "본문 바로가기", "ⓒ 무단전재 금지", "두루미가 왔다.", "",
     "김두루 기자", "(철원=연합뉴스) ", "duru@example.com", "▶ 구독", "(끝)", "[[분류:새]]", "["]
)  # fmt: skip


@pytest.mark.parametrize("rule", [WebBoilerplate(), NewsBoilerplate()])
@given(text=st.text(max_size=80) | st.lists(_LINES, max_size=12).map("\n".join))
def test_never_raises_and_only_cuts(rule: WebBoilerplate, text: str) -> None:
    verdict = rule.apply(document(text))
    assert verdict == rule.apply(document(text))
    if verdict.document is not None:
        assert len(verdict.document.text) <= len(text)
        assert set(verdict.document.text.split("\n")) <= set(text.split("\n")) or (
            isinstance(rule, NewsBoilerplate) or "[[" in text
        )
