"""The title in the body."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperclova.corpus import Document
from hyperclova.corpus.rules.title import RepeatedTitle

TITLE = "철원 들판에 두루미가 돌아왔다"
BODY = "올해도 삼백 마리가 넘는 두루미가 날아왔다. 주민들은 볍씨를 뿌렸다.\n군은 탐조대를 연다."


def document(text: str, title: str = TITLE) -> Document:
    return Document(id="1", source="blog", title=title, text=text)


@pytest.mark.parametrize(
    "text",
    [
        f"{TITLE}\n{BODY}",
        f"# {TITLE}\n\n{BODY}",
        f"\n\n《철원 들판에, 두루미가 돌아왔다!》\n{BODY}",
        f"## <b>철원 들판에</b> 두루미가 돌아왔다 {{/*title*/}}\n{BODY}",
        f"철원 들판에 두루미들이 돌아왔다\n{BODY}",
        f"{TITLE}. {BODY}",
        f"{BODY}\n{TITLE}",
    ],
)
def test_cuts_the_title(text: str) -> None:
    verdict = RepeatedTitle().apply(document(text))
    assert verdict.document is not None
    assert verdict.document.text.strip() == BODY
    assert verdict.reason.endswith(f"{len(text) - len(verdict.document.text)} characters")


@pytest.mark.parametrize(
    ("title", "text"),
    [
        (TITLE, BODY),
        (TITLE, f"{TITLE}는 소식에 사람들이 모였다.\n{BODY}"),
        (TITLE, TITLE),
        (TITLE, f"{TITLE}\n\n---\n"),
        ("", BODY),
        ("압수", f"압수란 물건을 거두는 것을 말한다.\n{BODY}\n압수\n뜻은 위와 같다."),
        ("!!", f"!!\n{BODY}"),
        ("철원 들판에 두루미가 3마리", f"철원 들판에 제비 다섯이 돌아왔다\n{BODY}"),
    ],
)
def test_leaves_the_rest(title: str, text: str) -> None:
    before = document(text, title)
    assert RepeatedTitle().apply(before).document is before


def test_thresholds() -> None:
    text = f"{BODY}\n압수"
    cut = RepeatedTitle(characters=2).apply(document(text, "압수")).document
    assert cut is not None and cut.text == BODY
    near = document(f"철원 들판에 두루미들이 돌아왔다\n{BODY}")
    assert RepeatedTitle(similarity=1.0).apply(near).document is near


@given(
    title=st.text(max_size=12),
    text=st.lists(st.sampled_from(["가나다라마바사아", "자차", ". ", "\n", "#", " "])).map("".join)
    | st.text(max_size=60),
)
def test_never_raises_nor_empties(title: str, text: str) -> None:
    for name in (title, "가나다라마바사아"):
        verdict = RepeatedTitle().apply(document(text, name))
        assert verdict == RepeatedTitle().apply(document(text, name))
        assert verdict.document is not None
        if verdict.document.text != text:
            assert any(map(str.isalnum, verdict.document.text))
