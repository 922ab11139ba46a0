"""Documents → token shards, by worker processes."""

import json
from pathlib import Path

import pytest

from hyperclova.errors import UserError
from hyperclova.tokenizer import Tokenizer
from hyperclova.tokens.tokenize import Job, tokenize


@pytest.fixture
def documents(tmp_path: Path, korean_lines: list[str]) -> Path:
    """5,000 documents of two sources: more jobs than two workers are given at once."""
    path = tmp_path / "documents.jsonl"
    with path.open("w", encoding="utf-8") as stream:
        for number in range(5000):
            text = f"{number} {korean_lines[number % len(korean_lines)]}"
            record = {"id": str(number), "source": ("wiki", "blog")[number % 2], "text": text}
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")
    return path


def test_workers_do_not_change_the_shards(
    documents: Path, tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    tiny_tokenizer.save(tmp_path / "tokenizer")
    contents = []
    for workers in (1, 2):
        output = tmp_path / str(workers)
        job = Job((documents,), tmp_path / "tokenizer", output, held_out=0.1, workers=workers)
        (receipt,) = tokenize(job)
        assert sum(receipt.documents.values()) == 5000
        files = [path for path in sorted(output.rglob("*")) if path.is_file()]
        contents.append({path.relative_to(output): path.read_bytes() for path in files})
    assert len(contents[0]) > 10
    assert contents[0] == contents[1]


def test_a_broken_line_is_named_after_work_has_gone_to_workers(
    documents: Path, tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    tiny_tokenizer.save(tmp_path / "tokenizer")
    with documents.open("a", encoding="utf-8") as stream:
        stream.write('{"text": \n')
    job = Job((documents,), tmp_path / "tokenizer", tmp_path / "out", workers=2)
    with pytest.raises(UserError, match=r"documents\.jsonl, line 5001: not JSON"):
        tokenize(job)
