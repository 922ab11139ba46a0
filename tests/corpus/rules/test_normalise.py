"""Characters, encodings, wrappings and white space."""

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperclova.corpus import Document
from hyperclova.corpus.rules.normalise import Escapes, Mojibake, Unicode, Whitespace

PROSE = (
    "두루미는 겨울이면 철원 들판으로 날아온다. 흰 눈밭에 내려앉은 모습이 한 폭의 그림 같다.\n\n"
    "\u201c올해는 몇 마리나 올까?\u201d 할머니는 해마다 묻는다. café에서 만난 친구도 그랬다."
)
KOREAN = "안녕하세요. 오늘은 날씨가 참 좋습니다. 점심에는 뜨거운 칼국수를 먹었어요!"


def document(text: str, title: str = "") -> Document:
    return Document(id="1", source="blog", title=title, text=text)


def changed(rule: Unicode | Mojibake | Escapes | Whitespace, text: str) -> str:
    verdict = rule.apply(document(text))
    assert verdict.document is not None
    assert verdict.reason or verdict.document.text == text
    return verdict.document.text


def windows(data: bytes) -> str:
    """Bytes as a browser reads windows-1252: what it lacks becomes a C1 control."""
    return "".join(
        chr(byte) if byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else bytes([byte]).decode("cp1252")
        for byte in data
    )


@pytest.mark.parametrize("rule", [Unicode(), Mojibake(), Escapes(), Whitespace()])
@pytest.mark.parametrize(
    "text",
    [
        PROSE,
        "ㅋㅋㅋ 진짜 재밌음 ^^",
        "제1조(목적) 이 법은 「민법」 제3조에 따라 …을 정한다. <개정 2020.1.2>",
        '## 줄바꿈\n\n`"\\n"`은 줄바꿈, `&lt;`는 <이다.\n\n```python\n    print("a\\nb\\nc")\n```',
        "수식 \\frac{1}{2} \\nu \\neq \\nabla 는 그대로 둔다. \\nu \\nu \\nu",
        "C:\\new\\test\\name 폴더와 C:\\nano 폴더",
        '"그래, 가자." 그가 말했다.',
        "Zürich, Ångström, Þórður, ções, ¿Qué?, 50°±2, § 3 ··· ····· «École» naïve",
    ],
)
def test_leaves_good_text_alone(rule: Unicode, text: str) -> None:
    before = document(text, title="두루미의 겨울")
    assert rule.apply(before).document is before


class TestUnicode:
    def test_composes(self) -> None:
        assert changed(Unicode(), unicodedata.normalize("NFD", PROSE)) == PROSE

    def test_normalises_the_title_too(self) -> None:
        verdict = Unicode().apply(document(PROSE, unicodedata.normalize("NFD", "두루미")))
        assert verdict.document is not None
        assert verdict.document.title == "두루미"

    @pytest.mark.parametrize(
        "old",
        [
            "\u1112\u119e\u11ab",  # ᄒᆞᆫ, with arae-a
            "\u1102\u1161\u11f0",  # modern 나 with an old final: NFC would compose half of it
            "\u1109\u1100\u116e\u11b7",  # two initials: NFC would compose the second
        ],
    )
    def test_keeps_old_hangul_blocks_whole(self, old: str) -> None:
        text = f"나랏말\u110a\u1161 {old} 셔\u1106\u1166"
        assert changed(Unicode(), text) == f"나랏말싸 {old} 셔메"

    def test_removes_what_shows_nothing(self) -> None:
        text = "\ufeff보이지\u200b 않는\u00ad 글\u200e자\x00와\x9f \u2066제어\u2069 문자\u200d"
        assert changed(Unicode(), text) == "보이지 않는 글자와 제어 문자"

    def test_line_separators_become_line_feeds(self) -> None:
        assert changed(Unicode(), "첫째\u2028둘째\x0c셋째\r\n") == "첫째\n둘째\n셋째\r\n"

    @pytest.mark.parametrize(
        "kept",
        [
            "👨‍👩‍👧",
            "❤️",
            "👍🏽",
            "🏳️‍🌈",
            "1️⃣",
            "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
            "می‌روم",
            "葛\U000e0100",
        ],
    )
    def test_keeps_joiners_and_selectors_that_mean_something(self, kept: str) -> None:
        assert changed(Unicode(), f"가\u200b {kept} 나") == f"가 {kept} 나"

    def test_a_run_of_lost_characters_becomes_one(self) -> None:
        assert changed(Unicode(), "안\ufffd\ufffd\ufffd하세요") == "안\ufffd하세요"


