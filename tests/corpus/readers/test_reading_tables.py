"""CSV, TSV and Parquet."""

import csv
import gzip
import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperclova.corpus import Document
from hyperclova.corpus.config import Input
from hyperclova.corpus.documents import serialise
from hyperclova.corpus.readers import Quarantined, read_file, tables
from hyperclova.errors import UserError


def read(path: Path, **settings: object) -> tuple[list[Document], list[Quarantined]]:
    broken: list[Quarantined] = []
    source = Input(str(path), **settings)  # type: ignore[arg-type]
    return list(read_file(str(path), source, broken.append)), broken


def table(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_a_table_of_reviews(tmp_path: Path) -> None:
    path = table(
        tmp_path / "평.csv",
        "id,title,text,rating,meta\r\n"
        'r1,국밥집,"국물이 진하고, ""깍두기""가 맛있다.\r\n또 가고 싶다.",5,'
        '"{""지역"": ""전주""}"\r\n'
        ",,줄이 길다.,,\r\n"
        ",,,,\r\n"
        "\r\n"
        "r3,빈 글,,1,\r\n",
    )
    documents, broken = read(path, source="blog", licence="CC0")
    assert documents == [
        Document(
            "r1",
            "blog",
            "국밥집",
            '국물이 진하고, "깍두기"가 맛있다.\r\n또 가고 싶다.',
            {"rating": "5", "licence": "CC0", "지역": "전주"},
        ),
        Document("평.csv:4", "blog", "", "줄이 길다.", {"licence": "CC0"}),
        Document("r3", "blog", "빈 글", "", {"rating": "1", "licence": "CC0"}),
    ]
    assert not broken


def test_broken_rows_cost_no_other(tmp_path: Path) -> None:
    """Above all a quote that nobody closed, which would swallow the rows after it."""
    rows = [
        "id,text",
        "1,맑음",
        '2,"닫지 않은 따옴표',
        '3,"쉼표, 있음"',
        "4,칸이,셋",
        "5",
        '6,"따옴표"뒤에 글',
        '7,"두 줄에',
        '걸친 글"',
        "8,끝",
        '9,"마지막 따옴표',
        "10,정말 끝",
    ]
    path = table(tmp_path / "a.csv", "\n".join(rows) + "\n")
    documents, broken = read(path)
    assert [(document.id, document.text) for document in documents] == [
        ("1", "맑음"),
        ("3", "쉼표, 있음"),
        ("7", "두 줄에\n걸친 글"),
        ("8", "끝"),
        ("10", "정말 끝"),
    ]
    assert [(record.line, record.record) for record in broken] == [
        (line, rows[line - 1]) for line in (3, 5, 6, 7, 11)
    ]
    assert [record.reason for record in broken[1:3]] == [
        "3 fields; the header has 2",
        "1 fields; the header has 2",
    ]


CELLS = st.text(
    st.sampled_from("가나다 ,\"'\n\tabㅋ1") | st.characters(exclude_categories=["Cs"]), max_size=20
).map(lambda cell: cell.replace("\r", ""))


@given(st.lists(st.tuples(CELLS, CELLS, st.booleans()), max_size=10))
def test_what_csv_writes_is_read_around_broken_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, bool]]
) -> None:
    file = io.StringIO()
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(["title", "text"])
    expected_broken = []
    for title, text, broken_before in rows:
        if broken_before:
            expected_broken.append(file.getvalue().count("\n") + 1)
            file.write('"열기만 한 따옴표 뒤에, 쉼표\n')
        writer.writerow([f"제목 {title}", text])
    path = table(tmp_path_factory.mktemp("tables") / "a.csv", file.getvalue())
    documents, broken = read(path)
    assert [(document.title, document.text) for document in documents] == [
        (f"제목 {title}", text) for title, text, _ in rows
    ]
    assert [record.line for record in broken] == expected_broken


def test_the_tables_of_korean_offices(tmp_path: Path) -> None:
    text = "번호,민원내용\n1,가로등이 꺼졌습니다\n2,똠방각하 펲시콜라\n"
    path = table(tmp_path / "a.csv", text, "cp949")
    documents, broken = read(path, columns={"id": "번호", "text": "민원내용"})
    assert [document.text for document in documents] == [
        "가로등이 꺼졌습니다",
        "똠방각하 펲시콜라",
    ]
    assert not broken
    for encoding in ("utf-8-sig", "utf-8"):
        path = table(tmp_path / "b.csv", text, encoding)
        assert read(path, columns={"id": "번호", "text": "민원내용"})[0][1].id == "2"


def test_a_row_in_another_encoding_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    good, bad = "2,둘\n".encode(), "3,셋\n".encode("cp949")
    path.write_bytes(b"id,text\n1,one\n" + good + bad + good)
    documents, [record] = read(path)
    assert [document.id for document in documents] == ["1", "2", "2"]
    assert (record.line, record.reason) == (4, "not UTF-8: invalid start byte at byte 2")


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.tsv.gz"])
def test_tabs_separate_and_quotes_are_text(tmp_path: Path, name: str) -> None:
    text = 'id\ttext\tlabel\n1\t"아직도" 재밌다\t1\n2\t"열고 닫지 않음\t0\n3\t\t1\n4\t하나\n'
    path = tmp_path / name
    data = text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    documents, [record] = read(path)
    assert [(document.text, document.meta) for document in documents] == [
        ('"아직도" 재밌다', {"label": "1"}),
        ('"열고 닫지 않음', {"label": "0"}),
        ("", {"label": "1"}),
    ]
    assert (record.line, record.reason) == (5, "2 fields; the header has 3")


