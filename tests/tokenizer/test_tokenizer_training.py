"""Training: what is learned, from what, and the sample it is learned from."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest
import tokenizers
from hard_texts import HARD_TEXTS

from hyperclova.errors import UserError
from hyperclova.tokenizer import Tokenizer, counting
from hyperclova.tokenizer.cache import LONGEST, Cache
from hyperclova.tokenizer.counting import count_korean_pieces
from hyperclova.tokenizer.morphemes import SEPARATOR
from hyperclova.tokenizer.pretokenize import Unit, split_pieces
from hyperclova.tokenizer.sample import read_training_texts, sample_texts, sampling_rates
from hyperclova.tokenizer.train import train


@pytest.mark.parametrize("kind", ["morpheme", "byte", "character"])
def test_training_is_repeatable(korean_lines: list[str], kind: str) -> None:
    one = train(iter(korean_lines), 900, kind=kind)
    two = train(korean_lines, 900, kind=kind)
    assert one.fingerprint == two.fingerprint
    assert one.vocabulary_size == 900


def test_what_is_not_korean_falls_to_single_bytes(tokenizers: dict[str, Tokenizer]) -> None:
    mixed = "Hello world 2017 大韓民國 ありがとう 🎧 Привет"
    for name in ("word", "sentence"):
        tokenizer = tokenizers[name]
        for token in range(1, tokenizer.vocabulary_size):
            data = tokenizer.token_bytes(token)
            assert len(data) == 1 or not any(byte < 128 and chr(byte).isalnum() for byte in data)
        for word in mixed.split():
            assert tokenizer.count(word) == len(word.encode())
        assert tokenizer.count("학교에서") < len("학교에서".encode())
    # The plain baseline learns what it sees.
    assert any(
        len(tokenizers["byte"].token_bytes(token)) > 1
        and tokenizers["byte"].token_bytes(token).strip().isalnum()
        and tokenizers["byte"].token_bytes(token).isascii()
        for token in range(1, tokenizers["byte"].vocabulary_size)
    )


def test_only_korean_pieces_take_part() -> None:
    text = "K팝은 2017년 大賞을 “또” 받았다!! (ㅋㅋ) iPhone\n\n끝 나랏말ᄊᆞ미 ありがとう"
    pieces = count_korean_pieces([text], "word")
    for wanted in ("팝", "년", "을", "받", "!", "ㅋㅋ", "\n\n", "끝", "“"):
        assert any(wanted in piece for piece in pieces), wanted
    assert not any(c in piece for piece in pieces for c in "Kk2017大賞iPhoneありがとう")


@pytest.mark.parametrize("unit", ["word", "sentence"])
def test_counts_of_pieces_stand_for_the_text(
    korean_lines: list[str], tmp_path: Path, unit: Unit
) -> None:
    texts = ["\n".join(korean_lines), *HARD_TEXTS.values()]
    counts = count_korean_pieces(texts, unit)
    pieces = [[p for p in split_pieces(text, unit) if p in counts] for text in texts]
    assert counts == Counter(piece for each in pieces for piece in each)

    # What the library learns where it splits and counts the joined pieces itself.
    train(texts, 900, unit=unit).save(tmp_path)
    trained = (tmp_path / "tokenizer.json").read_text(encoding="utf-8")
    backend = tokenizers.Tokenizer.from_str(trained)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(map(SEPARATOR.join, pieces), trainer)
    assert backend.to_str(pretty=True) == trained


@pytest.mark.parametrize("unit", ["word", "sentence"])
def test_workers_do_not_change_the_tokenizer(
    korean_lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: Unit
) -> None:
    # More jobs than are under way at once.
    monkeypatch.setattr(counting, "_CHARACTERS_PER_JOB", 4000)
    texts = ["\n".join(korean_lines), *korean_lines, "", *HARD_TEXTS.values()] * 5
    assert sum(map(len, texts)) > 4000 * 20
    for workers in (1, 2, 3):
        train(texts, 1500, unit=unit, workers=workers).save(tmp_path / str(workers))
    files = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert "tokenizer.json" in files
    for name in files:
        one, *others = ((tmp_path / str(n) / name).read_bytes() for n in (1, 2, 3))
        assert others == [one, one]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"vocabulary_size": 256}, "too small"),
        ({"vocabulary_size": 100, "kind": "character"}, "too small"),
        ({"vocabulary_size": 1000, "kind": "syllable"}, "kind 'syllable' is unknown"),
        ({"vocabulary_size": 1000, "unit": "page"}, "unit 'page' is unknown"),
    ],
)
def test_impossible_wishes_are_refused(
    korean_lines: list[str], arguments: dict, complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        train(korean_lines, **arguments)


@pytest.mark.parametrize("texts", [[], ["", ""]])
@pytest.mark.parametrize("kind", ["morpheme", "byte", "character"])
def test_nothing_to_train_on(texts: list[str], kind: str) -> None:
    with pytest.raises(UserError, match="no text"):
        train(texts, 1000, kind=kind)


def test_the_smallest_vocabulary_is_the_bytes(korean_lines: list[str]) -> None:
    tokenizer = train(korean_lines, 257)
    assert tokenizer.count("학교 가자") == len("학교 가자".encode())


def test_fewer_pairs_than_asked_for_give_a_smaller_vocabulary() -> None:
    tokenizer = train(["학교에 가자"], 5000)
    assert 257 < tokenizer.vocabulary_size < 5000
    assert tokenizer.decode(tokenizer.encode("학교에 가자")) == "학교에 가자"


# -- samples ---------------------------------------------------------------------------------------


@pytest.fixture
def corpus(tmp_path: Path, korean_lines: list[str]) -> list[Path]:
    """Two files, three sources of 60, 30 and 10 per cent of 6,000 documents."""
    generator = random.Random(3)
    paths = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    streams = [path.open("w", encoding="utf-8") for path in paths]
    for number in range(6000):
        source = generator.choices(["wiki", "blog", "kin"], [6, 3, 1])[0]
        record = {
            "id": f"{source}-{number}",
            "source": source,
            "text": f"{number} {korean_lines[number % len(korean_lines)]}",
        }
        streams[number % 2].write(json.dumps(record, ensure_ascii=False) + "\n")
    for stream in streams:
        stream.close()
    return paths


def size(texts: list[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def test_a_sample_is_even_repeatable_and_of_the_size_asked_for(corpus: list[Path]) -> None:
    everything = list(sample_texts(corpus, None))
    assert len(everything) == 6000
    wanted = size(everything) / 4
    sample = list(sample_texts(corpus, wanted / 1e6))
    assert 0.9 * wanted < size(sample) < 1.1 * wanted
    assert list(sample_texts(corpus, wanted / 1e6)) == sample
    # Documents are chosen by id: the order of the files only changes the order of the texts.
    assert sorted(sample_texts(corpus[::-1], wanted / 1e6)) == sorted(sample)
    other = set(sample_texts(corpus, wanted / 1e6, seed=1))
    assert 0.1 < len(other & set(sample)) / len(sample) < 0.45
    # A larger sample holds the smaller one.
    assert set(sample) <= set(sample_texts(corpus, 2 * wanted / 1e6))
    assert set(sample_texts(corpus, 10**6)) == set(everything)


def test_a_balanced_sample_gives_every_source_its_share(corpus: list[Path]) -> None:
    by_text = {document.text: document.source for document in read_training_texts(corpus)}
    everything = size(list(by_text))
    sample = list(sample_texts(corpus, 0.15 * everything / 1e6, balance=True))
    shares = {
        source: size([text for text in sample if by_text[text] == source]) / size(sample)
        for source in ("wiki", "blog", "kin")
    }
    assert all(0.25 < share < 0.42 for share in shares.values()), shares


def test_what_a_small_source_lacks_the_others_give() -> None:
    rates = sampling_rates({"wiki": 1000, "blog": 500, "kin": 30, "empty": 0}, 330, balance=True)
    assert rates == {"wiki": 0.15, "blog": 0.3, "kin": 1.0, "empty": 0.0}
    assert sampling_rates({"wiki": 10}, 100, balance=True) == {"wiki": 1.0}
    assert sampling_rates({"wiki": 900, "kin": 100}, 100) == {"wiki": 0.1, "kin": 0.1}
    assert sampling_rates({}, 100) == {}


def test_plain_text_is_read_in_blocks_of_whole_lines(
    tmp_path: Path, korean_lines: list[str]
) -> None:
    path = tmp_path / "글.txt"
    content = "\r\n".join(korean_lines * 20) + "\n\n끝"
    path.write_bytes(content.encode())
    blocks = list(read_training_texts([path]))
    assert len(blocks) > 3
    assert "".join(block.text for block in blocks) == content
    assert all(block.text.endswith("\n") for block in blocks[:-1])
    assert len({block.id for block in blocks}) == len(blocks)
    path.write_bytes("첫 줄\n".encode() + "둘째".encode("euc-kr"))
    with pytest.raises(UserError, match=r"글\.txt, line 2: not UTF-8"):
        list(read_training_texts([path]))


def test_an_empty_sample_is_refused(corpus: list[Path]) -> None:
    with pytest.raises(UserError, match="more than 0"):
        list(sample_texts(corpus, 0))


# -- the cache -------------------------------------------------------------------------------------


def test_the_cache_is_bounded_and_keeps_what_is_used() -> None:
    asked: list[str] = []

    def compute(key: str) -> str:
        asked.append(key)
        return key * 2

    cache = Cache(compute, capacity=10)
    for key in map(str, range(1000)):
        assert cache[key] == key * 2
        assert cache["7"] == "77"  # asked for all the time
        assert len(cache) <= 10
        assert len(cache._old) <= 10
    assert asked.count("7") == 1
    assert len(asked) == 1000


def test_the_cache_does_not_keep_long_keys() -> None:
    cache = Cache(len, capacity=10)
    assert cache["가" * 10_000] == 10_000
    assert cache["가" * LONGEST] == LONGEST
    assert list(cache) == ["가" * LONGEST]


def test_an_empty_value_is_remembered_too() -> None:
    asked: list[str] = []
    cache: Cache[str] = Cache(lambda key: asked.append(key) or "", capacity=2)
    for key in ("a", "b", "c", "a", "a"):
        assert cache[key] == ""
    assert asked == ["a", "b", "c"]
