"""Tokenizers of every kind, trained once on our Korean texts."""

import pytest

from hyperclova.tokenizer import Tokenizer
from hyperclova.tokenizer.train import train

LOSSLESS = ("word", "sentence", "byte")


@pytest.fixture(scope="session")
def tokenizers(korean_lines: list[str]) -> dict[str, Tokenizer]:
    """``word`` and ``sentence`` (morpheme-aware), ``byte`` and ``character``; ~1,000 ids each."""
    texts = ["\n".join(korean_lines)]
    return {
        "word": train(texts, 1000, unit="word"),
        "sentence": train(texts, 1000, unit="sentence"),
        "byte": train(texts, 1000, kind="byte"),
        "character": train(texts, 1200, kind="character"),
    }


@pytest.fixture(params=LOSSLESS)
def lossless(request: pytest.FixtureRequest, tokenizers: dict[str, Tokenizer]) -> Tokenizer:
    """Each of the tokenizers that must give every text back."""
    return tokenizers[request.param]


@pytest.fixture(params=("word", "sentence"))
def morpheme_aware(request: pytest.FixtureRequest, tokenizers: dict[str, Tokenizer]) -> Tokenizer:
    """Each of the paper's tokenizers."""
    return tokenizers[request.param]
