"""Good answers to questions."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperclova.corpus import Document
from hyperclova.corpus.documents import serialise
from hyperclova.corpus.rules.answers import Answers

QUESTION = "두 달 뒤에 전세 계약이 끝나요. 어떻게 연장하나요?"


def document(answers: Any, **meta: Any) -> Document:
    return Document(
        id="1",
        source="kin",
        title="전세 연장",
        text=QUESTION,
        meta={"board": "부동산", "answers": answers, **meta},
    )


ADOPTED = {"text": "만기 두 달 전까지 알리세요.", "adopted": True, "reputation": 0.9}
EXPERT = {"text": "변호사입니다. 갱신 요구권을 쓰세요.", "expert": "변호사", "reputation": 0.0}
NEITHER = {"text": "저도 궁금해요.", "reputation": 1.0}
LOW = {"text": "아무 부동산이나 가세요.", "adopted": True, "reputation": 0.05}


def test_keeps_adopted_and_expert_answers() -> None:
    verdict = Answers().apply(document([EXPERT, NEITHER, ADOPTED, LOW]))
    assert verdict.document is not None
    assert verdict.document.text == f"{QUESTION}\n\n{ADOPTED['text']}\n\n{EXPERT['text']}"
    assert verdict.document.meta == {"board": "부동산"}
    assert verdict.reason == "2 of 4 answers kept"
    assert b"answers" not in serialise(verdict.document)
    again = Answers().apply(verdict.document)
    assert again.document is verdict.document


def test_drops_questions_without_a_good_answer() -> None:
    verdict = Answers().apply(document([NEITHER, LOW, {"text": " ", "adopted": True}]))
    assert verdict.document is None
    assert verdict.reason == "none of 3 answers is adopted or expert, and trusted"


def test_an_author_without_reputation_is_not_judged_by_it() -> None:
    verdict = Answers().apply(document([{"text": "네.", "adopted": True}]))
    assert verdict.document is not None and verdict.document.text == f"{QUESTION}\n\n네."


def test_question_key_separator_and_scale() -> None:
    rule = Answers(reputation=10, between="\n답: ")
    verdict = rule.apply(
        document([ADOPTED, {"text": "네.", "adopted": 1, "reputation": 11}], question="되나요?")
    )
    assert verdict.document is not None
    assert verdict.document.text == "되나요?\n답: 네."
    assert "question" not in verdict.document.meta


@pytest.mark.parametrize("answers", [None, [], "네", [1], [{"adopted": True}], {"text": "네"}])
def test_other_metadata_passes(answers: Any) -> None:
    before = document(answers)
    assert Answers().apply(before).document is before


_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


@given(st.lists(st.dictionaries(st.sampled_from([*ADOPTED, "expert"]), _VALUES), max_size=4))
def test_never_raises(answers: list[dict[str, Any]]) -> None:
    first = Answers().apply(document(answers))
    assert bool(first.reason) == (first.document is None or first.document.text != QUESTION)
