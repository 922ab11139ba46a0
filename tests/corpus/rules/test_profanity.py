"""Profane words are seen through their disguises, and innocent words are left alone."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperclova.corpus.documents import Document
from hyperclova.corpus.lexicon import Entry, Matcher
from hyperclova.corpus.rules.profanity import Profanity

RULE = Profanity()


def found(text: str) -> list[str]:
    return [text[hit.start : hit.end] for hit in RULE.find(text)]


def document(text: str) -> Document:
    return Document(id="1", source="comments", title="", text=text)


@pytest.mark.parametrize(
    "text",
    [
        "아 시발 짜증나",
        "씨발 뭐야",
        "이런 씨팔",
        "ㅅㅂ 또 늦었네",
        "ㅆㅂ",
        "시1발 진짜",
        "씨@발 진짜",
        "아 ㅆㅣ발 뭐냐",
        "아 ㅅㅣㅂㅏㄹ 뭐냐",
        "씨바ㄹ 진짜",
        "쉬발 놀랐네",
        "C발 어쩌라고",
        "tlqkf 자판을 안 바꿨네",
        "Tlqkf!",
        "rotoRl들",
        "진짜시발 짜증",
        "씨\u200b발",
        "병신 같은 소리",
        "병1신아",
        "븅신",
        "ㅂㅅ이냐",
        "개새끼들",
        "개쉐끼야",
        "이 새끼가 정말",
        "지랄하고 있네",
        "ㅈㄹ 마라",
        "미친놈이",
        "미친년",
        "좆같은 하루",
        "니미럴",
        "짱깨",
        "틀딱이라 부르지 마",
        "한남충",
        "맘충",
    ],
)
def test_profanity_is_found_also_in_disguise(text: str) -> None:
    assert found(text)


@pytest.mark.parametrize(
    "text",
    [
        "이 노선의 시발점은 서울역이다.",
        "시발역에서 종착역까지 세 시간이 걸린다.",
        "1955년에 나온 시발 자동차는 국산 지프였다.",
        "시발(始發) 열차는 다섯 시에 떠난다.",
        "어제 신제품 출시발표회가 열렸다.",
        "내년도 예산안 시 발표할 예정이다.",
        "화재 시 발생하는 유독 가스에 주의한다.",
        "다시 발전의 길로 들어섰다.",
        "아저씨발이 크시네요.",
        "그는 글씨발이 좋다.",
        "버스 18번을 타고 18년을 다녔다.",
        "18세기 후반의 일이다.",
        "새끼손가락에 반지를 끼웠다.",
        "고양이가 새끼를 네 마리 낳았다.",
        "어미 새와 그 새끼 새들이 둥지에 있다.",
        "볏짚으로 새끼줄을 꼬았다.",
        "병신년(丙申年) 정월에 과거가 열렸다.",
        "병신년에 태어났다.",
        "질병신고 절차를 안내한다.",
        "병신정변은 1596년에 일어났다.",
        "경찰이 지랄탄을 쏘았다고 회고했다.",
        "에밀 졸라의 소설을 읽었다.",
        "끈을 꽉 졸라 맸다.",
        "국토 개발 5개년 계획을 세웠다.",
        "영향을 미친 것들을 정리했다.",
        "곧 닥쳐올 위기에 대비한다.",
        "제1조부터 제5조까지 적용한다.",
        "한남동에서 저녁 식사를 했다.",
        "메갈로돈은 멸종한 상어이다.",
        "그의 별자리는 개자리가 아니다.",
        "가족같은 분위기에서 일한다.",
        "우리 집 강아지 식사 시간이다.",
        "UTF-8, c89, time 3/4/ c8 을 쓴다.",
        "받침 ㅄ은 겹받침이다.",
        "잠을 자지 못하고 영화를 보지 못했다.",
        "등신대 크기의 인형을 만들었다.",
        "8등신 미인이라는 말이 있었다.",
        "GTX같은 노선이 필요하다.",
        "개망초가 들판에 피었다.",
    ],
)
def test_innocent_words_are_left_alone(text: str) -> None:
    assert found(text) == []


def test_dense_profanity_is_dropped_with_the_words_in_the_reason() -> None:
    verdict = RULE(document("시발 존나 재미없네 병신같은 영화"))
    assert verdict.document is None
    assert "시발" in verdict.reason and "병신" in verdict.reason
    assert verdict.measure is not None and verdict.measure >= RULE.share


def test_one_word_in_a_long_text_is_kept_as_it_is() -> None:
    text = "주인공은 씨발이라는 한마디로 하루를 마감한다. " + "감독은 침묵의 힘을 안다. " * 20
    kept = document(text)
    assert RULE(kept).document is kept


def test_slang_counts_half() -> None:
    slang = RULE(document("존나 좋은 날씨 아닌가 하고 생각했습니다"))
    swear = RULE(document("시발 좋은 날씨 아닌가 하고 생각했습니다"))
    assert slang.measure is not None and swear.measure is not None
    assert slang.measure == swear.measure / 2


def test_the_threshold_decides() -> None:
    text = document("이 영화는 병신 같은 결말만 빼면 볼 만하다고 생각합니다 추천합니다")
    assert Profanity(share=0.5)(text).document is text
    assert Profanity(share=0.05)(text).document is None


def test_offsets_point_into_the_text() -> None:
    text = "앞말 시1발 뒷말"
    (hit,) = RULE.find(text)
    assert text[hit.start : hit.end] == "시1발"
    assert (hit.entry.category, hit.entry.weight) == ("profanity", 1.0)


def test_matcher_works_out_disguises_of_any_word() -> None:
    matcher = Matcher([Entry(name="바보", category="x", syllables=("바빠", "보"), disguised=True)])
    for text in ("바보", "빠보", "ㅂㅏ보", "바1보", "ㅂㅏㅂㅗ"):
        assert [(hit.start, hit.end) for hit in matcher.find(text)] == [(0, len(text))]
    assert not list(matcher.find("바다 보기"))
    assert not list(matcher.find("서바.보고"))  # signs in between count only in a word of its own


@given(st.text(alphabet="시씨발ㅅㅂㅆㅣㅏㄹ병신개새끼 1@.tlqkf년놈\n가", max_size=40))
def test_never_raises_and_hits_are_ordered(text: str) -> None:
    hits = RULE.find(text)
    assert all(hit.start < hit.end <= len(text) for hit in hits)
    assert all(a.end <= b.start for a, b in pairwise(hits))
    assert RULE(document(text)) == RULE(document(text))


@given(st.text())
def test_any_text_is_kept_or_dropped(text: str) -> None:
    given_document = document(text)
    assert RULE(given_document).document in (None, given_document)
