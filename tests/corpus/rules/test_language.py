"""Documents in other languages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperclova.corpus import Document
from hyperclova.corpus.rules._characters import has_hangul_share, kinds, letters, rest_share
from hyperclova.corpus.rules.language import NotKorean

ENGLISH = "The crane spends its winters on the plains of Cheorwon and returns north in spring."
JAPANESE = "鶴は冬になると鉄原の平野に飛んでくる。白い雪の上に立つ姿は一幅の絵のようだ。"
CHINESE = "鹤每年冬天飞到铁原的平原，站在雪地上的样子像一幅画，春天再回到北方去繁殖后代。"


def document(text: str) -> Document:
    return Document(id="1", source="blog", title="", text=text)


@pytest.mark.parametrize("text", [ENGLISH, JAPANESE, CHINESE, "Здравствуйте, как у вас дела?"])
def test_drops_other_languages(text: str) -> None:
    verdict = NotKorean().apply(document(text))
    assert verdict.document is None
    assert verdict.measure == 0
    assert verdict.reason == "0% of the letters are Hangul"


@pytest.mark.parametrize(
    "text",
    [
        "두루미는 겨울이면 철원 들판으로 날아온다.",
        "나랏\u1106\u1161\u11af\u110a\u119e\u1106\u1175 듕귁에 달아",
        "ㅋㅋㅋㅋㅋㅋ ㅠㅠㅠㅠㅠㅠ ㅇㅇ ㄴㄴ ㄱㄱㄱㄱ ㅎㅎㅎㅎ",
        "第一條 本法은 國民의 權利義務와 國家機關의 組織에 關한 基本事項을 規定함을 目的으로 한다",
        f"{ENGLISH}\n두루미는 철원 들판에서 겨울을 나고 봄이면 북쪽으로 돌아가 새끼를 친다.",
        "설치는 아래와 같다.\n\n```sh\n" + "sudo apt-get install package\n" * 20 + "```\n",
        "OK, good!",
        "",
    ],
)
def test_keeps_korean_mixed_script_code_and_short_texts(text: str) -> None:
    before = document(text)
    assert NotKorean().apply(before).document is before


def test_thresholds() -> None:
    mixed = document(ENGLISH + " 두루미는 새이다.")
    assert NotKorean(hangul=0.05).apply(mixed).document is mixed
    assert NotKorean(hangul=0.5).apply(mixed).document is None
    code = document(
        "설치는 아래와 같다.\n```sh\n" + "sudo apt-get install package\n" * 20 + "```\n"
    )
    assert NotKorean(ignore_code=False).apply(code).document is None
    hanja = document("大韓民國憲法前文悠久한 歷史와 傳統에 빛나는 우리 大韓國民은")
    assert NotKorean(hangul=0.5).apply(hanja).document is hanja
    assert NotKorean(hangul=0.5, mixed_script=False).apply(hanja).document is None


def test_counts_by_script_and_kind() -> None:
    count = letters("가나 abc 漢字 あ ё é ㅋ 1!")
    assert (count.hangul, count.latin, count.han, count.others) == (3, 3, 2, 3)
    found = kinds("가 1,2\t★😂\u3000「a」\xa0\n")
    assert (found.visible, found.digits, found.symbols) == (9, 2, 5)


@given(st.text(alphabet="가ㅋ漢あaé1!★😂 \n\xa0", max_size=60))
def test_quick_bounds_are_bounds(text: str) -> None:
    count, found = letters(text), kinds(text)
    total = count.hangul + count.latin + count.han + count.others
    if has_hangul_share(text, 0.4):
        assert count.hangul >= 0.4 * total
    assert found.digits + found.symbols <= rest_share(text) * found.visible + 1e-9 or (
        found.visible == 0
    )


@given(st.text(max_size=100))
def test_never_raises(text: str) -> None:
    verdict = NotKorean().apply(document(text))
    assert verdict == NotKorean().apply(document(text))