class TestMojibake:
    @pytest.mark.parametrize(
        "broken",
        [
            windows(KOREAN.encode()),
            KOREAN.encode().decode("latin-1"),
            windows(KOREAN.encode()).replace("\xa0", " "),
            KOREAN.encode().decode("latin-1").encode().decode("latin-1"),
            windows(KOREAN.encode("cp949")),
            KOREAN.encode("cp949").decode("latin-1"),
        ],
        ids=["utf8-1252", "utf8-latin", "lost-nbsp", "twice", "cp949-1252", "cp949-latin"],
    )
    def test_repairs(self, broken: str) -> None:
        assert broken != KOREAN
        assert changed(Mojibake(), broken) == KOREAN

    def test_repairs_utf8_read_as_cp949_if_no_byte_was_lost(self) -> None:
        text = "게시물의 글: 민주주의, 보여주는 그러면서 기다리고!"
        broken = re.sub(r"[가-힣]{4}", lambda word: word[0].encode().decode("cp949"), text)
        assert broken.count("글") == 1
        assert changed(Mojibake(), broken) == text

    def test_repairs_a_stretch_within_good_text(self) -> None:
        text = f"제목은 {windows('나는 학교에 갔다'.encode('cp949'))} 였다. München도 있다."
        assert changed(Mojibake(), text) == "제목은 나는 학교에 갔다 였다. München도 있다."

    @pytest.mark.parametrize(
        "broken",
        [
            KOREAN.encode().decode("cp949", "replace"),
            KOREAN.encode("cp949").decode("utf-8", "replace"),
            "占쏙옙占쏙옙 게시판 占쏙옙占쏙옙占쏙옙",
        ],
    )
    def test_drops_what_is_lost(self, broken: str) -> None:
        verdict = Mojibake().apply(document(broken))
        assert verdict.document is None
        assert verdict.measure is not None and verdict.measure > 0.05
        assert "broken" in verdict.reason

    def test_a_page_about_the_replacement_character_stays(self) -> None:
        before = document(PROSE + " 잘못된 바이트는 \ufffd 로 바뀐다.")
        assert Mojibake().apply(before).document is before


