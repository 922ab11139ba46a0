"""JSON lines: every good document arrives, every broken line is named."""

import bz2
import gzip
import json
import os
from pathlib import Path

import orjson
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from hyperclova.corpus import Document
from hyperclova.corpus.config import Input
from hyperclova.corpus.documents import serialise
from hyperclova.corpus.readers import Quarantined, read_file, records
from hyperclova.errors import UserError

COMPRESS = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}


def read(path: Path, **settings: object) -> tuple[list[Document], list[Quarantined]]:
    broken: list[Quarantined] = []
    source = Input(str(path), **settings)  # type: ignore[arg-type]
    return list(read_file(str(path), source, broken.append)), broken


def write(path: Path, *rows: object) -> Path:
    """JSON lines; bytes go in as they are."""
    path.write_bytes(
        b"".join(
            (row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode())
            + b"\n"
            for row in rows
        )
    )
    return path


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    ["비가 오는 날엔 부침개가 제맛이다.", "ㅋㅋㅋㅋ", "나랏〮말〯ᄊᆞ미", "줄\u2028바꿈\r\n문자", '"\\'],
)
META = st.dictionaries(
    st.text(max_size=8).filter(
        lambda key: key not in (*records.COLUMNS, "meta", "license") and key.isprintable()
    ),
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS | st.lists(TEXTS, max_size=2),
    max_size=3,
)
DOCUMENTS = st.builds(
    Document,
    id=TEXTS.filter(bool),
    source=st.sampled_from(["blog", "cafe", "news", "comments", "kin", "modu", "wiki", "others"]),
    title=TEXTS,
    text=TEXTS,
    meta=META,
)
BROKEN = st.sampled_from(
    [
        b"{",
        b"null",
        b'["text"]',
        b'{"title": "\xec\xa0\x9c\xeb\xaa\xa9"}',
        b'{"text": 7}',
        b'{"text": "a", "title": []}',
        b'{"text": "a", "source": {}}',
        b'{"text": "\\ud83d"}',
        b'{"text": "\xb0\xa1"}',
        b"\x00\xff",
        b'{"text": "a"} {"text": "b"}',
    ]
)


@given(
    lines=st.lists(DOCUMENTS | BROKEN | st.just(b"  "), max_size=12),
    suffix=st.sampled_from(list(COMPRESS)),
    ended=st.booleans(),
)
@example(lines=[b"{", b"{"], suffix=".zst", ended=False)
def test_good_documents_arrive_and_broken_lines_are_numbered(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[Document | bytes],
    suffix: str,
    ended: bool,
) -> None:
    path = tmp_path_factory.mktemp("lines") / f"글.jsonl{suffix}"
    data = b"\n".join(
        serialise(line).rstrip(b"\n") if isinstance(line, Document) else line for line in lines
    )
    path.write_bytes(COMPRESS[suffix](data + b"\n" * ended))
    documents, broken = read(path)
    assert documents == [line for line in lines if isinstance(line, Document)]
    assert [record.line for record in broken] == [
        number
        for number, line in enumerate(lines, start=1)
        if isinstance(line, bytes) and line.strip()
    ]
    for record in broken:
        assert record.file == path.name
        assert record.reason and "\n" not in record.reason
        orjson.dumps(record.record)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "cut off', "not JSON: Unterminated string"),
        (b'["text"]', "expected a JSON object, found list"),
        (b'{"title": "x"}', "the field 'text' is missing"),
        (b'{"text": null}', "the field 'text' is NoneType"),
        (b'{"text": "x", "id": 1.5}', "the field 'id' is float"),
        (b'{"text": "x", "meta": []}', "the field 'meta' is list; expected an object"),
        (b'{"text": "\xb0\xa1"}', "not UTF-8: invalid start byte at byte 10"),
        (b'{"text": "ab\\ud83d"}', "the field 'text' has a lone surrogate at character 2"),
        (b'{"text": "a", "tags": ["\\udc00"]}', "not JSON that can be written again"),
        (b'{"text": "a", "x": ' + b"[" * 300 + b"]" * 300 + b"}", "written again: Recursion"),
        (b'{"text": "a", "x": ' + b"[" * 9000 + b"]" * 9000 + b"}", "not JSON: "),
    ],
)
def test_the_reason_says_what_is_wrong(tmp_path: Path, line: bytes, reason: str) -> None:
    documents, [record] = read(write(tmp_path / "a.jsonl", {"text": "앞"}, line, {"text": "뒤"}))
    assert [document.text for document in documents] == ["앞", "뒤"]
    assert record.line == 2
    assert reason in record.reason
    assert record.record == line.decode("utf-8", "replace")[:500]


def test_numbers_that_json_does_not_know_cost_no_document(tmp_path: Path) -> None:
    [document], broken = read(write(tmp_path / "a.jsonl", b'{"text": "a", "score": NaN}'))
    assert document.meta == {"score": None}
    assert not broken


def test_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"text": "a"}\r', b"\r", b'{"text": "b"}\r')
    documents, broken = read(path)
    assert [(document.id, document.text) for document in documents] == [
        ("a.jsonl:1", "a"),
        ("a.jsonl:3", "b"),
    ]
    assert not broken


