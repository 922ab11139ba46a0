"""The analyser and its guards, and how text is cut before it is merged."""

import json
import os
import threading
from pathlib import Path

import pytest
from hard_texts import HARD_TEXTS, texts
from hypothesis import given, settings

from hyperclova.tokenizer import morphemes as module
from hyperclova.tokenizer.morphemes import installed_analyser, morphemes
from hyperclova.tokenizer.pretokenize import UNITS, join_pieces, split_pieces, split_words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("아버지가 방에 들어가신다.", ["아버지", "가", " 방", "에", " 들어가", "신다", "."]),
        ("밥을  먹었다", ["밥", "을", "  먹", "었", "다"]),
        ("2017년에", ["2017", "년", "에"]),
        ("LG전자는", ["LG", "전자", "는"]),
        ("", []),
        ("   ", ["   "]),
        ("밥을 \t ", ["밥", "을 \t "]),
    ],
)
def test_surface_morphemes_keep_the_space_before_them(text: str, expected: list[str]) -> None:
    assert morphemes(text) == expected


def test_loose_jamo_end_before_a_syllable() -> None:
    """The analyser gives such a run back as one unknown word."""
    assert morphemes("ㅋㅋㅋ재밌다") == ["ㅋㅋㅋ", "재밌다"]
    assert morphemes("영화ㅠㅠ진짜") == ["영화", "ㅠㅠ", "진짜"]


@settings(max_examples=150, deadline=None)
@given(text=texts)
def test_pieces_joined_are_the_text(text: str) -> None:
    for unit in UNITS:
        pieces = split_pieces(text, unit)
        assert "".join(pieces) == text
        assert all(pieces)
        assert all(piece == "\x1f" or "\x1f" not in piece for piece in pieces)
    assert "".join(split_words(text)) == text


@settings(max_examples=100, deadline=None)
@given(text=texts.filter(lambda text: not {"\n", "\0", "\x1f"} & set(text)))
def test_morphemes_lose_nothing(text: str) -> None:
    assert "".join(morphemes(text)) == text


def test_what_the_analyser_changes_stays_uncut(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lossy:
        def parse(self, text: str) -> str:
            return "\x1f".join(text.replace("밥", "죽")) + "\x1f"

    monkeypatch.setattr(module, "_tagger", Lossy)
    assert morphemes("나는 밥을  ") == ["나는 밥을  "]
    assert morphemes("나는") == ["나", "는"]


def test_words_are_cut_alone_and_sentences_in_context() -> None:
    assert split_words(" 학교에  갔다\n\n 왔다") == [" 학교에", " ", " 갔다", "\n\n", " 왔다"]
    text = "하늘을 나는 새를 보고 나는 웃었다."
    by_word = split_pieces(text, "word")
    # The same eojeol is cut the same way everywhere; in a sentence it need not be.
    assert by_word.count(" 나") + by_word.count(" 나는") == 2
    assert len({piece for piece in by_word if piece in (" 나", " 나는")}) == 1


def test_a_word_is_cut_alike_with_and_without_a_space_before_it() -> None:
    """At the start of a text the analyser by itself takes 가 for a particle."""
    assert morphemes("가상의") == ["가", "상의"]
    assert split_pieces("가상의\n가상의 가상의", "word") == [
        *("가상", "의", "\n", "가상", "의", " 가상", "의")
    ]


@pytest.mark.parametrize("unit", UNITS)
def test_long_runs_are_cut_into_what_the_analyser_can_bear(
    unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    analyse = module._analyse
    monkeypatch.setattr(module, "_analyse", lambda text: seen.append(len(text)) or analyse(text))
    for text in ("가나다라마" * 1000, "밥을 먹었다. " * 1000, "!" * 5000):
        assert "".join(split_pieces(text, unit)) == text
    assert max(seen) <= module.LONGEST


def test_a_joined_text_has_the_boundaries_in_it() -> None:
    assert join_pieces("밥을 먹었다", "word") == "밥\x1f을\x1f 먹\x1f었\x1f다"
    for text in HARD_TEXTS.values():
        for unit in UNITS:
            joined = join_pieces(text, unit)
            assert joined.replace("\x1f", "") == text.replace("\x1f", "")


def test_every_thread_has_its_own_tagger() -> None:
    found = [module._tagger()]
    thread = threading.Thread(target=lambda: found.append(module._tagger()))
    thread.start()
    thread.join()
    assert found[0] is not found[1]
    assert module._tagger() is found[0]


# -- the dictionary's hash -------------------------------------------------------------------------


@pytest.fixture
def dictionary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYPERCLOVA_HOME", str(tmp_path / "home"))
    directory = tmp_path / "dictionary"
    directory.mkdir()
    for name in module._DICTIONARY_FILES:
        (directory / name).write_bytes(name.encode() * 10)
    return directory


def test_the_hash_follows_the_content(dictionary: Path) -> None:
    first = module._dictionary_sha256(dictionary)
    assert module._dictionary_sha256(dictionary) == first
    for name in module._DICTIONARY_FILES:
        original = (dictionary / name).read_bytes()
        (dictionary / name).write_bytes(b"other" + original[5:])
        os.utime(dictionary / name, ns=(1, 1))
        assert module._dictionary_sha256(dictionary) != first, name
        (dictionary / name).write_bytes(original)
        os.utime(dictionary / name, ns=(2, 2))
    assert module._dictionary_sha256(dictionary) == first


def test_the_hash_is_kept_and_a_broken_note_is_no_obstacle(dictionary: Path) -> None:
    first = module._dictionary_sha256(dictionary)
    kept = dictionary.parent / "home" / "cache" / "dictionary.json"
    assert json.loads(kept.read_text())["sha256"] == first
    note = json.loads(kept.read_text())
    kept.write_text(json.dumps({**note, "sha256": "from the note"}))
    assert module._dictionary_sha256(dictionary) == "from the note"
    for broken in ("", "[]", "{}", '{"key": 1}', "null"):
        kept.write_text(broken)
        assert module._dictionary_sha256(dictionary) == first


def test_a_home_that_cannot_be_written_is_no_obstacle(
    dictionary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HYPERCLOVA_HOME", str(tmp_path / "file" / "home"))
    assert len(module._dictionary_sha256(dictionary)) == 64


def test_the_installed_analyser_is_the_one_we_mean() -> None:
    analyser = installed_analyser()
    assert (analyser.name, analyser.dictionary) == ("mecab-ko", "mecab-ko-dic")
    assert "ko" in analyser.version
    assert len(analyser.dictionary_sha256) == 64


def test_nul_does_not_end_the_analysis() -> None:
    """The analyser reads its input up to the first NUL."""
    for unit in UNITS:
        assert split_pieces("밥을\0\0먹었다", unit) == ["밥", "을", "\0\0", "먹", "었", "다"]