class TestEscapes:
    NOVEL = '그믐밤이었다.\n하늘에 별이 "총총" 박혔다.\n\t개가 짖었다.'

    def test_json_lines(self) -> None:
        lines = [{"doc_id": f"1_{i}", "text": f"{self.NOVEL}{i}"} for i in range(3)]
        text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n"
        assert changed(Escapes(), text) == "\n".join(self.NOVEL + str(i) for i in range(3))

    def test_keys(self) -> None:
        text = json.dumps({"본문": self.NOVEL, "label": 1}, ensure_ascii=False)
        assert changed(Escapes(keys=("본문",)), text) == self.NOVEL
        before = document(text)
        assert Escapes().apply(before).document is before

    def test_notebook(self) -> None:
        cells = [
            {"cell_type": "markdown", "source": ["# 합성곱\n", "\n", "설명이다."]},
            {"cell_type": "code", "source": ["x = 1\n", 'print("a\\nb")'], "outputs": []},
        ]
        text = json.dumps({"cells": cells, "nbformat": 4}, ensure_ascii=False, indent=1)
        expected = '# 합성곱\n\n설명이다.\n\n```\nx = 1\nprint("a\\nb")\n```'
        assert changed(Escapes(), text) == expected

    def test_csv_field(self) -> None:
        text = '"""밥도 혼자""…\'눈물\' 호소, 팀원들과 [종합]"'
        assert changed(Escapes(), text) == "\"밥도 혼자\"…'눈물' 호소, 팀원들과 [종합]"

    def test_dense_literal_escapes(self) -> None:
        text = json.dumps(self.NOVEL, ensure_ascii=False)[1:-1]
        assert "\\n" in text
        assert changed(Escapes(), text) == self.NOVEL

    def test_unicode_escapes(self) -> None:
        escaped = json.dumps("한글과 \U0001f600")[1:-1]
        assert changed(Escapes(), escaped) == "한글과 \U0001f600"

    def test_half_a_character_stays_escaped(self) -> None:
        text = "\\ud83d 그리고 \\ud55c\\uae00\\uc774\\ub2e4"
        assert changed(Escapes(), text) == "\\ud83d 그리고 한글이다"

    def test_a_text_about_escapes_stays(self) -> None:
        before = document("줄을 바꾸려면 '\\n'을, 탭은 '\\t'를 쓴다. \\n 하나면 \\r\\n 과 같다.")
        assert Escapes().apply(before).document is before

    def test_character_references_outside_code(self) -> None:
        text = "&lt;흥부전&gt;&nbsp;&amp;amp; &#44032;&#xAC01; `&lt;p&gt;`"
        assert changed(Escapes(), text) == "<흥부전>\xa0& 가각 `&lt;p&gt;`"

    def test_list_numbers(self) -> None:
        text = "제2조 (정의)\n  1\\. 목재란\n  1의2\\. 원목이란\n끝\\."
        assert changed(Escapes(), text) == "제2조 (정의)\n  1. 목재란\n  1의2. 원목이란\n끝\\."


class TestWhitespace:
    def test_lines_and_spaces(self) -> None:
        text = "\n  \u3000첫째\xa0줄  이다.\u3000\r\n둘째 줄  \r셋째\n\n\n\n\n\n넷째 \n"
        assert changed(Whitespace(), text) == "첫째 줄 이다.\n둘째 줄\n셋째\n\n\n넷째"

    def test_blank_lines(self) -> None:
        assert changed(Whitespace(blank_lines=1), "가\n\n\n나") == "가\n\n나"

    def test_indentation_of_code_stays(self) -> None:
        text = "설명이다.\n\n    def f(x):\n        return  x"
        before = document(text)
        assert Whitespace().apply(before).document is before
        assert changed(Whitespace(), "\n    a = 1\n    b = 2\n") == "    a = 1\n    b = 2"

    def test_reason_counts(self) -> None:
        assert Whitespace().apply(document("가나다  \n")).reason == (
            "3 characters of white space fewer"
        )
        assert "plain" in Whitespace().apply(document("60\xa0km")).reason


_PIECES = st.sampled_from(
    ["\\n", "\\", '"', "&amp;", "&lt;", "&#38;", "`", "```\n", "{", '{"text": "', '"}', "1\\.",
     "\u1112", "\u1161", "\u119e", "\u11ab", "\u200d", "\ufe0f", "👍", "\ufffd", "¾", "È", "³",
     "ì", "•", "ˆ", "占쏙옙", " ", "\xa0", "\u3000", "\r", "\n", "\t", "가", "나는", "a", "\u0301"]
)  # fmt: skip
_TEXTS = st.text(max_size=60) | st.lists(_PIECES, max_size=24).map("".join)


@pytest.mark.parametrize("rule", [Unicode(), Mojibake(), Escapes(), Whitespace()])
@given(text=_TEXTS)
def test_twice_is_once(rule: Unicode, text: str) -> None:
    once = rule.apply(document(text))
    assert once == rule.apply(document(text))
    if once.document is None:
        return
    once.document.text.encode()  # no lone surrogates
    again = rule.apply(once.document)
    assert again.document is once.document
