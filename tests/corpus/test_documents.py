"""Reading documents: formats, streaming, and errors that name the place."""

import gzip
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from hyperclova.corpus import Document, read_documents
from hyperclova.errors import UserError

RECORDS = [
    {
        "id": "w1",
        "source": "wiki",
        "title": "두루미",
        "text": "두루미는 새이다.\n희다.",
        "meta": {"a": 1},
    },
    {
        "id": 7,
        "text": "제목도 출처도 없는 글\u2028줄 바꿈 문자가 든 글",
        "licence": "CC0",
        "rating": 10,
    },
    {"text": "이름 없는 글 👨‍👩‍👧"},
]


def write(path: Path, lines: list[bytes]) -> Path:
    data = b"".join(line + b"\n" for line in lines)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(data))
    elif path.suffix == ".zst":
        path.write_bytes(zstandard.compress(data))
    else:
        path.write_bytes(data)
    return path


def as_lines(records: list[dict]) -> list[bytes]:
    return [json.dumps(record, ensure_ascii=False).encode() for record in records]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_every_format_gives_the_same_documents(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"글{suffix}", as_lines(RECORDS))
    assert list(read_documents([path])) == [
        Document("w1", "wiki", "두루미", RECORDS[0]["text"], {"a": 1}),
        Document("7", "others", "", RECORDS[1]["text"], {"licence": "CC0", "rating": 10}),
        Document(f"글{suffix}:3", "others", "", RECORDS[2]["text"], {}),
    ]


def test_files_follow_one_another_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    one = write(tmp_path / "a.jsonl", [*as_lines(RECORDS[:1]), b"", b"  "])
    two = write(tmp_path / "b.jsonl.zst", as_lines(RECORDS[1:2]))
    assert [document.id for document in read_documents([two, str(one)])] == ["7", "w1"]


def test_zstd_of_several_frames_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "two.jsonl.zst"
    frames = [zstandard.compress(line + b"\n") for line in as_lines(RECORDS)]
    path.write_bytes(b"".join(frames))
    assert len(list(read_documents([path]))) == len(RECORDS)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b'{"text": "cut off', "not JSON"),
        (b'["text"]', "expected a JSON object, found list"),
        (b'{"title": "no text"}', "'text' is missing"),
        (b'{"text": null}', "'text' is NoneType"),
        (b'{"text": "x", "title": 3}', "'title' is int"),
        (b'{"text": "x", "id": true}', "'id' is bool"),
        (b'{"text": "x", "meta": []}', "'meta' is list"),
        (b'{"text": "\xb0\xa1"}', "not UTF-8"),
        (b'{"text": "ab\\ud83d"}', "lone surrogate at character 2"),
    ],
)
def test_a_broken_line_names_file_and_line(tmp_path: Path, line: bytes, complaint: str) -> None:
    path = write(tmp_path / "broken.jsonl", [*as_lines(RECORDS), line])
    documents = read_documents([path])
    assert len(list(itertools.islice(documents, 3))) == 3
    with pytest.raises(UserError) as caught:
        next(documents)
    assert "broken.jsonl, line 4" in str(caught.value)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_cut_off_archive_is_an_error_not_an_early_end(tmp_path: Path, suffix: str) -> None:
    records = [{"text": f"{number}번째 글 {number * 7919}"} for number in range(20_000)]
    path = write(tmp_path / f"cut.jsonl{suffix}", as_lines(records))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UserError, match=r"cut\.jsonl\S+: broken archive: it is cut off"):
        list(read_documents([path]))


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_what_is_no_archive_is_an_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"plain.jsonl{suffix}"
    path.write_bytes(b'{"text": "x"}\n')
    with pytest.raises(UserError, match="broken archive"):
        list(read_documents([path]))


def test_missing_and_unknown_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.jsonl: cannot be read"):
        list(read_documents([tmp_path / "none.jsonl"]))
    with pytest.raises(UserError, match="not a document file"):
        list(read_documents([tmp_path / "text.parquet"]))


def test_reading_streams(tmp_path: Path) -> None:
    """The first document is there before the last is read: a broken end does not matter yet."""
    path = write(tmp_path / "long.jsonl", [*as_lines(RECORDS[:1]), b"broken"])
    assert next(read_documents([path])).id == "w1"


def test_the_floors_below_the_model_import_without_torch() -> None:
    code = (
        "import sys; import hyperclova.corpus, hyperclova.tokenizer.train, "
        "hyperclova.tokenizer.compare; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