def test_sources(tmp_path: Path) -> None:
    """A kind is a kind; any other name is kept, and the input says what kind it is."""
    rows = [{"text": "a", "source": source} for source in ("wiki", " News", "조선일보", "", None)]
    path = write(tmp_path / "a.jsonl", *rows, {"text": "a"})
    found = [(document.source, document.meta) for document in read(path)[0]]
    other = {"original_source": "조선일보"}
    assert found == [("wiki", {}), ("news", {}), ("others", other), *[("others", {})] * 3]
    found = [(document.source, document.meta) for document in read(path, source="blog")[0]]
    assert found == [("wiki", {}), ("news", {}), ("blog", other), *[("blog", {})] * 3]


def test_licences(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        {"text": "a", "licence": "CC0"},
        {"text": "a", "license": "MIT"},
        {"text": "a", "licence": None, "meta": {"b": 1}},
        {"text": "a", "meta": {"licence": "KOGL"}},
    )
    assert [document.meta.get("licence") for document in read(path)[0]] == [
        *("CC0", "MIT", None, "KOGL")
    ]
    assert [document.meta["licence"] for document in read(path, licence="CC BY")[0]] == [
        *("CC0", "MIT", "CC BY", "KOGL")
    ]


def test_columns(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        {"no": 12, "body": "본문", "subject": "제목", "rights": "CC0", "text": "요약", "n": 1},
        {"no": 13, "text": "요약만"},
    )
    columns = {"id": "no", "text": "body", "title": "subject", "licence": "rights"}
    documents, [record] = read(path, columns=columns)
    assert documents == [Document("12", "others", "제목", "본문", {"n": 1, "licence": "CC0"})]
    assert (record.line, record.reason) == (2, "the field 'body' (text) is missing")
    one = read(path, columns={"id": "no", "title": "no"})[1]
    assert [record.reason for record in one] == ["the field 'title' is int; expected a string"] * 2


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".zst"])
@pytest.mark.parametrize("cut", [1, 200])
def test_a_cut_off_archive_gives_what_it_holds(tmp_path: Path, suffix: str, cut: int) -> None:
    rows = [{"text": f"{number}번째 글 {os.urandom(40).hex()}"} for number in range(9_000)]
    path = write(tmp_path / "a.jsonl", *rows)
    data = COMPRESS[suffix](path.read_bytes())
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(data[:-cut])
    documents, [record] = read(path)
    assert [document.text for document in documents] == [
        row["text"] for row in rows[: len(documents)]
    ]
    assert len(documents) > 2_000
    assert record.reason == "broken archive: it is cut off; the rest is lost"
    assert record.line == len(documents) + 1


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_damaged_archive_gives_what_comes_before(tmp_path: Path, suffix: str) -> None:
    rows = [{"text": f"{number}번째 글 {os.urandom(40).hex()}"} for number in range(9_000)]
    data = bytearray(COMPRESS[suffix](write(tmp_path / "a.jsonl", *rows).read_bytes()))
    middle = len(data) // 2
    data[middle : middle + 400] = b"\xa5" * 400
    path = tmp_path / f"b.jsonl{suffix}"
    path.write_bytes(data)
    documents, broken = read(path)
    assert len(documents) > 1_000
    assert broken[-1].reason.startswith("broken archive")


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".zst"])
def test_what_is_no_archive_is_an_error(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.jsonl{suffix}", {"text": "a"})
    with pytest.raises(UserError, match=r"a\.jsonl\S+: broken archive"):
        read(path)


def test_archives_of_several_parts_and_padding(tmp_path: Path) -> None:
    one, two = (json.dumps({"text": text}).encode() + b"\n" for text in ("하나", "둘"))
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"pad!"
    parts = {
        ".gz": gzip.compress(one) + gzip.compress(two) + b"\0" * 512,
        ".bz2": bz2.compress(one) + bz2.compress(two),
        ".zst": zstandard.compress(one) + skippable + zstandard.compress(two) + skippable,
    }
    for suffix, data in parts.items():
        path = tmp_path / f"a.jsonl{suffix}"
        path.write_bytes(data)
        documents, broken = read(path)
        assert [document.text for document in documents] == ["하나", "둘"]
        assert not broken


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    for suffix in COMPRESS:
        path = tmp_path / f"a.jsonl{suffix}"
        path.write_bytes(b"")
        assert read(path) == ([], [])


def test_a_line_without_end_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hyperclova.corpus.readers import jsonl

    monkeypatch.setattr(jsonl, "LONGEST", 1 << 21)
    path = tmp_path / "a.jsonl"
    long = b'{"text": "' + b"x" * (5 << 20) + b'"}\n'
    path.write_bytes(b'{"text": "a"}\n' + long + b'{"text": "b"}\n')
    documents, [record] = read(path)
    assert [document.id for document in documents] == ["a.jsonl:1", "a.jsonl:3"]
    assert record.line == 2
    assert record.reason.startswith("longer than")
    assert len(record.record) == 500


@pytest.mark.data
def test_real_documents_are_read_without_loss() -> None:
    path = Path(os.environ["HYPERCLOVA_DATA"]) / "pretrain" / "kin.jsonl.zst"
    documents, broken = read(path)
    assert len(documents) == 11_823 + 6_888
    assert not broken
    assert {document.source for document in documents} == {"kin"}
    assert all(document.meta["licence"] for document in documents)
