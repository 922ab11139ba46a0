"""Finding the files of an input and naming them: local, remote, by directory and by glob."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hyperclova.corpus.config import Input
from hyperclova.corpus.readers import Quarantined, find_files, format_of, read_file
from hyperclova.corpus.readers.files import file_size, relative_name
from hyperclova.errors import UserError

LINE = '{"text": "물안개가 걷히자 강 건너 마을이 보였다."}\n'


def plant(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(LINE, encoding="utf-8")


def names(source: Input, root: Path) -> list[str]:
    return [Path(file).relative_to(root).as_posix() for file in find_files(source)]


def test_a_directory_is_its_files_of_known_formats_sorted(tmp_path: Path) -> None:
    plant(tmp_path, "b.jsonl", "a/z.csv.gz", "a/y.html", "글/문서.md", "그림.png", "a.parquet.gz")
    plant(tmp_path, ".git/config.md", "a/.숨은.jsonl", "LICENSE")
    source = Input(str(tmp_path))
    assert names(source, tmp_path) == ["a/y.html", "a/z.csv.gz", "b.jsonl", "글/문서.md"]
    assert names(Input(str(tmp_path), format="html"), tmp_path) == ["a/y.html"]


def test_a_glob_takes_what_it_names(tmp_path: Path) -> None:
    plant(tmp_path, "a.jsonl", "x/b.jsonl", "x/y/c.jsonl", "x/y/d.txt")
    assert names(Input(f"{tmp_path}/*"), tmp_path) == ["a.jsonl"]
    assert names(Input(f"{tmp_path}/x/**/*.txt"), tmp_path) == ["x/y/d.txt"]
    assert names(Input(f"{tmp_path}/**/*.jsonl"), tmp_path) == [
        "a.jsonl",
        "x/b.jsonl",
        "x/y/c.jsonl",
    ]


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path: Path) -> None:
    plant(tmp_path, "a[1].jsonl", "a1.jsonl")
    assert names(Input(f"{tmp_path}/a[1].jsonl"), tmp_path) == ["a[1].jsonl"]


@pytest.mark.parametrize("path", ["none.jsonl", "*.jsonl", "empty", "memory://nowhere/at/all"])
def test_nothing_there_is_an_error_that_names_the_input(tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    address = path if "://" in path else str(tmp_path / path)
    with pytest.raises(UserError, match=path.replace("*", r"\*")) as caught:
        find_files(Input(address))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jsonl", "jsonl"),
        ("a.JSONL.GZ", "jsonl"),
        ("a.ndjson.zst", "jsonl"),
        ("a.tsv", "csv"),
        ("2020.01.csv.bz2", "csv"),
        ("a.parquet", "parquet"),
        ("a.HTM", "html"),
        ("a.md", "markdown"),
        ("a.mdx", "markdown"),
        ("kowiki-latest-pages-articles.xml.bz2", "mediawiki"),
        ("https://example.kr/a/b.html", "html"),
        ("https://example.kr/a/b.jsonl.gz?raw=1&version=2.0", "jsonl"),
        ("zip://a/b.md::s3://bucket/pages.zip", "markdown"),
    ],
)
def test_the_format_is_known_by_the_suffix(name: str, kind: str) -> None:
    assert format_of(name, Input(name)) == kind


@pytest.mark.parametrize("name", ["a.txt", "a", "a.gz", "a.parquet.zst", "jsonl"])
def test_an_unknown_suffix_is_an_error_that_lists_the_known_ones(name: str) -> None:
    with pytest.raises(UserError, match=r"\.jsonl.*\.parquet.*\.mdx.*format = "):
        format_of(name, Input(name))
    assert format_of(name, Input(name, format="csv")) == "csv"


def test_names_are_the_part_that_the_input_does_not_name(tmp_path: Path) -> None:
    root = tmp_path.as_posix()
    assert relative_name(f"{root}/글.jsonl", Input(f"{root}/글.jsonl")) == "글.jsonl"
    assert relative_name(f"{root}/a/b.html", Input(root)) == "a/b.html"
    assert relative_name(f"{root}/a/b.html", Input(root + "/")) == "a/b.html"
    assert relative_name(f"{root}/a/b.html", Input(f"{root}/*/*.html")) == "a/b.html"
    assert relative_name(f"{root}/a/b.html", Input(f"{root}/a/*.html")) == "b.html"
    assert relative_name("s3://나무/a/b.html", Input("s3://나무/a")) == "b.html"
    assert relative_name("memory:///a/b.html", Input("memory://a/*")) == "b.html"
    assert relative_name("zip://d/b.md::s3://k/z.zip", Input("zip://*/*.md::s3://k/z.zip")) == (
        "d/b.md"
    )


def test_a_name_that_is_not_unicode_is_made_so(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xb1\xdb.jsonl"
    Path(os.fsdecode(path)).write_text(LINE, encoding="utf-8")
    source = Input(str(tmp_path))
    [document] = read_file(find_files(source)[0], source, pytest.fail)
    assert document.id == "\ufffd\ufffd.jsonl:1"


def test_any_address_that_fsspec_knows(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for name in ("/강/b.jsonl", "/강/가/a.jsonl", "/강/가/c.png"):
        memory.pipe(name, LINE.encode())
    try:
        for address in ("memory://강", "memory://강/**/*.jsonl"):
            source = Input(address, source="blog")
            found = find_files(source)
            assert found == ["memory:///강/b.jsonl", "memory:///강/가/a.jsonl"]
            read = [document for file in found for document in read_file(file, source, pytest.fail)]
            assert [document.id for document in read] == ["b.jsonl:1", "가/a.jsonl:1"]
            assert file_size(found[0]) == len(LINE.encode())
        cached = f"simplecache::{found[0]}"
        source = Input(cached)
        assert find_files(source) == [cached]
        [document] = read_file(cached, source, pytest.fail)
        assert (document.id, document.source) == ("b.jsonl:1", "others")
    finally:
        memory.rm("/강", recursive=True)


def test_files_in_an_archive_are_found_through_it(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("글/a.jsonl", LINE)
        archive.writestr("글/b.jsonl", LINE + "broken\n")
    source = Input(f"zip://글/*.jsonl::file://{tmp_path.as_posix()}/z.zip")
    broken: list[Quarantined] = []
    found = find_files(source)
    read = [document.id for file in found for document in read_file(file, source, broken.append)]
    assert read == ["a.jsonl:1", "b.jsonl:1"]
    assert [(record.file, record.line) for record in broken] == [("b.jsonl", 2)]


def test_an_unknown_protocol_and_an_unreadable_file_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nosuch"):
        find_files(Input("nosuch://a/b.jsonl"))
    gone = str(tmp_path / "gone.jsonl")
    with pytest.raises(UserError, match=r"gone\.jsonl: cannot be read: No such file"):
        list(read_file(gone, Input(gone), pytest.fail))


def test_columns_can_only_rename_parts_of_a_document(tmp_path: Path) -> None:
    plant(tmp_path, "a.jsonl")
    source = Input(str(tmp_path / "a.jsonl"), columns={"body": "text"})
    with pytest.raises(UserError, match="columns names 'body'"):
        list(read_file(source.path, source, pytest.fail))


def without(module: str, code: str) -> str:
    """What ``code`` prints where ``module`` is not installed."""
    blocked = f"import sys; sys.modules[{module!r}] = None\n{code}"
    done = subprocess.run([sys.executable, "-c", blocked], check=True, capture_output=True)
    return done.stdout.decode()


def test_local_files_need_no_fsspec_and_remote_ones_say_what_they_need(tmp_path: Path) -> None:
    plant(tmp_path, "a.jsonl")
    code = (
        "from hyperclova.corpus.config import Input\n"
        "from hyperclova.corpus.readers import find_files, read_file\n"
        "from hyperclova.errors import UserError\n"
        f"source = Input({str(tmp_path)!r})\n"
        "print(len(list(read_file(find_files(source)[0], source, print))))\n"
        "for call in (lambda: find_files(Input('s3://a')), "
        "lambda: list(read_file('s3://a/b.jsonl', Input('s3://a'), print))):\n"
        "    try: call()\n"
        "    except UserError as error: print(error)\n"
    )
    count, *complaints = without("fsspec", code).splitlines()
    assert count == "1"
    assert len(complaints) == 2
    assert all("pip install 'hyperclova[corpus]'" in complaint for complaint in complaints)


def test_reading_imports_no_extra_before_it_needs_one() -> None:
    code = (
        "import sys, hyperclova.corpus.readers\n"
        "extras = 'fsspec pyarrow trafilatura mwparserfromhell yaml torch'.split()\n"
        "print([name for name in extras if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert done.stdout.decode().strip() == "[]"
