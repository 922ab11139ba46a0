"""Web pages and Markdown."""

from pathlib import Path

import pytest

from hyperclova.corpus import Document
from hyperclova.corpus.config import Input
from hyperclova.corpus.readers import Quarantined, find_files, read_file

PARAGRAPHS = [
    "해마다 시월이 되면 철원 들판에는 두루미가 날아온다. 올해는 예년보다 일주일쯤 이르게 첫 무리가 "
    "보였다고 마을 사람들은 말한다.",
    "농부 박 씨는 추수를 마친 논에 물을 대고 볍씨를 남겨 둔다. 새들이 겨울을 나는 데 그만큼 중요한 "
    "먹이가 없기 때문이다. 처음에는 이웃들이 까닭을 물었지만, 이제는 모두가 함께한다.",
    "두루미 한 쌍은 평생을 함께 산다고 알려져 있다. 저녁 무렵 강가의 여울에 모여 서서 잠을 자는 "
    "모습을 보려고 멀리서 사진가들이 찾아오기도 한다.",
]
MENU = "<nav><ul><li><a href='/'>처음으로</a></li><li><a href='/login'>로그인</a></li></ul></nav>"
FOOTER = "<footer><p>이 누리집은 쿠키를 사용합니다. <a href='/terms'>이용 약관</a></p></footer>"


def web_page(charset: str) -> str:
    body = "".join(f"<p>{paragraph}</p>" for paragraph in PARAGRAPHS)
    return (
        f'<!doctype html><html lang="ko"><head><meta charset="{charset}">'
        "<title>두루미가 돌아온 들판 | 철원 이야기</title>"
        '<meta property="og:title" content="두루미가 돌아온 들판">'
        '<meta property="article:published_time" content="2020-11-03T09:00:00+09:00">'
        f"</head><body>{MENU}<main><article><h1>두루미가 돌아온 들판</h1>{body}</article></main>"
        f"<div id='comments'><p>잘 읽었어요!</p></div>{FOOTER}</body></html>"
    )


def read_page(path: Path, **settings: object) -> tuple[list[Document], list[Quarantined]]:
    broken: list[Quarantined] = []
    source = Input(str(path), **settings)  # type: ignore[arg-type]
    return list(read_file(str(path), source, broken.append)), broken


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("utf-8", "utf-8"),
        ("euc-kr", "cp949"),
        ("ks_c_5601-1987", "euc-kr"),
        ("utf-8", "cp949"),  # a wrong declaration
        ("euc-kr", "utf-8"),  # another
        ("nonsense", "cp949"),
        ("utf-16", "utf-16"),
    ],
)
def test_the_content_of_a_page_in_any_encoding(
    tmp_path: Path, declared: str, encoding: str
) -> None:
    path = tmp_path / "두루미.html"
    path.write_bytes(web_page(declared).encode(encoding))
    [document], broken = read_page(path, source="news", licence="CC BY 4.0")
    assert not broken
    assert document.text.split("\n") == ["두루미가 돌아온 들판", *PARAGRAPHS]
    assert (document.id, document.source) == ("두루미.html", "news")
    assert document.title == "두루미가 돌아온 들판"
    assert document.meta == {"published": "2020-11-03T09:00:00+09:00", "licence": "CC BY 4.0"}


def test_xhtml_declares_its_encoding_before_the_page(tmp_path: Path) -> None:
    path = tmp_path / "a.xhtml"
    page = '<?xml version="1.0" encoding="euc-kr"?>\n' + web_page("euc-kr").replace(
        '<html lang="ko">', '<html xmlns="http://www.w3.org/1999/xhtml" lang="ko">'
    )
    path.write_bytes(page.encode("cp949"))
    [document], _ = read_page(path)
    assert document.text.split("\n") == ["두루미가 돌아온 들판", *PARAGRAPHS]


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (f"<html><head><title>메뉴</title></head><body>{MENU}{FOOTER}</body></html>", "no main"),
        ("<html><body><script>let 글 = 1;</script></body></html>", "no main content"),
        ("", "not HTML"),
        (b"\x80\x00\xff\xfe\x80\x80\x00\xff" * 20, "neither UTF-8 nor CP949"),
        (b"<p>" + b"\xff\xff " * 9000, "neither UTF-8"),
    ],
)
def test_pages_without_content_are_put_aside(
    tmp_path: Path, page: str | bytes, reason: str
) -> None:
    path = tmp_path / "a.html"
    path.write_bytes(page.encode() if isinstance(page, str) else page)
    documents, [record] = read_page(path)
    assert not documents
    assert (record.file, record.line) == ("a.html", 0)
    assert record.reason.startswith(reason)


