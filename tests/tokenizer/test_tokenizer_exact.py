"""Every text comes back, whichever way it went in."""

import pickle
import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest
from hard_texts import HARD_TEXTS, texts
from hypothesis import HealthCheck, given, settings

from hyperclova.errors import UserError
from hyperclova.tokenizer import END_OF_TEXT, TextError, Tokenizer
from hyperclova.tokenizer.pretokenize import split_pieces

thorough = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("name", HARD_TEXTS)
def test_hard_texts_come_back(lossless: Tokenizer, name: str) -> None:
    text = HARD_TEXTS[name]
    ids = lossless.encode(text)
    assert lossless.decode(ids) == text
    assert lossless.decode_bytes(ids) == text.encode()
    assert lossless.count(text) == len(ids)
    assert lossless.minimum_count(text) <= len(ids)
    assert lossless.end_of_text_id not in ids


@thorough
@given(text=texts)
def test_any_text_comes_back(tokenizers: dict[str, Tokenizer], text: str) -> None:
    for name in ("word", "sentence", "byte"):
        tokenizer = tokenizers[name]
        assert tokenizer.decode(tokenizer.encode(text)) == text, name


@thorough
@given(text=texts)
def test_one_batch_and_a_fresh_copy_agree(tokenizers: dict[str, Tokenizer], text: str) -> None:
    """Caches change the speed, never the ids."""
    for name, tokenizer in tokenizers.items():
        ids = tokenizer.encode(text)
        assert tokenizer.encode(text) == ids, name
        assert tokenizer.encode_batch([text, "", text + "가"])[0] == ids, name
        assert tokenizer.encode_with_offsets(text).ids == ids, name


def test_caches_never_change_ids(tokenizers: dict[str, Tokenizer], korean_lines: list[str]) -> None:
    for tokenizer in tokenizers.values():
        fresh = pickle.loads(pickle.dumps(tokenizer))
        together = fresh.encode_batch(korean_lines)
        alone = [pickle.loads(pickle.dumps(tokenizer)).encode(line) for line in korean_lines[::9]]
        assert together[::9] == alone
        assert [fresh.encode(line) for line in reversed(korean_lines)] == together[::-1]


@pytest.mark.parametrize("unit", ["word", "sentence"])
def test_ids_are_those_of_the_library_given_the_pieces(
    tokenizers: dict[str, Tokenizer], korean_lines: list[str], unit: str
) -> None:
    """Our caches skip the library; the library, given the morphemes, agrees."""
    import tokenizers as library

    tokenizer = tokenizers[unit]
    backend = library.Tokenizer.from_str(tokenizer._serialized)
    backend.encode_special_tokens = True
    for text in [*korean_lines, *HARD_TEXTS.values()]:
        if "\x1f" not in text:
            pieces = split_pieces(text, tokenizer.unit)
            assert backend.encode("\x1f".join(pieces)).ids == tokenizer.encode(text)
            assert backend.encode(pieces, is_pretokenized=True).ids == tokenizer.encode(text)


@thorough
@given(text=texts)
def test_offsets_are_the_characters_of_each_token(
    tokenizers: dict[str, Tokenizer], text: str
) -> None:
    for name in ("word", "sentence", "byte"):
        tokenizer = tokenizers[name]
        ids, offsets = tokenizer.encode_with_offsets(text)
        assert len(ids) == len(offsets)
        for token, (start, end) in zip(ids, offsets, strict=True):
            assert start < end
            # The span is the smallest that holds the token's bytes.
            assert tokenizer.token_bytes(token) in text[start:end].encode()
            if end - start > 1:
                assert tokenizer.token_bytes(token) not in text[start + 1 : end].encode()
                assert tokenizer.token_bytes(token) not in text[start : end - 1].encode()
        covered = [character for start, end in offsets for character in range(start, end)]
        assert sorted(set(covered)) == list(range(len(text)))
        assert covered == sorted(covered)
        # Spans share a character only where a token ends inside it.
        for (token, (_, end)), (_, (start, _)) in pairwise(zip(ids, offsets, strict=True)):
            assert start in (end, end - 1)
            if start == end - 1:
                with pytest.raises(UnicodeDecodeError):
                    tokenizer.token_bytes(token).decode()


