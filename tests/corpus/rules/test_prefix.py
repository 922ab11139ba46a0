"""Headers that name source and title."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperclova.corpus import Document
from hyperclova.corpus.config import SOURCES
from hyperclova.corpus.rule import build_rule
from hyperclova.corpus.rules import RULES
from hyperclova.corpus.rules.prefix import Prefix
from hyperclova.errors import UserError


def document(title: str = "두루미", source: str = "others", text: str = "새이다.") -> Document:
    return Document(id="1", source=source, title=title, text=text)


def headed(rule: Prefix, before: Document) -> str:
    verdict = rule.apply(before)
    assert verdict.document is not None
    assert verdict.document.title == before.title
    return verdict.document.text


def test_forms() -> None:
    assert headed(Prefix(), document()) == "Web, Title: 두루미, Body: 새이다."
    assert headed(Prefix(), document(title="")) == "Web, Body: 새이다."
    assert headed(Prefix(), document(title="철원의\n 두루미{body}")) == (
        "Web, Title: 철원의 두루미{body}, Body: 새이다."
    )
    korean = Prefix(language="ko")
    assert headed(korean, document(source="news")) == "뉴스, 제목: 두루미, 본문: 새이다."
    own = Prefix(titled="<{word}> {title}\n{body}", untitled="<{word}>\n{body}")
    assert headed(own, document(source="wiki")) == "<Wiki> 두루미\n새이다."
    assert headed(own, document(source="wiki", title=" ")) == "<Wiki>\n새이다."


def test_words() -> None:
    assert len({headed(Prefix(), document(source=source)) for source in SOURCES}) == len(SOURCES)
    rule = build_rule({"rule": "prefix", "words": {"blog": "Web"}}, RULES, "x.toml")
    verdict = rule(document(source="blog"))
    assert verdict.document is not None and verdict.document.text.startswith("Web, ")
    assert verdict.reason == "header for Web"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"words": {"blogs": "Web"}}, "words names 'blogs', not one of"),
        ({"titled": "{word}: {title}"}, r"titled is .* must end in \{body\}"),
        ({"language": "fr"}, "choose one of en, ko"),
    ],
)
def test_refuses(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_rule({"rule": "prefix", **settings}, RULES, "x.toml")


@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(SOURCES))
def test_twice_is_once_and_the_text_stays(title: str, text: str, source: str) -> None:
    verdict = Prefix().apply(document(title, source, text))
    assert verdict.document is not None
    assert verdict.document.text.endswith(text)
    assert Prefix().apply(verdict.document).document is verdict.document
