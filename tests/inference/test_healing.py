"""Open words: where a prompt is cut, and that what is written instead spells it."""

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperclova.inference.healing import LONGEST, Constraint, Vocabulary, heal, helps
from hyperclova.inference.protocol import Request, Sampling
from hyperclova.tokenizer import TextError, Tokenizer
from hyperclova.tokenizer.train import train
from random_models import write_random_model

TEXT = "대한민국의 수도는 서울이다. 바람이 불자 나뭇잎이 우수수 떨어졌다."

# Everything that cutting treats in a way of its own: spaces, line ends, other white space, NUL and
# U+001F, loose and combining jamo, combining marks, contractions, joiners.
AWKWARD = (
    "가각수도는을 \n\t\r\u3000\xa0\0\x1fㅋㅎㅏ\u1112\u1161\u11ab\u0301\u200d'srtelvmd!.…1aZé漢뷁🙂"
)
texts = st.text(alphabet=AWKWARD, max_size=24) | st.text(max_size=12)


@pytest.fixture(scope="module")
def shipped() -> Tokenizer:
    """8,192 ids, among them whole words."""
    return Tokenizer.load(Path(__file__).parents[2] / "models" / "hyperclova-small")


@pytest.fixture(scope="module")
def large(shipped: Tokenizer) -> Tokenizer:
    """51,200 ids, the paper's number: those that we ship and pairs of them, which join whatever
    they join, halves of characters too."""
    _, (serialized, description) = shipped.__reduce__()
    tree = json.loads(serialized)
    names, merges = tree["model"]["vocab"], tree["model"]["merges"]
    ordinary = [name for name in names if not name.startswith("<|")]
    chance = random.Random(0)
    while len(names) < 51_200:
        left, right = chance.choice(ordinary), chance.choice(ordinary)
        if left + right not in names:
            names[left + right] = len(names)
            merges.append([left, right])
    return Tokenizer(json.dumps(tree), description)


@pytest.fixture(scope="module")
def large_vocabulary(large: Tokenizer) -> Vocabulary:
    return Vocabulary(large)


@pytest.fixture(scope="module")
def byte_tokenizer(korean_lines: list[str]) -> Tokenizer:
    lines = [*korean_lines, "I'm sure they're here, we've seen it's what you'd 'really' like."]
    return train(lines, vocabulary_size=600, kind="byte")


@pytest.fixture(scope="module")
def character_tokenizer(korean_lines: list[str]) -> Tokenizer:
    return train(korean_lines, vocabulary_size=1500, kind="character")


@pytest.fixture(scope="module")
def vocabulary(tiny_tokenizer: Tokenizer) -> Vocabulary:
    return Vocabulary(tiny_tokenizer)


def spelt(tokenizer: Tokenizer, constraint: Constraint, chance: random.Random) -> bytes:
    """What is written by allowed tokens, each taken at random, until all is free."""
    written = b""
    while constraint.allowed is not None:
        token = chance.choice(constraint.allowed.tolist())
        written += tokenizer.token_bytes(token)
        constraint.accept(token)
    return written


# -- where a prompt is cut -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "remainder"),
    [
        ("대한민국의 수", " 수"),
        ("대한민국의 ", " "),
        ("대한민국의  ", "  "),
        ("대한민국의\n", "\n"),
        ("대한민국의\n\n ", "\n\n "),
        ("첫째 줄\n둘", "둘"),
        ("첫째 줄\n 둘", " 둘"),
        ("수", "수"),
        ("그는 \u1112\u1161", " \u1112\u1161"),  # 하, decomposed; a final consonant may follow
        ("cafe", "cafe"),
        ("", ""),
    ],
)
def test_the_open_word_is_cut_off_with_the_space_before_it(
    tiny_tokenizer: Tokenizer, text: str, remainder: str
) -> None:
    healed = heal(tiny_tokenizer, text)
    assert healed.remainder.decode() == remainder
    assert tiny_tokenizer.decode(healed.ids) + remainder == text


@settings(max_examples=200)
@given(text=texts, following=texts)
def test_no_text_that_follows_changes_the_ids_kept(
    tiny_tokenizer: Tokenizer, text: str, following: str
) -> None:
    check_stable(tiny_tokenizer, text, following)


@settings(max_examples=150)
@given(text=texts, following=texts)
def test_nor_with_a_tokenizer_that_cuts_as_gpt2_does(
    byte_tokenizer: Tokenizer, text: str, following: str
) -> None:
    check_stable(byte_tokenizer, text, following)