def test_offsets_point_into_the_original_text(tokenizers: dict[str, Tokenizer]) -> None:
    text = "👨‍👩‍👧\x1f 학교에서\n\n 밥을"
    offsets = tokenizers["word"].encode_with_offsets(text).offsets
    whole = {text[start:end] for start, end in offsets}
    assert {"👨", "\u200d", "\x1f", "을"} <= whole
    assert offsets[0] == (0, 1)
    assert offsets[-1][1] == len(text)


def test_offsets_of_the_character_baseline(tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = tokenizers["character"]
    text = "학교에서 𠮷쀍 밥을 먹었다."
    ids, offsets = tokenizer.encode_with_offsets(text)
    assert offsets[0][0] == 0 and offsets[-1][1] == len(text)
    assert all(before[1] == after[0] for before, after in pairwise(offsets))
    for token, (start, end) in zip(ids, offsets, strict=True):
        assert tokenizer.token_name(token) in ("<unk>", text[start:end])


@thorough
@given(text=texts)
def test_no_token_crosses_a_morpheme_boundary(tokenizers: dict[str, Tokenizer], text: str) -> None:
    for name in ("word", "sentence"):
        tokenizer = tokenizers[name]
        boundaries, position = {0}, 0
        for piece in split_pieces(text, tokenizer.unit):
            position += len(piece.encode())
            boundaries.add(position)
        ends, position = {0}, 0
        for token in tokenizer.encode(text):
            position += len(tokenizer.token_bytes(token))
            ends.add(position)
        assert boundaries <= ends


@thorough
@given(text=texts)
def test_streaming_gives_the_text_and_only_whole_characters(
    tokenizers: dict[str, Tokenizer], text: str
) -> None:
    for name in ("word", "sentence", "byte"):
        tokenizer = tokenizers[name]
        decoder = tokenizer.stream_decoder()
        parts = [decoder.push(token) for token in tokenizer.encode(text)]
        parts.append(decoder.finish())
        assert "".join(parts) == text
        assert "".join(parts).count("\ufffd") == text.count("\ufffd")


@pytest.mark.parametrize("split", range(1, 20))
def test_streaming_broken_bytes_equals_decoding_them(
    tokenizers: dict[str, Tokenizer], split: int
) -> None:
    """Ids that start or end inside a syllable, as a generation cut by length does."""
    tokenizer = tokenizers["word"]
    single = {tokenizer.token_bytes(token): token for token in range(tokenizer.vocabulary_size)}
    ids = [single[bytes([byte])] for byte in "쀍a국𠮷가".encode()]
    for part in (ids[:split], ids[split:], ids[split:] + ids[:split]):
        decoder = tokenizer.stream_decoder()
        pieces = [decoder.push(token) for token in part]
        assert "".join(pieces) + decoder.finish() == tokenizer.decode(part)
        assert decoder.finish() == ""


def test_streaming_holds_a_syllable_back_until_it_is_whole(
    tokenizers: dict[str, Tokenizer],
) -> None:
    tokenizer = tokenizers["word"]
    ids = tokenizer.encode("쀍")
    assert len(ids) > 1, "the syllable must be spread over tokens for this test to say anything"
    decoder = tokenizer.stream_decoder()
    assert [decoder.push(token) for token in ids] == [""] * (len(ids) - 1) + ["쀍"]
    assert decoder.finish() == ""
    decoder.push(ids[0])
    assert decoder.finish() == "\ufffd"
    assert decoder.push(tokenizer.encode("a")[0]) == "a"


@pytest.mark.parametrize(
    ("text", "position"), [("가\ud800", 1), ("\udc00", 0), ("가나다 \udfff 라", 4)]
)
def test_lone_surrogates_are_refused_by_position(
    tokenizers: dict[str, Tokenizer], text: str, position: int
) -> None:
    for tokenizer in tokenizers.values():
        for encode in (
            tokenizer.encode,
            tokenizer.count,
            tokenizer.encode_with_offsets,
            lambda text, tokenizer=tokenizer: tokenizer.encode_batch(["가", text]),
        ):
            with pytest.raises(TextError, match=f"at character {position}") as caught:
                encode(text)
            assert isinstance(caught.value, UserError) and isinstance(caught.value, ValueError)


def test_control_tokens_come_by_id_only(tokenizers: dict[str, Tokenizer]) -> None:
    for tokenizer in tokenizers.values():
        assert tokenizer.end_of_text_id == 0
        assert tokenizer.token_name(0) == END_OF_TEXT
        for text in (END_OF_TEXT, f"끝{END_OF_TEXT}끝", f" {END_OF_TEXT}\n"):
            for ids in (tokenizer.encode(text), tokenizer.encode_batch([text])[0]):
                assert 0 not in ids
                if tokenizer.kind != "character":
                    assert tokenizer.decode(ids) == text
        assert tokenizer.decode([0, *tokenizer.encode("끝"), 0]) == "끝"
        assert tokenizer.token_bytes(0) == b""


def test_a_text_of_megabytes_is_known_to_be_long_without_encoding_it(lossless: Tokenizer) -> None:
    assert lossless.minimum_count("가" * 1_000_000) > 2048
    assert lossless.minimum_count("") == 0


def test_ids_outside_the_vocabulary_are_refused(lossless: Tokenizer) -> None:
    for token in (-1, lossless.vocabulary_size, 10**9):
        with pytest.raises(ValueError, match=f"token id {token} is outside"):
            lossless.decode([token])
        with pytest.raises(ValueError, match="outside"):
            lossless.stream_decoder().push(token)
        with pytest.raises(ValueError, match="outside"):
            lossless.token_name(token)


def test_all_bytes_are_in_the_vocabulary(lossless: Tokenizer) -> None:
    known = {lossless.token_bytes(token) for token in range(lossless.vocabulary_size)}
    assert {bytes([byte]) for byte in range(256)} <= known


def test_the_character_baseline_loses_what_it_does_not_know(
    tokenizers: dict[str, Tokenizer],
) -> None:
    tokenizer = tokenizers["character"]
    unknown = tokenizer.token_id("<unk>")
    assert tokenizer.encode("쀍𠮷").count(unknown) == 2
    assert tokenizer.decode(tokenizer.encode("학교에서 쀍 먹었다.")) == "학교에서 \ufffd 먹었다."
    assert unknown not in tokenizer.encode("학교에서 밥을 먹었다.")


def test_a_longer_text_keeps_the_ids_of_its_whole_words(
    tokenizers: dict[str, Tokenizer], korean_lines: list[str]
) -> None:
    """What the unit ``word`` is for: a prefix is stable up to its last word."""
    tokenizer = tokenizers["word"]
    for line in korean_lines:
        words = line.split(" ")
        for count in range(1, len(words)):
            if words[count - 1] and words[count]:  # white space by itself may join more of it
                prefix = tokenizer.encode(" ".join(words[:count]))
                assert tokenizer.encode(line)[: len(prefix)] == prefix


def test_decomposed_text_costs_more_and_comes_back(tokenizers: dict[str, Tokenizer]) -> None:
    text = "아버지가 방에 들어가신다."
    tokenizer = tokenizers["word"]
    decomposed = unicodedata.normalize("NFD", text)
    assert tokenizer.decode(tokenizer.encode(decomposed)) == decomposed
    assert tokenizer.count(decomposed) > 2 * tokenizer.count(text)


def test_threads_may_share_a_tokenizer(
    tokenizers: dict[str, Tokenizer], korean_lines: list[str]
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    tokenizer = tokenizers["sentence"]
    expected = [tokenizer.encode(line) for line in korean_lines]
    fresh = pickle.loads(pickle.dumps(tokenizer))
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(fresh.encode, korean_lines)) == expected


def test_saved_and_loaded_gives_the_same_ids(
    tokenizers: dict[str, Tokenizer], korean_lines: list[str], tmp_path: Path
) -> None:
    for name, tokenizer in tokenizers.items():
        tokenizer.save(tmp_path / name)
        loaded = Tokenizer.load(str(tmp_path / name))
        assert loaded.fingerprint == tokenizer.fingerprint
        for text in [*korean_lines, *HARD_TEXTS.values()]:
            assert loaded.encode(text) == tokenizer.encode(text)
        loaded.save(tmp_path / f"{name} again")
        for file in ("tokenizer.json", "tokenizer_config.json"):
            again = (tmp_path / f"{name} again" / file).read_bytes()
            assert again == (tmp_path / name / file).read_bytes()
