"""The rule that says at the head of a text where it comes from."""

from dataclasses import dataclass, field, replace
from typing import Literal

from hyperclova.corpus.config import SOURCES
from hyperclova.corpus.documents import Document
from hyperclova.corpus.rule import Rule, Verdict

_WORDS = {
    "en": {
        "blog": "Blog",
        "cafe": "Cafe",
        "news": "News",
        "comments": "Comment",
        "kin": "Q&A",
        "modu": "Corpus",
        "wiki": "Wiki",
        "others": "Web",
    },
    "ko": {
        "blog": "블로그",
        "cafe": "카페",
        "news": "뉴스",
        "comments": "댓글",
        "kin": "지식인",
        "modu": "말뭉치",
        "wiki": "위키",
        "others": "웹",
    },
}
_FORMS = {
    "en": ("{word}, Title: {title}, Body: {body}", "{word}, Body: {body}"),
    "ko": ("{word}, 제목: {title}, 본문: {body}", "{word}, 본문: {body}"),
}


@dataclass(frozen=True, kw_only=True)
class Prefix(Rule):
    """Every text gets a header that names the kind of its source and its title:
    ``Web, Title: {title}, Body: {body}``.

    A model trained so can be asked for one kind of text by the header alone (CTRL, Keskar et al.
    2019). Documents without a title get the shorter form; a text that has its header already is
    left as it is. Belongs among the ``[[finish]]`` rules: before deduplication a header would make
    copies from two sources look different.

    Source: paper, Appendix A.3; of the words only "Web" is known, the others are ours.
    """

    language: Literal["en", "ko"] = "en"
    """Language of the words and forms."""
    words: dict[str, str] = field(default_factory=dict)
    """Word of a source, in place of ours: ``words = {blog = "Web", cafe = "Web"}``."""
    titled: str = ""
    """Form of documents with a title, with ``{word}``, ``{title}`` and ``{body}``; empty: ours."""
    untitled: str = ""
    """Form of documents without one, with ``{word}`` and ``{body}``; empty: ours."""

    def __post_init__(self) -> None:
        for source in self.words:
            if source not in SOURCES:
                raise ValueError(f"words names {source!r}, not one of {', '.join(SOURCES)}")
        for name in ("titled", "untitled"):
            form = getattr(self, name)
            if form and not form.endswith("{body}"):
                raise ValueError(f"{name} is {form!r}; it must end in {{body}}")

    def apply(self, document: Document) -> Verdict:
        title = " ".join(document.title.split())
        titled, untitled = _FORMS[self.language]
        form = (self.titled or titled) if title else (self.untitled or untitled)
        word = self.words.get(document.source) or _WORDS[self.language].get(document.source, "Web")
        header = form.removesuffix("{body}").replace("{word}", word).replace("{title}", title)
        if document.text.startswith(header):
            return Verdict(document)
        return Verdict(replace(document, text=header + document.text), f"header for {word}")
