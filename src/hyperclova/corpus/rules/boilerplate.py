"""Rules that cut what surrounds a text: menus and notices of web pages, bylines of news."""

import re
from dataclasses import dataclass, replace

from hyperclova.corpus.documents import Document
from hyperclova.corpus.rule import Rule, Verdict
from hyperclova.corpus.rules._news_lines import (
    closes,
    is_affiliation,
    may_hold_byline,
    opens,
    without_closing,
    without_opening,
)
from hyperclova.corpus.rules._web_lines import BULLET, MARKS, Rank, ranks

_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True, kw_only=True)
class WebBoilerplate(Rule):
    """Lines of a web page that are not its text are cut: navigation, log-in, sharing,
    subscription, related articles, cookie and copyright notices, the company's footer.

    What can only be such a line goes wherever it stands. Words that may also be text ("검색",
    "목록", "댓글") go at the start and the end of a page, as do menus
    ("정치 | 경제 | 사회"), but for a single one at the start, which may be a heading; elsewhere
    they go only where three of them stand together and are not a list. A document of nothing
    else is dropped.

    Source: paper, Appendix A.1 (parts of a page that mean something are kept, the rest is cut).
    """

    edge: int = 12
    """Lines at the start and at the end that are looked at as a page's edges."""
    characters: int = 60
    """Longer lines are text, unless they are notices (at most 200)."""

    def apply(self, document: Document) -> Verdict:
        text = document.text
        for hint, mark in MARKS:
            if hint in text:
                text = mark.sub("", text)
        lines = text.split("\n")
        if len(lines) > 1 or len(text) <= 200:
            found = ranks(lines, text, self.characters)
            if max(found) > Rank.TEXT:
                cut = self._cut(lines, found)
                if cut:
                    text = "\n".join(line for row, line in enumerate(lines) if row not in cut)
                    text = text.strip("\n")
        if text == document.text:
            return Verdict(document)
        if not _LETTER.search(text):
            return Verdict(None, "nothing but menus and notices")
        fewer = len(lines) - text.count("\n") - 1
        what = f"{fewer} lines of menus and notices cut" if fewer else "notices cut"
        return Verdict(replace(document, text=text), what)

    def _cut(self, lines: list[str], found: list[Rank]) -> set[int]:
        """Rows to cut."""
        cut = {row for row, rank in enumerate(found) if rank == Rank.ANYWHERE}
        filled = [row for row, rank in enumerate(found) if rank != Rank.EMPTY]
        if len(filled) < 3:  # "추천" alone is somebody's opinion
            return cut
        for rows in (filled[: self.edge], filled[::-1][: self.edge]):
            edge: list[int] = []
            for row in rows:
                if found[row] == Rank.TEXT:
                    break
                edge.append(row)
            # A list of a few such words may well be what a text is about, and one at its start
            # its heading.
            listed = sum(bool(BULLET.match(lines[row].lstrip())) for row in edge)
            heading = edge[:1] == filled[:1] and len(edge) == 1
            if len(edge) >= 4 or not (listed or (heading and found[edge[0]] == Rank.IN_COMPANY)):
                cut.update(edge)
        group: list[int] = []
        for row in (*filled, -1):
            if row >= 0 and found[row] != Rank.TEXT and not BULLET.match(lines[row].lstrip()):
                group.append(row)
                continue
            if len(group) >= 3:
                cut.update(group)
            group = []
        return cut


@dataclass(frozen=True, kw_only=True)
class NewsBoilerplate(Rule):
    """What news articles open and close with is cut: agency and place ("(서울=연합뉴스)"), the
    author's line, the times of publishing, captions, the author's affiliation, appeals to
    subscribe, and the ban on copying.

    Only the first and the last lines are looked at, and within them only the very start and end;
    a document of nothing else is dropped. By default for ``news`` alone: an encyclopedia too ends
    in names with affiliations, and there they are its text.

    Source: paper, Appendix A.1 (news: the first line and the closing line with the affiliation).
    """

    sources: tuple[str, ...] = ("news",)
    lines: int = 6
    """Lines at the start and at the end that may be cut."""
    affiliation: bool = True
    """Cut a last line that is a name with an affiliation, below at least three others."""

    def apply(self, document: Document) -> Verdict:
        text = document.text
        if "\n" not in text and not may_hold_byline(text):
            return Verdict(document)
        lines = text.split("\n")
        start, end = 0, len(lines)
        while start < min(end, self.lines) and opens(lines[start]):
            start += 1
        while end > start and len(lines) - end < self.lines and closes(lines[end - 1]):
            end -= 1
        rest = lines[start:end]
        if self.affiliation and sum(map(bool, rest)) > 3 and is_affiliation(rest[-1]):
            rest.pop()
        if rest:
            rest[0] = without_opening(rest[0])
            rest[-1] = without_closing(rest[-1])
        shorter = "\n".join(rest)
        if shorter == text:
            return Verdict(document)
        shorter = shorter.strip()
        if not _LETTER.search(shorter):
            return Verdict(None, "nothing but bylines and notices")
        cut = len(text) - len(shorter)
        return Verdict(
            replace(document, text=shorter), f"{cut} characters of bylines and notices cut"
        )