def test_a_table_without_a_column_of_text_is_an_error(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "번호,내용\n1,글\n")
    with pytest.raises(UserError, match=r"a\.csv: no column 'text' \(found: 번호, 내용\).*columns"):
        read(path)
    with pytest.raises(UserError, match="no column 'body'"):
        read(path, columns={"text": "body"})
    assert read(table(tmp_path / "b.csv", "")) == ([], [])


def test_fields_may_be_long_but_not_endless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "긴 글. " * 100_000
    path = table(tmp_path / "a.csv", f'id,text\n1,"{long}"\n')
    [document], broken = read(path)
    assert document.text == long
    assert not broken
    monkeypatch.setattr(tables, "_LONGEST_FIELD", 1000)
    before = csv.field_size_limit(1000)
    try:
        rows = "".join(f"{number},글\n" for number in range(2, 2000))
        path = table(tmp_path / "b.csv", 'id,text\n1,"열린 채\n' + rows)
        documents, [record] = read(path)
    finally:
        csv.field_size_limit(before)
    assert [document.id for document in documents] == [str(number) for number in range(2, 2000)]
    assert record.line == 2
    assert "field larger than field limit" in record.reason


def test_a_cut_off_table(tmp_path: Path) -> None:
    rows = "".join(f"{number},{number * 7919} 번째 글입니다\n" for number in range(20_000))
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(f"id,text\n{rows}".encode())[:-2000])
    documents, [record] = read(path)
    assert len(documents) > 5_000
    assert [document.id for document in documents] == [str(n) for n in range(len(documents))]
    assert record.line == len(documents) + 2
    assert record.reason.startswith("broken archive")


def test_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    columns = {
        "id": pa.array([11, None, 13], pa.int64()),
        "body": pa.array(["첫 글", "둘째 글", None], pa.large_string()),
        "source": pa.array(["news", "한겨레", "news"]).dictionary_encode(),
        "title": pa.array([b"\xec\xa0\x9c\xeb\xaa\xa9", None, b""], pa.binary()),
        "when": pa.array([datetime(2020, 2, 29, 12, tzinfo=UTC), None, None]),
        "day": pa.array([date(2020, 2, 29), None, None]),
        "took": pa.array([timedelta(seconds=1.5), None, None]),
        "price": pa.array([Decimal("12.50"), None, None]),
        "score": pa.array([float("nan"), 0.5, 1.0]),
        "tags": pa.array([["가", "나"], [], None]),
        "author": pa.array([{"name": "김하늘", "age": 30}, None, None]),
        "picture": pa.array([b"\x89PNG", None, None], pa.binary()),
    }
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table(columns), path)
    documents, [record] = read(path, columns={"text": "body"}, source="blog")
    assert documents == [
        Document(
            "11",
            "news",
            "제목",
            "첫 글",
            {
                "when": "2020-02-29T12:00:00+00:00",
                "day": "2020-02-29",
                "took": 1.5,
                "price": "12.50",
                "score": None,
                "tags": ["가", "나"],
                "author": {"name": "김하늘", "age": 30},
            },
        ),
        Document(
            "a.parquet:2",
            "blog",
            "",
            "둘째 글",
            {"score": 0.5, "tags": [], "original_source": "한겨레"},
        ),
    ]
    assert (record.line, record.reason) == (3, "the field 'body' (text) is missing")
    assert all(serialise(document) for document in documents)


def test_parquet_rows_are_numbered_over_groups_and_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa
    from pyarrow import parquet as arrow_parquet

    from hyperclova.corpus.readers import parquet

    monkeypatch.setattr(parquet, "_MOST_ROWS", 7)
    texts = [f"{number}번째 글" if number % 10 else None for number in range(1, 101)]
    path = tmp_path / "a.parquet"
    arrow_parquet.write_table(pa.table({"text": texts}), path, row_group_size=30)
    documents, broken = read(path)
    assert [document.id for document in documents] == [
        f"a.parquet:{number}" for number in range(1, 101) if number % 10
    ]
    assert [record.line for record in broken] == list(range(10, 101, 10))


def test_parquet_text_that_is_no_text(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    # A string column whose middle value is not UTF-8, as careless writers make them.
    data = pa.array(["하나".encode(), "둘".encode("cp949"), "셋".encode()], pa.binary())
    careless = pa.Array.from_buffers(pa.string(), 3, data.buffers())
    for name, column in (("a", careless), ("b", data)):
        path = tmp_path / f"{name}.parquet"
        parquet.write_table(pa.table({"text": column}), path)
        documents, [record] = read(path)
        assert [document.text for document in documents] == ["하나", "셋"]
        assert record.line == 2
        assert record.reason.startswith("not UTF-8")
    path = tmp_path / "c.parquet"
    parquet.write_table(pa.table({"text": [1, 2]}), path)
    documents, broken = read(path)
    assert not documents
    assert [record.reason for record in broken] == [
        "the field 'text' is int; expected a string"
    ] * 2


def test_a_damaged_row_group_costs_no_other(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    texts = [f"{number}번째 글 {number * 7919 % 1000003}" for number in range(9000)]
    parquet.write_table(pa.table({"text": texts}), path, row_group_size=3000, compression="zstd")
    column = parquet.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + 200] = b"\xff" * 200
    path.write_bytes(data)
    documents, [record] = read(path)
    assert [document.text for document in documents] == texts[:3000] + texts[6000:]
    assert record.line == 3001
    assert record.reason.startswith("rows 3001 to 6000 can't be read")


def test_what_is_no_parquet_is_an_error(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 is how it begins")
    with pytest.raises(UserError, match=r"a\.parquet: not a Parquet file, or cut off"):
        read(path)
    parquet.write_table(pa.table({"body": ["글"]}), path)
    with pytest.raises(UserError, match=r"no column 'text' \(found: body\)"):
        read(path)
