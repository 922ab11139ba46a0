"""Documents that are too short."""

from hypothesis import given
from hypothesis import strategies as st

from hyperclova.corpus import Document
from hyperclova.corpus.rules.length import TooShort


def document(text: str) -> Document:
    return Document(id="1", source="comments", title="", text=text)


def test_counts_letters_not_spaces_or_signs() -> None:
    before = document("굿! 재밌다 ㅋ")
    assert TooShort(characters=5).apply(before).document is before
    verdict = TooShort(characters=6).apply(before)
    assert verdict.document is None
    assert verdict.measure == 5
    assert verdict.reason == "5 letters, fewer than 6"
    assert TooShort().apply(document("굿.........!!!!!!!!\n\n")).document is None


def test_counts_words() -> None:
    rule = TooShort(characters=0, words=4)
    assert rule.apply(document("비 오는 날")).reason == "3 words, fewer than 4"
    before = document("비 오는 날 오후")
    assert rule.apply(before).document is before


def test_letters_may_come_late() -> None:
    before = document("." * 5000 + "두루미가 날아온다")
    assert TooShort(characters=8).apply(before).document is before
    assert TooShort(characters=9).apply(before).measure == 8


@given(st.text(max_size=80), st.integers(0, 30))
def test_agrees_with_counting_one_by_one(text: str, characters: int) -> None:
    letters = sum(character.isalnum() for character in text)
    verdict = TooShort(characters=characters).apply(document(text))
    assert (verdict.document is None) == (letters < characters)
