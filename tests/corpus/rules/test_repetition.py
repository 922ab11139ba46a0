"""Repetition of graphemes, symbols, lines and words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperclova.corpus import Document
from hyperclova.corpus.rule import build_rule
from hyperclova.corpus.rules import RULES
from hyperclova.corpus.rules.repetition import (
    GraphemeRepetition,
    LineRepetition,
    NgramRepetition,
    SymbolRepetition,
)
from hyperclova.errors import UserError

Repetition = GraphemeRepetition | SymbolRepetition | LineRepetition | NgramRepetition
EVERY = pytest.mark.parametrize(
    "rule", [GraphemeRepetition(), SymbolRepetition(), LineRepetition(), NgramRepetition()]
)

REVIEW = "배우들 연기가 좋아서 끝까지 봤네요 ㅋㅋㅋ 음악은 좀 아쉽... 그래도 추천!!"
STATUTE = """제1조(목적) 이 조례는 마을 도서관의 설치와 운영에 필요한 사항을 정함을 목적으로 한다.
제2조(설치) ① 시장은 주민의 독서 활동을 위하여 마을 도서관을 설치할 수 있다.
② 제1항에 따른 도서관의 명칭과 위치는 별표 1과 같다. <개정 2020.3.1>
제3조(위원회) ① 도서관의 운영에 관한 사항을 심의하기 위하여 운영위원회를 둔다.
② 위원회는 위원장 1명을 포함하여 7명 이내의 위원으로 구성한다.
③ 위원의 임기는 2년으로 하며 한 차례만 연임할 수 있다.
제4조 삭제 <2020.3.1>
제5조 삭제 <2020.3.1>
제6조(비용) 시장은 예산의 범위에서 도서관의 운영에 필요한 비용을 지원할 수 있다.
부칙
이 조례는 공포한 날부터 시행한다.
부칙 <2020.3.1>
이 조례는 공포한 날부터 시행한다."""
MANUAL = """# 목록 다루기

| 메서드 | 설명 |
|--------|------|
| `add`  | 끝에 더한다. |
| `pop`  | 끝을 뺀다. |

```python
values = [0, 0, 0, 0, 1000000]
print("=" * 40)
```

----------------------------------------

