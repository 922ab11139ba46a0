"""The model in ``models/``: it loads everywhere, is small, and knows some Korean."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hyperclova import directories
from hyperclova.inference import Engine
from hyperclova.inference.protocol import Request, Sampling
from hyperclova.model import cost
from hyperclova.model.directory import load_config

MODEL = Path(__file__).parents[1] / "models" / "hyperclova-small"
PROMPTS = ["옛날 옛적에", "이 영화는 정말", "존경하는 대통령님,", "대한민국의 수도는"]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(MODEL) as running:
        yield running


def bits_per_byte(engine: Engine, texts: list[str]) -> float:
    nats = -sum(engine.score("", text).total for text in texts)
    return nats / math.log(2) / sum(len(text.encode()) for text in texts)


def test_it_is_found_without_being_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HYPERCLOVA_HOME", str(tmp_path))
    assert directories.default_model() == MODEL


def test_it_is_small_enough_to_live_in_a_repository() -> None:
    assert sum(path.stat().st_size for path in MODEL.iterdir()) <= 60e6


def test_its_card_says_what_it_is() -> None:
    card = (MODEL / "README.md").read_text(encoding="utf-8")
    assert f"{cost.parameters(load_config(MODEL)):,}" in card
    for word in ("bits per byte", "licence", "can't do", "NAVER"):
        assert word in card


def test_transformers_writes_the_same_greedy_text(engine: Engine) -> None:
    from transformers import GPT2LMHeadModel

    theirs = GPT2LMHeadModel.from_pretrained(MODEL).eval()
    greedy = Sampling(temperature=0.0)
    for prompt in PROMPTS:
        ids = engine.tokenizer.encode(prompt)
        with torch.no_grad():
            written = theirs.generate(
                torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                max_new_tokens=40,
                do_sample=False,
                pad_token_id=engine.tokenizer.end_of_text_id,
            )[0, len(ids) :].tolist()
        if written[-1] == engine.tokenizer.end_of_text_id:
            written.pop()
        (ours,) = engine.generate([Request(prompt, 40, greedy)])
        assert ours.text == engine.tokenizer.decode(written)


def test_it_prefers_korean_to_the_same_words_shuffled(engine: Engine) -> None:
    pairs = [
        ("오늘은 날씨가 좋아서 산책을 했다.", "했다 좋아서 오늘은 산책을 날씨가."),
        ("이 영화는 정말 재미있게 봤습니다.", "봤습니다 정말 재미있게 이 영화는."),
        (
            "할머니가 손자에게 옛날이야기를 들려주었다.",
            "들려주었다 옛날이야기를 할머니가 손자에게.",
        ),
    ]
    for ordered, shuffled in pairs:
        assert engine.score("", ordered).total > engine.score("", shuffled).total


def test_it_knows_korean_it_has_not_seen(engine: Engine, korean_lines: list[str]) -> None:
    texts = [line for line in korean_lines if 20 < len(line) < 200][:60]
    # A model that knows nothing needs 13 bits a token, about 3.7 a byte.
    assert bits_per_byte(engine, texts) < 2.4


@pytest.mark.data
def test_reviews_it_has_not_seen(engine: Engine) -> None:
    path = directories.data() / "nsmc" / "ratings_test.txt"
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    texts = [text for _, text, _ in (line.split("\t") for line in lines[:300]) if text]
    for text in texts:
        assert engine.tokenizer.decode(engine.tokenizer.encode(text)) == text
    assert bits_per_byte(engine, texts) < 2.4