def check_stable(tokenizer: Tokenizer, text: str, following: str) -> None:
    healed = heal(tokenizer, text)
    assert tokenizer.decode_bytes(healed.ids) + healed.remainder == text.encode()
    longer = tokenizer.encode(text + following)
    assert tuple(longer[: len(healed.ids)]) == healed.ids


@settings(max_examples=100)
@given(
    text=st.text(alphabet="바람이불자 .'", max_size=12),
    following=st.text(alphabet="바람이불자 .'", max_size=6),
)
def test_nor_with_a_tokenizer_of_characters(
    character_tokenizer: Tokenizer, text: str, following: str
) -> None:
    check_stable(character_tokenizer, text, following)


def test_without_healing_they_would_change(shipped: Tokenizer) -> None:
    prompt = shipped.encode("대한민국의 수")
    assert shipped.encode("대한민국의 수도는")[: len(prompt)] != prompt


def test_a_word_too_long_to_be_written_again_stays(tiny_tokenizer: Tokenizer) -> None:
    text = "주소는 https://ko.example.org/" + "가" * LONGEST
    healed = heal(tiny_tokenizer, text)
    assert healed.remainder == b""
    assert list(healed.ids) == tiny_tokenizer.encode(text)


def test_half_a_surrogate_pair_is_refused(tiny_tokenizer: Tokenizer) -> None:
    with pytest.raises(TextError, match="lone surrogate"):
        heal(tiny_tokenizer, "수\ud83d")


def test_of_a_sentence_tokenizer_the_last_eojeol_is_open(korean_lines: list[str]) -> None:
    tokenizer = train(korean_lines, vocabulary_size=400, unit="sentence")
    healed = heal(tokenizer, TEXT)
    assert healed.remainder.decode() == " 떨어졌다."
    assert tokenizer.decode(healed.ids) == TEXT.removesuffix(" 떨어졌다.")


def test_a_character_that_the_vocabulary_lacks_is_not_healed(
    character_tokenizer: Tokenizer,
) -> None:
    assert heal(character_tokenizer, "바람이 불").remainder.decode() == " 불"
    for text in ("바람이 뷁", "🙂🙂🙂🙂", "\n"):
        healed = heal(character_tokenizer, text)
        assert healed.remainder == b""
        assert list(healed.ids) == character_tokenizer.encode(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("대한민국의 수", True),
        ("대한민국의 ", True),
        ("첫째 줄\n", True),
        ("ㅋㅋ", True),
        ("그는 \u1112\u1161", True),
        ("감정:", False),
        ("서울이다.", False),
        ("2026", False),
        ("def main", False),
        ("", False),
    ],
)
def test_by_default_prompts_that_end_in_hangul_or_white_space_are_healed(
    text: str, expected: bool
) -> None:
    assert helps(text) is expected


# -- what may be written instead -------------------------------------------------------------------


@settings(max_examples=100)
@given(text=texts, seed=st.integers(0, 2**32))
def test_what_is_written_begins_with_the_remainder(
    tiny_tokenizer: Tokenizer, vocabulary: Vocabulary, text: str, seed: int
) -> None:
    healed = heal(tiny_tokenizer, text)
    constraint = Constraint(vocabulary, healed.remainder)
    written = spelt(tiny_tokenizer, constraint, random.Random(seed))
    assert written.startswith(healed.remainder)


def test_exactly_the_ids_that_fit_are_allowed(
    tiny_tokenizer: Tokenizer, vocabulary: Vocabulary
) -> None:
    for remainder in (" 수", " ", "\n\n", "뷁", "ㅋㅋㅋ"):
        data = remainder.encode()
        constraint = Constraint(vocabulary, data)
        fitting = [
            token
            for token in range(tiny_tokenizer.vocabulary_size)
            if (own := tiny_tokenizer.token_bytes(token))
            and (own.startswith(data) or data.startswith(own))
        ]
        assert constraint.allowed is not None
        assert constraint.allowed.tolist() == fitting
        assert constraint.allowed.dtype == np.int64


def test_every_byte_can_end_a_search(tiny_tokenizer: Tokenizer) -> None:
    """Also the highest, behind which no bytes are."""
    vocabulary = Vocabulary(tiny_tokenizer)
    for byte in range(256):
        found = vocabulary.beginning_with(bytes([byte]))
        assert [tiny_tokenizer.token_bytes(token)[0] for token in found] == [byte] * len(found)
        assert found.size