def test_broken_markup_still_gives_its_text(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text(
        "<html><body><div><p>" + "<p>".join(PARAGRAPHS) + "</b></td></div><!-- 끝", encoding="utf-8"
    )
    [document], broken = read_page(path)
    assert not broken
    assert document.text.split("\n") == PARAGRAPHS


def test_a_few_damaged_bytes_cost_a_few_characters(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    damaged = web_page("utf-8").encode().replace("씨는".encode(), b"\xec\x94 " + "는".encode(), 1)
    path.write_bytes(damaged + b"<!--" + b" " * 2000 + b"-->")
    [document], broken = read_page(path)
    assert not broken
    assert "농부 박 \ufffd 는 추수를" in document.text


def test_pages_of_a_directory_are_named_by_their_place_in_it(tmp_path: Path) -> None:
    for name in ("2019/첫눈.html", "2020/첫눈.html"):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text(web_page("utf-8"), encoding="utf-8")
    source = Input(str(tmp_path), columns={"text": "body"})
    read = [document for file in find_files(source) for document in read_file(file, source, print)]
    assert [document.id for document in read] == ["2019/첫눈.html", "2020/첫눈.html"]


def markdown(path: Path, text: str) -> Document:
    path.write_bytes(text.encode())
    documents, broken = read_page(path)
    assert not broken
    [document] = documents
    return document


def test_front_matter_is_metadata(tmp_path: Path) -> None:
    document = markdown(
        tmp_path / "a.md",
        "---\r\ntitle: '깃: 되돌리기'\r\ndate: 2021-05-01\r\ntags: [git, 버전 관리]\r\n"
        "id: intro\r\nlicense: CC BY 4.0\r\ndraft: false\r\n---\r\n\r\n# 시작\r\n\r\n본문이다.\r\n",
    )
    assert document == Document(
        "a.md",
        "others",
        "깃: 되돌리기",
        "# 시작\n\n본문이다.",
        {
            "date": "2021-05-01",
            "tags": ["git", "버전 관리"],
            "draft": False,
            "licence": "CC BY 4.0",
        },
    )
    document = markdown(tmp_path / "b.md", '+++\ntitle = "토믈"\nweight = 3\n+++\n글\n')
    assert (document.title, document.text, document.meta) == ("토믈", "글", {"weight": 3})


def test_broken_front_matter_gives_what_it_can(tmp_path: Path) -> None:
    front = "---\ntitle: 러스트: 소유권\n\ttags: [\nauthor: 'ㄱ\n---\n글\n"
    document = markdown(tmp_path / "a.md", front)
    assert (document.title, document.text) == ("러스트: 소유권", "글")
    bomb = "---\ntitle: 폭탄\na: &a [x, x]\nb: &b [*a, *a]\n---\n글\n"
    document = markdown(tmp_path / "b.md", bomb)
    assert (document.title, document.text) == ("폭탄", "글")
    assert document.meta["b"] == "&b [*a, *a]"


@pytest.mark.parametrize(
    "text",
    ["---\n\n두 줄 사이의 글\n\n---\n\n그 다음", "글\n\n---\ntitle: x\n---", "---\n닫지 않음"],
)
def test_lines_are_not_front_matter(tmp_path: Path, text: str) -> None:
    document = markdown(tmp_path / "a.md", text)
    assert document.text == text
    assert document.meta == {}


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("머리말\n\n# 첫 제목 #\n\n## 둘째\n\n# 셋째", "첫 제목"),
        ("## 작은 제목\n\n글", ""),
        ("```sh\n# 주석\n```\n\n# 진짜 제목\n", "진짜 제목"),
        ("밑줄 제목\n=====\n\n글", "밑줄 제목"),
        ("# [링크](https://a.kr) 있는 `코드` **제목** {#anchor}", "링크 있는 코드 제목"),
        ("#해시태그\n\n글", ""),
        ("# C#", "C#"),
    ],
)
def test_the_first_heading_is_the_title(tmp_path: Path, text: str, title: str) -> None:
    document = markdown(tmp_path / "a.md", text)
    assert document.title == title
    assert document.text == text.strip()


def test_comments_go_but_not_from_code(tmp_path: Path) -> None:
    text = (
        "글 <!-- 할 일:\n고치기 -->끝\n\n```html\n<!-- 남는 주석 -->\n```\n\n"
        "`<!-- 이것도 -->`와 짝 없는 ` 하나\n\n<!-- 없어짐 -->\n\n<!-- 닫지 않음"
    )
    assert markdown(tmp_path / "a.md", text).text == (
        "글 끝\n\n```html\n<!-- 남는 주석 -->\n```\n\n"
        "`<!-- 이것도 -->`와 짝 없는 ` 하나\n\n\n\n<!-- 닫지 않음"
    )


def test_modules_of_mdx_go(tmp_path: Path) -> None:
    text = (
        "---\ntitle: 탭\n---\n\nimport Tabs from '@theme/Tabs';\nimport A from './a';\n\n"
        "# 탭 {/*tabs*/}\n\n<Tabs>글</Tabs>\n\nexport const b = {\n  c: 1,\n};\n\n"
        "```js\nimport React from 'react';\n```\n"
    )
    assert markdown(tmp_path / "a.mdx", text).text == (
        "# 탭 \n\n<Tabs>글</Tabs>\n\n\n\n```js\nimport React from 'react';\n```"
    )
    assert "import Tabs" in markdown(tmp_path / "a.md", text).text


def test_markdown_without_text_is_put_aside(tmp_path: Path) -> None:
    for text in ("", "---\ntitle: 빈 글\n---\n", "<!-- 아직 -->"):
        path = tmp_path / "a.md"
        path.write_text(text, encoding="utf-8")
        documents, [record] = read_page(path)
        assert not documents
        assert (record.line, record.reason) == (0, "no text")


def test_half_a_character_in_a_title_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text('+++\ntitle = "x"\n+++\n글', encoding="utf-8")
    assert read_page(path)[0][0].title == "x"
    path.write_text('---\ntitle: "\\ud83d"\n---\n글', encoding="utf-8")
    documents, broken = read_page(path)
    assert len(documents) + len(broken) == 1
    for document in documents:
        document.title.encode()


def test_long_lines_take_no_long_time(tmp_path: Path) -> None:
    """Patterns that look back over and over would need hours for these."""
    for text in (
        "글 " * 200_000,
        "`" * 50_000,
        "<!--" * 50_000,
        "# " + "#" * 100_000,
        "=\n" * 99_999,
    ):
        assert markdown(tmp_path / "a.md", text).text == text.strip()
