"""``hyperclova tokenizer``, as a person types it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hyperclova.errors import UserError
from hyperclova.tokenizer import Tokenizer, counting
from hyperclova.tokenizer.compare import measure, without_analyser

TEXTS = Path(__file__).parents[1] / "texts"


def run(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    code = "from hyperclova.cli import main; main()"
    command = [sys.executable, "-c", code, "tokenizer", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=120)


@pytest.fixture
def saved(tokenizers: dict[str, Tokenizer], tmp_path: Path) -> Path:
    for name, tokenizer in tokenizers.items():
        tokenizer.save(tmp_path / name)
    return tmp_path


def test_train_encode_decode(tmp_path: Path) -> None:
    files = sorted(TEXTS.glob("*.txt"))
    trained = run("train", *files, "--vocabulary-size", 700, "--output", tmp_path / "out")
    assert trained.returncode == 0, trained.stderr.decode()
    assert b"700 ids" in trained.stderr
    tokenizer = Tokenizer.load(tmp_path / "out")
    assert tokenizer.vocabulary_size == 700 and tokenizer.unit == "word"

    text = "옛날 옛적에\n\n 쀍 <|endoftext|> 👨‍👩‍👧 \n"
    encoded = run("encode", "--tokenizer", tmp_path / "out", stdin=text.encode())
    assert [int(word) for word in encoded.stdout.split()] == tokenizer.encode(text)
    decoded = run("decode", "--tokenizer", tmp_path / "out", stdin=encoded.stdout)
    assert decoded.stdout.decode() == text
    ids = map(str, tokenizer.encode("학교에서"))
    assert run("decode", "-t", tmp_path / "out", *ids).stdout.decode() == "학교에서"

    pieces = run("encode", "-t", tmp_path / "out", "--pieces", "쀍 가").stdout.decode().splitlines()
    assert len(pieces) == tokenizer.count("쀍 가")
    assert pieces[0].endswith("of '쀍'") and "\t0:1\t" in pieces[0]


@pytest.mark.parametrize(
    ("arguments", "stdin", "complaint"),
    [
        (["decode", "99999"], b"", "token id 99999 is outside"),
        (["decode"], b"1 two 3", "standard input: not ids"),
        (["encode"], b"\xb0\xa1", "standard input: not UTF-8 at byte 0"),
    ],
)
def test_errors_are_one_line_and_status_two(
    saved: Path, arguments: list[str], stdin: bytes, complaint: str
) -> None:
    result = run(*arguments, "-t", saved / "word", stdin=stdin)
    assert result.returncode == 2
    assert complaint in result.stderr.decode()
    assert result.stderr.count(b"\n") == 1


def test_training_errors_name_the_file(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"text": "가"}\n{"text":\n', encoding="utf-8")
    result = run("train", broken, "--output", tmp_path / "out")
    assert result.returncode == 2
    assert "broken.jsonl, line 2" in result.stderr.decode().replace("\n", " ")
    assert not (tmp_path / "out").exists()


def documents(korean_lines: list[str], characters: int) -> list[str]:
    """Lines of documents with so many characters of text at least."""
    text = "\n".join(korean_lines)
    line = json.dumps({"text": text}, ensure_ascii=False) + "\n"
    return [line] * (characters // len(text) + 1)


def test_errors_after_work_has_gone_to_workers_name_file_and_line(
    tmp_path: Path, korean_lines: list[str]
) -> None:
    lines = documents(korean_lines, 2 * counting._CHARACTERS_PER_JOB)
    broken = tmp_path / "broken.jsonl"
    broken.write_text("".join([*lines, '{"text": 7}\n']), encoding="utf-8")
    result = run("train", broken, "--output", tmp_path / "out", "--workers", 2)
    assert result.returncode == 2
    assert result.stderr.decode() == (
        f"hyperclova: {broken}, line {len(lines) + 1}: the field 'text' is int; expected a string\n"
    )
    assert not (tmp_path / "out").exists()


def test_training_says_what_it_does_where_no_terminal_is(
    tmp_path: Path, korean_lines: list[str]
) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(documents(korean_lines, 1)), encoding="utf-8")
    arguments = ("train", path, "--vocabulary-size", 300, "--sample", 1, "--workers", 1)
    result = run(*arguments, "--output", tmp_path / "out")
    first, second, last = result.stderr.decode().splitlines()
    assert first == "choosing the sample"
    assert second == "0.0 MB read; merging"
    assert last.startswith(f"{tmp_path / 'out'}: 300 ids from 0.0 MB, fingerprint ")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_ctrl_c_leaves_no_process(tmp_path: Path, korean_lines: list[str]) -> None:
    pipe = tmp_path / "endless.jsonl"
    os.mkfifo(pipe)
    # Who runs the tests in the background lets them inherit that Ctrl-C is ignored.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from hyperclova.cli import main; main()"
    )
    arguments = ["tokenizer", "train", str(pipe), "--output", str(tmp_path / "out")]
    command = [sys.executable, "-c", code, *arguments, "--workers", "2"]
    # A session of its own, so that a signal reaches all its processes, as Ctrl-C does.
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True) as process,
        pipe.open("wb", buffering=0) as stream,
    ):
        # When all this is read, workers have given results: it is more than they are given.
        for line in documents(korean_lines, 10 * counting._CHARACTERS_PER_JOB):
            stream.write(line.encode())
        children = psutil.Process(process.pid).children()
        assert len(children) >= 2
        os.killpg(process.pid, signal.SIGINT)
        deadline = time.monotonic() + 60
        with pytest.raises(BrokenPipeError):
            while time.monotonic() < deadline:
                stream.write(line.encode())
        assert process.wait(60) == 130
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    assert not (tmp_path / "out").exists()


def test_compare_prints_a_table_and_draws_a_picture(saved: Path) -> None:
    names = ("word", "sentence", "byte", "character")
    result = run(
        "compare",
        *(saved / name for name in names),
        *(part for path in sorted(TEXTS.glob("*.txt")) for part in ("--text", path)),
        "--without-analyser",
        "--output",
        saved / "report",
    )
    assert result.returncode == 0, result.stderr.decode()
    table = result.stdout.decode()
    assert all(f" {name} " in table for name in names)
    assert table.count("without the analyser") == 2
    rows = {row["name"]: row for row in json.loads((saved / "report/comparison.json").read_text())}
    for name in ("word", "sentence", "byte"):
        assert rows[name]["unknown_rate"] == 0 and rows[name]["exact"] == 1
    assert rows["character"]["unknown_rate"] > 0 and rows["character"]["exact"] < 1
    text = "".join(path.read_bytes().decode() for path in sorted(TEXTS.glob("*.txt")))
    for row in rows.values():
        assert row["characters"] == len(text) and row["bytes"] == len(text.encode())
        assert row["tokens_per_character"] == row["tokens"] / len(text)
        assert row["bytes_per_token"] == len(text.encode()) / row["tokens"]
        assert row["cold_rate"] > 0 and row["repeated_rate"] > 0
    picture = (saved / "report" / "comparison.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 10_000


def test_counts_are_those_of_the_tokenizer(
    tokenizers: dict[str, Tokenizer], korean_lines: list[str]
) -> None:
    tokenizer = tokenizers["word"]
    measured = measure(tokenizer, korean_lines, "word")
    lines = [line for line in korean_lines if line]
    assert measured.tokens == sum(tokenizer.count(line) for line in lines)
    assert measured.documents == measured.exact_documents == len(lines)
    assert measured.new_text_bytes == sum(len(line.encode()) for line in lines[1::2])
    assert measured.new_text_rate is not None
    assert measure(tokenizer, lines[:1], "word").new_text_rate is None


def test_without_the_analyser_ids_are_others(
    tokenizers: dict[str, Tokenizer], korean_lines: list[str]
) -> None:
    agreement = without_analyser(tokenizers["word"], korean_lines)
    assert 0.5 < agreement.lines < 1
    assert agreement.lines < agreement.spans < 1
    assert without_analyser(tokenizers["byte"], korean_lines) == (1, 1)
    # Spans, by hand: without the analyser one token covers what are two morphemes.
    tokenizer = tokenizers["word"]
    line = next(
        line
        for line in korean_lines
        if tokenizer.count(line) == len(tokenizer.encode_without_analyser(line)) + 1
    )
    count = tokenizer.count(line)
    assert without_analyser(tokenizer, [line]) == (0, 2 * (count - 2) / (2 * count - 1))


def test_a_tokenizer_that_loses_text_is_not_timed(
    tokenizers: dict[str, Tokenizer], korean_lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tokenizer, "decode", lambda self, ids: "다른 글")
    with pytest.raises(UserError, match="do not decode to themselves"):
        measure(tokenizers["word"], korean_lines, "word")
    with pytest.raises(UserError, match="no text"):
        measure(tokenizers["word"], ["", ""], "word")