def test_control_and_unknown_tokens_are_never_allowed(
    tiny_tokenizer: Tokenizer, character_tokenizer: Tokenizer
) -> None:
    assert tiny_tokenizer.end_of_text_id not in Vocabulary(tiny_tokenizer).beginning_with(b"")
    everything = Vocabulary(character_tokenizer).beginning_with(b"")
    assert character_tokenizer.end_of_text_id not in everything
    assert character_tokenizer.token_id("<unk>") not in everything
    assert everything.size == character_tokenizer.vocabulary_size - 2


def test_a_token_counts_if_it_goes_beyond_the_remainder(shipped: Tokenizer) -> None:
    vocabulary = Vocabulary(shipped)
    remainder = " 수".encode()
    (longer,) = shipped.encode(" 수도")
    constraint = Constraint(vocabulary, remainder)
    assert constraint.accept(longer)
    assert constraint.allowed is None

    constraint = Constraint(vocabulary, remainder)
    for token in [*shipped.encode(" "), *shipped.encode("수")]:
        assert constraint.allowed is not None
        assert not constraint.accept(token)
    assert constraint.allowed is None
    assert constraint.accept(shipped.end_of_text_id)  # free: everything counts


def test_a_token_that_does_not_fit_is_refused(
    tiny_tokenizer: Tokenizer, vocabulary: Vocabulary
) -> None:
    constraint = Constraint(vocabulary, " 수".encode())
    with pytest.raises(ValueError, match="does not spell"):
        constraint.accept(tiny_tokenizer.end_of_text_id)


def test_nothing_to_heal_is_free_from_the_start(vocabulary: Vocabulary) -> None:
    constraint = Constraint(vocabulary, b"")
    scores = np.array([0.5, -1.0])
    constraint.apply(scores)
    assert constraint.allowed is None
    assert scores.tolist() == [0.5, -1.0]


def test_what_cannot_be_spelt_is_refused(character_tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="no tokens spell"):
        Constraint(Vocabulary(character_tokenizer), "수뷁".encode())


# -- the look-ahead --------------------------------------------------------------------------------


def test_chances_are_those_of_independent_tokens(
    tiny_tokenizer: Tokenizer, vocabulary: Vocabulary
) -> None:
    """Against the sum over all paths, written out, with frequencies read off single tokens."""
    data = " 수도".encode()

    def share(token: int) -> float:
        # log_chances of one byte is the sum of the shares that begin with it; a token's own is
        # 1 / (id + 30) of the sum over all.
        total = sum(1 / (other + 30) for other in vocabulary.beginning_with(b"").tolist())
        return 1 / (token + 30) / total

    def chance(rest: bytes) -> float:
        if not rest:
            return 1.0
        found = 0.0
        for token in vocabulary.beginning_with(b"").tolist():
            own = tiny_tokenizer.token_bytes(token)
            if own.startswith(rest):
                found += share(token)
            elif rest.startswith(own):
                found += share(token) * chance(rest[len(own) :])
        return found

    expected = [math.log(chance(data[place:])) for place in range(len(data) + 1)]
    np.testing.assert_allclose(vocabulary.log_chances(data), expected, rtol=1e-9, atol=1e-12)