`add`는 값을 끝에 더하고 아무것도 돌려주지 않는다. `pop`은 끝의 값을 빼서 돌려준다.
"""


def document(text: str) -> Document:
    return Document(id="1", source="comments", title="", text=text)


@EVERY
@pytest.mark.parametrize(
    "text", [REVIEW, STATUTE, MANUAL, "재밌다", "1987년 6월 10일 오후 6시", ""]
)
def test_leaves_good_text_alone(rule: Repetition, text: str) -> None:
    before = document(text)
    assert rule.apply(before).document is before


class TestGraphemes:
    @pytest.mark.parametrize(
        "text",
        [
            "ㅋㅋㅋㅋㅋㅋㅋㅋ",
            "ㅠㅠㅠㅠㅠ 슬퍼",
            "아아아아아아아아!",
            "ㅋㅎㅋㅎㅋㅎㅋㅎㅋㅎ",
            "....................음",
            "👍🏽👍🏽👍🏽👍🏽👍🏽",
        ],
    )
    def test_drops(self, text: str) -> None:
        verdict = GraphemeRepetition().apply(document(text))
        assert verdict.document is None
        assert verdict.measure is not None and verdict.measure > 0.7
        assert "%" in verdict.reason

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("어제 본 영화 진짜 웃겨요ㅋㅋㅋㅋㅋㅋㅋㅋㅋ", "어제 본 영화 진짜 웃겨요ㅋㅋㅋㅋㅋㅋ"),
            (
                "그 말을 듣고 나니 가슴이 두근두근두근두근두근두근두근 뛰기 시작했다",
                "그 말을 듣고 나니 가슴이 두근두근두근두근두근두근 뛰기 시작했다",
            ),
            (
                "그 사람은 어디로 갔을까............ 모르겠다",
                "그 사람은 어디로 갔을까...... 모르겠다",
            ),
        ],
    )
    def test_shortens(self, text: str, expected: str) -> None:
        verdict = GraphemeRepetition().apply(document(text))
        assert verdict.document == document(expected)
        assert str(len(text) - len(expected)) in verdict.reason

    @pytest.mark.parametrize(
        "text",
        ["예산은 10000000000원이다", "------------ 표 ------------", "aaaaaaaaaa는 해시이다"],
    )
    def test_numbers_rules_and_latin_letters_are_not_shortened(self, text: str) -> None:
        before = document(text + " 그러니 그대로 두어야 한다는 말이다.")
        assert GraphemeRepetition().apply(before).document is before

    def test_long_texts_are_judged_like_short_ones(self) -> None:
        prose = "두루미는 겨울이면 철원 들판으로 날아온다. " * 40
        before = document(prose)
        assert GraphemeRepetition().apply(before).document is before
        for run in ("ㅋ" * 20, "ㅋㅎ" * 20, "👍🏽" * 20):
            verdict = GraphemeRepetition().apply(document(prose + run + prose))
            assert verdict.document is not None
            assert len(verdict.document.text) < len(prose + run + prose)

    def test_length_of_runs(self) -> None:
        text = "이 장면은 몇 번을 봐도 웃음이 나옵니다 ㅎㅎㅎㅎㅎㅎㅎㅎ"
        before = document(text)
        assert GraphemeRepetition(longest_run=0).apply(before).document is before
        shorter = GraphemeRepetition(longest_run=4).apply(before).document
        assert shorter is not None and shorter.text.endswith(" ㅎㅎㅎㅎ")
        with pytest.raises(UserError, match=r"longest_run is 2; at least 4"):
            build_rule({"rule": "grapheme-repetition", "longest_run": 2}, RULES, "x.toml")


class TestSymbols:
    @pytest.mark.parametrize(
        ("text", "what"),
        [
            ("010 1234 5678 / 3,500 / 12", "digits"),
            ("★☆★☆★☆ 대박 ★☆★☆★☆", "symbols"),
            ("!@#$%^&*() 헐", "symbols"),
            ("1 2 3 4 5 6 7 8 가나", "digits"),
            ("1.2.3. 10-20 (30) 가나", "digits and symbols"),
            ("😂😂😂😭😭 ㅋ", "symbols"),
        ],
    )
    def test_drops(self, text: str, what: str) -> None:
        verdict = SymbolRepetition().apply(document(text))
        assert verdict.document is None
        assert verdict.reason.endswith(what)


class TestLines:
    def test_drops_copied_lines(self) -> None:
        lines = ["이 상품을 추천합니다.", "배송이 빨라요.", "다시 사고 싶어요."] * 5
        verdict = LineRepetition().apply(document("\n".join(lines)))
        assert verdict.document is None
        assert verdict.reason == "80% of the lines repeat an earlier one"

    def test_drops_long_copied_lines(self) -> None:
        long = "이 긴 문단은 붙여 넣기를 두 번 하는 바람에 같은 문서에 그대로 두 번 들어갔다. " * 5
        text = "\n".join([long, *(f"짧은 줄 {i}" for i in range(8)), long])
        verdict = LineRepetition().apply(document(text))
        assert verdict.document is None
        assert "characters are in repeated lines" in verdict.reason

    def test_a_refrain_stays(self) -> None:
        verses = [
            f"{i}절은 다른 이야기를 노래한다.\n그리고 {i * 7}가지 꽃이 핀다." for i in range(5)
        ]
        before = document("\n아리랑 아리랑 아라리요\n".join(verses))
        assert LineRepetition().apply(before).document is before


class TestNgrams:
    @pytest.mark.parametrize(
        "text",
        [
            "재밌어요재밌어요재밌어요",
            "재밌어요 재밌어요!! 재밌어요~ 재밌어요 재밌어요.",
            "돈이 아깝다 진짜 돈이 아깝다 진짜 돈이 아깝다 진짜 돈이 아깝다 진짜",
            "안녕하세요 어린이집 교사입니다. 지원을 늘려 주시기 바랍니다. " * 6,
        ],
    )
    def test_drops_padded_reviews(self, text: str) -> None:
        verdict = NgramRepetition().apply(document(text))
        assert verdict.document is None
        assert "repeats itself" in verdict.reason

    def test_drops_repeated_runs_of_words(self) -> None:
        said = "우리 가게는 언제나 가장 싸고 가장 좋은 물건만 골라서 정성껏 보내 드립니다"
        text = "\n".join(f"{i}번째 소식입니다 {said}" for i in range(60))
        verdict = NgramRepetition().apply(document(text))
        assert verdict.document is None
        assert "five-word runs" in verdict.reason

    def test_drops_one_run_of_words_over_and_over(self) -> None:
        text = " ".join(f"오늘은 {i}일 지금 바로 전화하세요" for i in range(300))
        verdict = NgramRepetition(repeated=1.0).apply(document(text))
        assert verdict.document is None
        assert "one run of three words" in verdict.reason


_PIECES = st.sampled_from(
    ["ㅋ", "ㅎ", "하", "!", ".", "1", "a", "\n", " ", "👍", "🏽", "재밌어요", "…"]
)
_TEXTS = st.text(max_size=60) | st.lists(
    st.tuples(_PIECES, st.integers(1, 9)).map(lambda pair: pair[0] * pair[1]), max_size=12
).map("".join)


@EVERY
@given(text=_TEXTS)
def test_never_raises_and_twice_is_once(rule: Repetition, text: str) -> None:
    verdict = rule.apply(document(text))
    assert verdict == rule.apply(document(text))
    assert bool(verdict.reason) == (verdict.document != document(text))
    if verdict.document is not None and verdict.document.text != text:
        again = rule.apply(verdict.document)
        assert again.document in (None, verdict.document)
