"""Dumps of wikis: what a reader sees of a page, page by page."""

import bz2
import gzip
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperclova.corpus import Document
from hyperclova.corpus.config import Input
from hyperclova.corpus.readers import Quarantined, read_file
from hyperclova.corpus.readers.wikitext import plain_text

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="ko">
  <siteinfo>
    <sitename>위키백과</sitename>
    <dbname>kowiki</dbname>
    <namespaces>
      <namespace key="0" case="first-letter" />
      <namespace key="6" case="first-letter">파일</namespace>
      <namespace key="14" case="first-letter">갈래</namespace>
    </namespaces>
  </siteinfo>
"""
TAIL = "</mediawiki>\n"

CRANE = """{{생물 분류
| 이름 = 두루미
| 그림 = Crane.jpg
| 그림 설명 = [[홋카이도]]의 두루미
}}
'''두루미'''(학명: {{lang|la|''Grus japonensis''}}, {{IPA|x}})는
[[두루미과]]에 딸린 [[새|큰 새]]이다.<ref>{{서적 인용|제목=한국의 새}}</ref>
한국에서는 [[천연기념물]]이다.{{출처}}

[[파일:Crane.jpg|섬네일|눈 위의 [[두루미]] 한 쌍]]
== 생김새 ==
몸길이는 140&nbsp;cm이며&mdash;키가 크다.<!-- 확인할 것 -->
* 정수리는 '''붉다'''.
** 어린 새는 [https://example.kr 갈색]이다.
# 무게는 <math>m \\approx 9</math> kg이다.
{| class="wikitable"
|-
! 나라 !! 수
|-
| 한국 || 1,000
|}

== 갤러리 ==
<gallery>
파일:a.jpg|하나
</gallery>

== 같이 보기 ==
* [[재두루미]]
* [[:갈래:새]]

=== 각주 ===
<references />
== 외부 링크 ==
{{위키공용분류|Grus}}
[[갈래:새]] [[분류:두루미]]
[[en:Red-crowned crane]]
__NOTOC__
"""
CRANE_TEXT = """두루미(학명: Grus japonensis)는
두루미과에 딸린 큰 새이다.
한국에서는 천연기념물이다.

생김새

몸길이는 140 cm이며—키가 크다.
- 정수리는 붉다.
- 어린 새는 갈색이다.
- 무게는 $m \\approx 9$ kg이다.

같이 보기

- 재두루미
- 갈래:새"""


def page(number: int, title: str, wikitext: str, namespace: int = 0, extra: str = "") -> str:
    return f"""  <page>
    <title>{escape(title)}</title>
    <ns>{namespace}</ns>
    <id>{number}</id>{extra}
    <revision>
      <id>{number * 100}</id>
      <timestamp>2020-03-0{number}T01:02:03Z</timestamp>
      <contributor><username>두루미 지기</username><id>7</id></contributor>
      <model>wikitext</model>
      <format>text/x-wiki</format>
      <text bytes="1" xml:space="preserve">{escape(wikitext)}</text>
    </revision>
  </page>
"""


PAGES = [
    page(1, "두루미", CRANE),
    page(2, "학", "#넘겨주기 [[두루미]]", extra='\n    <redirect title="두루미" />'),
    page(3, "토론:두루미", "여기서 이야기합시다.", namespace=1),
    page(4, "AT&T <회사>", "[[미국]]의 통신 회사이다."),
]


def read(
    path: Path, data: str | bytes, **settings: object
) -> tuple[list[Document], list[Quarantined]]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    broken: list[Quarantined] = []
    source = Input(str(path), **settings)  # type: ignore[arg-type]
    return list(read_file(str(path), source, broken.append)), broken


@pytest.mark.parametrize("suffix", ["", ".bz2", ".gz"])
def test_a_dump(tmp_path: Path, suffix: str) -> None:
    """Articles only; archives in one part or, as Wikimedia's, in many."""
    parts = [HEAD, *PAGES, TAIL]
    compress = {"": bytes, ".bz2": bz2.compress, ".gz": gzip.compress}[suffix]
    data = b"".join(compress(part.encode()) for part in parts)
    documents, broken = read(
        tmp_path / f"kowiki.xml{suffix}", data, source="wiki", licence="CC BY-SA 4.0"
    )
    assert not broken
    assert [(document.id, document.title) for document in documents] == [
        ("kowiki:1", "두루미"),
        ("kowiki:4", "AT&T <회사>"),
    ]
    assert documents[0].text == CRANE_TEXT
    assert documents[1] == Document(
        "kowiki:4",
        "wiki",
        "AT&T <회사>",
        "미국의 통신 회사이다.",
        {"revision": "400", "revised": "2020-03-04T01:02:03Z", "licence": "CC BY-SA 4.0"},
    )


def test_a_broken_page_costs_no_other(tmp_path: Path) -> None:
    broken_page = PAGES[0].replace("<title>", "<title\x01>")
    empty = page(5, "빈 틀", "{{틀}}")
    no_text = page(6, "글 없음", "").replace("<text", "<texts").replace("</text>", "</texts>")
    data = HEAD + broken_page + PAGES[3] + empty + no_text + TAIL
    documents, broken = read(tmp_path / "a.xml", data)
    assert [document.id for document in documents] == ["kowiki:4"]
    lines = data.split("\n")
    starts = [number for number, line in enumerate(lines, start=1) if "<page>" in line]
    assert [record.line for record in broken] == [starts[0], starts[2], starts[3]]
    assert broken[0].reason.startswith("not XML: not well-formed")
    assert broken[1].reason == "no text left without markup"
    assert broken[2].reason == "a page without a text"


def test_a_cut_off_dump_says_so(tmp_path: Path) -> None:
    cut = (HEAD + PAGES[3]).count("\n") + 1
    for data, reason, line in (
        (HEAD + PAGES[3] + PAGES[0][:200], "the dump is cut off within this page", cut),
        (HEAD + PAGES[3], "the dump is cut off: no </mediawiki> at its end", 0),
    ):
        documents, [record] = read(tmp_path / "a.xml", data)
        assert [document.id for document in documents] == ["kowiki:4"]
        assert (record.reason, record.line) == (reason, line)
    compressed = bz2.compress((HEAD + PAGES[3]).encode()) + bz2.compress(PAGES[0].encode())[:-30]
    documents, [record] = read(tmp_path / "a.xml.bz2", compressed)
    assert [document.id for document in documents] == ["kowiki:4"]
    assert record.reason.startswith("broken archive: it is cut off")


def test_other_xml_is_put_aside(tmp_path: Path) -> None:
    for data in ("<rss><channel><page>글</page></channel></rss>", "<urlset>\n</urlset>\n", ""):
        documents, [record] = read(tmp_path / "a.xml", data)
        assert not documents
        assert record.line == 0
        assert record.reason.startswith("not a MediaWiki dump")


def test_the_newest_revision_counts_and_only_wikitext(tmp_path: Path) -> None:
    history = page(1, "글", "새 글").replace(
        "    <revision>",
        "    <revision><id>9</id><timestamp>2019-01-01T00:00:00Z</timestamp>"
        "<text>옛 글</text></revision>\n    <revision>",
    )
    code = page(2, "코드.js", "let x = 1").replace("<model>wikitext", "<model>javascript")
    documents, broken = read(tmp_path / "a.xml", HEAD + history + code + TAIL)
    assert [document.text for document in documents] == ["새 글"]
    assert not broken


def test_an_endless_page_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hyperclova.corpus.readers import mediawiki

    monkeypatch.setattr(mediawiki, "LONGEST", 100_000)
    data = HEAD + page(1, "긴 글", "글 한 줄\n" * 100_000) + PAGES[3] + TAIL
    documents, [record] = read(tmp_path / "a.xml", data)
    assert [document.id for document in documents] == ["kowiki:4"]
    assert record.reason.startswith("longer than")


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        ("[[서울특별시|서울]]의 [[한강]]변", "서울의 한강변"),
        ("[[그림:a.png|100px]] [[Image:b.jpg|thumb|[[링크]] 설명]]글", "글"),
        ("[[ja:ソウル]][[zh-min-nan:Seoul]][[:en:Seoul|영문판]]", "영문판"),
        ("'''굵게''' ''기울여'' '''''둘 다''''' 5''짝 없음", "굵게 기울여 둘 다 5짝 없음"),
        ("공자(孔子, {{중국어|x}})와 맹자({{한자|孟子}})", "공자(孔子)와 맹자"),
        ("넓이 <sup>2</sup> <small>작게</small><br />다음 줄", "넓이 2 작게\n다음 줄"),
        ("&lt;태그&gt; &#44032; &#xD800; &#1;", "<태그> 가"),
        ("<nowiki>[[링크 아님]]</nowiki>", "[[링크 아님]]"),
        ("https://example.kr/길 그대로", "https://example.kr/길 그대로"),
        ("[https://example.kr]번호만", "번호만"),
        ("{| 닫지 않은 표\n|-\n| 칸\n글", "글"),
        ("<ul><li>하나</li><li>둘</li></ul>", "- 하나\n- 둘"),
        (";용어\n:뜻풀이", "용어\n뜻풀이"),
        ("== 빈 절 ==\n=== 더 빈 절 ===\n== 찬 절 ==\n글", "찬 절\n\n글"),
        ("{{틀|{{안쪽 틀|값}}|[[링크]]}}바깥", "바깥"),
        ("<syntaxhighlight lang='py'>x = 1</syntaxhighlight>", "x = 1"),
    ],
)
def test_wikitext(wikitext: str, text: str) -> None:
    assert plain_text(wikitext) == text


MARKUP = ("[[", "]]", "{{", "}}", "{|", "|}", "|", "=", "==", "'''", "''", "<ref>", "</ref>")
MORE_MARKUP = ("<b>", "<math>", "<!--", "-->", "*", "#", ":", ";", "\n", " ", "파일:", "http://a")
TEXT = ("가", "나다", "&amp;", "&#xD800;", "(", ")", ",")


@given(st.lists(st.sampled_from(MARKUP + MORE_MARKUP + TEXT), max_size=40).map("".join))
def test_any_markup_gives_text_that_can_be_written(wikitext: str) -> None:
    text = plain_text(wikitext)
    assert text == text.strip()
    text.encode()