def test_the_longest_remainder_of_rare_characters_keeps_its_precision(
    vocabulary: Vocabulary,
) -> None:
    data = ("龘" * (LONGEST // 3)).encode()
    constraint = Constraint(vocabulary, data)
    assert constraint.allowed is not None
    assert np.isfinite(constraint.bias).all()


def test_a_lone_space_does_not_outweigh_the_word(shipped: Tokenizer) -> None:
    """The model expects a number: much on the space alone, little on the syllable."""
    (space,), (syllable,) = shipped.encode(" "), shipped.encode(" 수")
    scores = np.full(shipped.vocabulary_size, -20.0)
    scores[space] = math.log(0.2)
    scores[syllable] = math.log(0.02)
    constraint = Constraint(Vocabulary(shipped), " 수".encode())
    constraint.apply(scores)
    assert scores.argmax() == syllable
    assert scores[shipped.end_of_text_id] == -np.inf


# -- 51,200 ids ----------------------------------------------------------------------------------


@st.composite
def spelt_by(draw: st.DrawFn, tokenizer: Tokenizer) -> str:
    """Texts in which tokens of the whole vocabulary stand, whole or cut."""
    ids = draw(st.lists(st.integers(1, tokenizer.vocabulary_size - 1), max_size=4))
    text = tokenizer.decode(ids).replace("\ufffd", "")
    return draw(texts) + text[: draw(st.integers(0, len(text)))]


@settings(max_examples=100)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_healing_holds_for_a_large_vocabulary(
    large: Tokenizer, large_vocabulary: Vocabulary, data: st.DataObject, seed: int
) -> None:
    text, following = data.draw(spelt_by(large)), data.draw(spelt_by(large))
    check_stable(large, text, following)
    healed = heal(large, text)
    constraint = Constraint(large_vocabulary, healed.remainder)
    written = spelt(large, constraint, random.Random(seed))
    assert written.startswith(healed.remainder)


@settings(max_examples=25)
@given(data=st.data())
def test_look_ups_in_a_large_vocabulary_find_what_is_there(
    large: Tokenizer, large_vocabulary: Vocabulary, data: st.DataObject
) -> None:
    """Against a walk through all ids."""
    token = data.draw(st.integers(1, large.vocabulary_size - 1))
    rest = large.token_bytes(token) + data.draw(texts).encode()
    rest = rest[: data.draw(st.integers(1, 24))]
    longer, shorter = [], []
    for token in range(large.vocabulary_size):
        own = large.token_bytes(token)
        if own.startswith(rest):
            longer.append(token)
        elif own and rest.startswith(own):
            shorter.append(token)
    assert large_vocabulary.beginning_with(rest).tolist() == longer
    assert sorted(large_vocabulary.prefixes_of(rest).tolist()) == shorter
    # Every byte has a token, so that all bytes can be spelt.
    assert np.isfinite(large_vocabulary.log_chances(rest)).all()
    constraint = Constraint(large_vocabulary, rest)
    assert constraint.allowed is not None
    assert constraint.allowed.tolist() == sorted(longer + shorter)
    begins = dict(zip(constraint.allowed.tolist(), constraint.bias.tolist(), strict=True))
    assert all(begins[token] == 0 for token in longer)
    assert all(begins[token] < 0 for token in shorter)


# -- with a model ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large_model_directory(large: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(large, tmp_path_factory.mktemp("models") / "large", 128)


def test_an_engine_with_a_large_vocabulary_heals(
    large_model_directory: Path, large: Tokenizer
) -> None:
    from hyperclova.inference import Engine

    prompts = ["대한민국의 수", "오늘 저녁에는 ", "그는 뷁", "존경하는 대통", "끝.\n"]
    requests = [
        Request(prompt, 6, Sampling(seed=seed), n=2, logprobs=0, heal=True)
        for seed, prompt in enumerate(prompts)
    ]
    with Engine(large_model_directory) as engine:
        together = engine.generate(requests)
        assert together == [engine.generate([request])[0] for request in requests]
    for prompt, completion in zip(prompts, together, strict=True):
        assert completion.prompt_tokens == large.count(prompt)
        for choice in completion.choices:
            data = large.decode_bytes(token.id for token in choice.tokens)
            # The first token may have begun in the prompt; its text is what goes beyond.
            assert len(choice.tokens) == 6
            assert any(
                prompt.encode().endswith(data[:begun])
                and data[begun:].decode(errors="replace").startswith(choice.text)
                for begun in range(len(large.token_bytes(choice.tokens[0].id)))
            )


def test_greedy_text_goes_on_from_the_prompt(
    tiny_model_directory: Path, tiny_tokenizer: Tokenizer, vocabulary: Vocabulary
) -> None:
    """The whole loop with a real model: the text begins with the prompt, to the byte."""
    import torch

    from hyperclova.model.directory import load_model

    model = load_model(tiny_model_directory)
    for end in (5, 6, 7, 8, 15, 16, 20):
        prompt = TEXT[:end]
        healed = heal(tiny_tokenizer, prompt)
        constraint = Constraint(vocabulary, healed.remainder)
        ids = [tiny_tokenizer.end_of_text_id, *healed.ids]
        counted = 0
        while counted < 4:
            with torch.inference_mode():
                logits = model(torch.tensor([ids]))[0, -1]
            scores = logits[: tiny_tokenizer.vocabulary_size].double().numpy()
            scores[tiny_tokenizer.end_of_text_id] = -np.inf
            constraint.apply(scores)
            token = int(scores.argmax())
            ids.append(token)
            counted += constraint.accept(token)
        assert tiny_tokenizer.decode_bytes(ids).startswith(prompt.encode())
        assert len(tiny_tokenizer.decode_bytes(ids)) > len(prompt.encode())
