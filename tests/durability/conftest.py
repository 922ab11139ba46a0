"""What runs that are to be killed start from."""

import json
from pathlib import Path

import pytest

from hyperclova.tokenizer import Tokenizer
from hyperclova.tokens.tokenize import Job, tokenize


@pytest.fixture
def inputs(tiny_tokenizer: Tokenizer, korean_lines: list[str], tmp_path: Path) -> Path:
    """A directory with a tokenizer and token shards."""
    tiny_tokenizer.save(tmp_path / "tokenizer")
    with (tmp_path / "texts.jsonl").open("w", encoding="utf-8") as file:
        for number, line in enumerate(korean_lines):
            document = {"id": str(number), "source": "blog", "title": "", "text": line}
            file.write(json.dumps(document, ensure_ascii=False) + "\n")
    documents = (tmp_path / "texts.jsonl",)
    tokenize(Job(documents, tmp_path / "tokenizer", tmp_path / "tokens", held_out=0.2, workers=1))
    return tmp_path
