"""Scores of continuations and embeddings of prompts are those of a plain forward pass."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperclova.errors import UserError
from hyperclova.inference import Engine
from hyperclova.inference.protocol import Request, Score
from hyperclova.model import GPT
from hyperclova.model.directory import load_model
from hyperclova.tokenizer.train import train
from random_models import write_random_model

STORY = "옛날 옛적에 깊은 산골 마을에 마음씨 착한 나무꾼이 홀어머니를 모시고 살았습니다. "
ENDINGS = (
    " 어느 날 사슴이",
    " 그래서",
    " 나무를 하러 산에 갔습니다. " * 6,
    " 어느 날 호랑이가",
    "",
)


@pytest.fixture(scope="module")
def long_engine(long_model_directory: Path) -> Iterator[Engine]:
    with Engine(long_model_directory) as engine:
        yield engine


@pytest.fixture(scope="module")
def plain(long_model_directory: Path) -> GPT:
    return load_model(long_model_directory)


def expected_logprobs(plain: GPT, before: Sequence[int], tokens: Sequence[int]) -> list[float]:
    """Of ``tokens``, by one forward pass over everything."""
    with torch.inference_mode():
        logits = plain(torch.tensor([[*before, *tokens]]))[0, len(before) - 1 : -1]
        logprobs = logits.log_softmax(-1)
    return [row[token].item() for row, token in zip(logprobs, tokens, strict=False)]


def encoded(engine: Engine, prompt: str | tuple[int, ...]) -> tuple[int, ...]:
    return tuple(engine.tokenizer.encode(prompt)) if isinstance(prompt, str) else prompt


# -- scores ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 3, 8])
def test_choices_are_scored_as_by_one_forward_pass(
    long_engine: Engine, plain: GPT, times: int
) -> None:
    """Prompts of one to several blocks, continuations from none to more than one block."""
    prompt = (STORY * times).rstrip()
    scores = long_engine.score_choices(prompt, ENDINGS)
    ids = encoded(long_engine, prompt)
    assert len(scores[2].tokens) > 64
    for score, ending in zip(scores, ENDINGS, strict=True):
        assert long_engine.tokenizer.decode(score.tokens) == ending
        expected = expected_logprobs(plain, ids, score.tokens)
        assert score.logprobs == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("prompt", "endings"),
    [
        (STORY.rstrip(), ENDINGS),
        ((STORY * 8).rstrip(), ENDINGS),
        ("질문: 재미있나요?\n답:", [" 네", " 아니요", ""]),
        ("나는 학교", ["에 간다", "를 좋아한다", "!"]),
    ],
)
def test_choices_are_scored_as_one_by_one_and_as_by_echo(
    long_engine: Engine, prompt: str, endings: Sequence[str]
) -> None:
    scores = long_engine.score_choices(prompt, endings)
    assert scores == [long_engine.score(prompt, ending) for ending in endings]
    for score, ending in zip(scores, endings, strict=True):
        request = Request(prompt + ending, 0, echo=True, logprobs=1)
        (choice,) = long_engine.generate([request])[0].choices
        tokens = [token for token in choice.tokens if token.offset >= len(prompt)]
        assert [token.id for token in tokens] == list(score.tokens)
        logprobs = [token.logprob for token in tokens]
        assert logprobs == pytest.approx(score.logprobs, abs=1e-4)
        assert score.total == pytest.approx(sum(logprobs), abs=1e-4)
        assert score.greedy == all(token.id == token.top[0].id for token in tokens)


IDS = st.integers(0, 479)
LENGTHS = st.sampled_from([1, 2, 63, 64, 65, 127, 128, 129, 255, 256, 257, 300, 500])


@settings(max_examples=15)
@given(length=LENGTHS, salt=IDS, endings=st.lists(st.text("가나다 라", max_size=8), max_size=6))
def test_cold_and_warm_scores_are_the_same_bits(
    long_model_directory: Path, length: int, salt: int, endings: list[str]
) -> None:
    prompt = tuple((salt + 7 * place) % 480 for place in range(length))
    with Engine(long_model_directory) as engine:
        cold = engine.score_choices(prompt, endings)
        read = engine.statistics().read_tokens
        assert engine.statistics().reused_tokens == 0
        warm = engine.score_choices(prompt, endings)
        reused = length if endings else 0
        assert engine.statistics().reused_tokens == reused
        assert engine.statistics().read_tokens == 2 * read - reused
        one_by_one = [engine.score(prompt, ending) for ending in endings]
    with Engine(long_model_directory, cache_bytes=0) as engine:
        uncached = engine.score_choices(prompt, endings)
    assert cold == warm == one_by_one == uncached


def test_the_prompt_is_read_once(long_model_directory: Path) -> None:
    with Engine(long_model_directory, cache_bytes=0) as engine:
        prompt = tuple(range(1, 301))
        scores = engine.score_choices(prompt, ["가나다라", "나", "다라마", ""])
        # The last token of a continuation is not read: nothing comes after it.
        rests = sum(max(len(score.tokens) - 1, 0) for score in scores)
        assert engine.statistics().read_tokens == 300 + rests


def test_a_merge_over_the_boundary_is_not_scored(long_engine: Engine, plain: GPT) -> None:
    """Where the whole text's tokens do not part at the boundary, the two are encoded apart."""
    tokenizer = long_engine.tokenizer
    token = next(
        token
        for token in range(tokenizer.vocabulary_size)
        if (text := tokenizer.token_bytes(token).decode("utf-8", "ignore"))
        and len(text) >= 2
        and tokenizer.encode(text) == [token]
    )
    text = tokenizer.token_bytes(token).decode()
    score = long_engine.score(text[:1], text[1:])
    prompt, continuation = tokenizer.encode(text[:1]), tokenizer.encode(text[1:])
    assert list(score.tokens) == continuation
    expected = expected_logprobs(plain, prompt, continuation)
    assert score.logprobs == pytest.approx(expected, abs=1e-4)


def test_prompts_with_other_ids_before_other_continuations(
    korean_lines: list[str], tmp_path: Path
) -> None:
    """A word that the prompt leaves open may be cut into tokens in another way as soon as it goes
    on; each continuation is scored behind the ids that stand before it in the joined text."""
    prompt, endings = "산을 넘어", ["간다.", " 갔다", "오고,", "", "서 왔다"]
    tokenizer = train(korean_lines, vocabulary_size=800)
    directory = write_random_model(tokenizer, tmp_path / "model", 128)
    plain = load_model(directory)
    with Engine(directory) as engine:
        scores = engine.score_choices(prompt, endings)
        assert scores == [engine.score(prompt, ending) for ending in endings]
    ways = set()
    for score, ending in zip(scores, endings, strict=True):
        joined = tuple(tokenizer.encode(prompt + ending))
        before = joined[: len(joined) - len(score.tokens)]
        assert (*before, *score.tokens) == joined
        assert tokenizer.decode(before) == prompt
        ways.add(before)
        expected = expected_logprobs(plain, before, score.tokens)
        assert score.logprobs == pytest.approx(expected, abs=1e-4)
    assert len(ways) == 2


def test_nothing_before_begins_a_document(long_engine: Engine, plain: GPT) -> None:
    end = long_engine.tokenizer.end_of_text_id
    for nothing in ("", ()):
        for score, text in zip(
            long_engine.score_choices(nothing, ["옛날", "서울의 인구는"]),
            ["옛날", "서울의 인구는"],
            strict=True,
        ):
            assert score.tokens == encoded(long_engine, text)
            expected = expected_logprobs(plain, [end], score.tokens)
            assert score.logprobs == pytest.approx(expected, abs=1e-4)


def test_nothing_asked_and_nothing_after(long_engine: Engine) -> None:
    assert long_engine.score_choices(STORY, []) == []
    assert long_engine.score_choices(STORY, ["", ""]) == [Score((), (), True)] * 2


def test_the_context_can_be_filled(long_engine: Engine, plain: GPT) -> None:
    tokens = encoded(long_engine, "가나다라마")
    prompt = tuple(place % 470 for place in range(640 - len(tokens)))
    score = long_engine.score(prompt, "가나다라마")
    expected = expected_logprobs(plain, prompt, tokens)
    assert score.logprobs == pytest.approx(expected, abs=1e-4)
    with pytest.raises(UserError, match="prompt has 641 tokens"):
        long_engine.score_choices((*prompt, 1), ["가", "가나다라마"])
    with pytest.raises(UserError, match="token id 480"):
        long_engine.score_choices((480,), ["가"])


def test_greedy_scores_say_so(long_engine: Engine) -> None:
    """Where each token is the most likely one, and only there."""
    for letter in "가나다라마바사아자차카타파하":
        prompt = encoded(long_engine, "서울의 인구는" + letter)
        (answer,) = long_engine.generate([Request(prompt, 1, logprobs=1)])
        token = answer.choices[0].tokens[0].top[0]
        if long_engine.tokenizer.encode(token.text) == [token.id]:
            break
    else:
        pytest.fail("after no prompt is the most likely token a text by itself")
    other = "가" if token.text != "가" else "나"
    likely, unlikely, mixed = long_engine.score_choices(
        prompt, [token.text, other, token.text + "뷁"]
    )
    assert likely.tokens == (token.id,)
    assert (likely.greedy, unlikely.greedy, mixed.greedy) == (True, False, False)
    assert likely.logprobs[0] == token.logprob
    assert likely.total > unlikely.total


# -- embeddings ------------------------------------------------------------------------------------


def expected_states(plain: GPT, ids: Sequence[int]) -> torch.Tensor:
    with torch.inference_mode():
        return plain.hidden(torch.tensor([list(ids)]))[0]


PROMPTS = ["옛날", STORY, "", (5,), tuple(range(1, 65)), tuple(range(470)), (STORY * 8)[:300]]


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_embeddings_are_pooled_states(long_engine: Engine, plain: GPT, pooling: str) -> None:
    found = long_engine.embed(PROMPTS, pooling)
    assert (found.shape, found.dtype) == ((len(PROMPTS), 64), np.float32)
    end = long_engine.tokenizer.end_of_text_id
    for row, prompt in zip(found, PROMPTS, strict=True):
        states = expected_states(plain, encoded(long_engine, prompt) or [end])
        expected = states.mean(0) if pooling == "mean" else states[-1]
        np.testing.assert_allclose(row, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_embeddings_are_the_same_bits_alone_and_again(
    long_model_directory: Path, precision: str, pooling: str
) -> None:
    with Engine(long_model_directory, precision=precision) as engine:
        together = engine.embed(PROMPTS, pooling)
        again = engine.embed(PROMPTS[::-1], pooling)[::-1]
        alone = np.concatenate([engine.embed([prompt], pooling) for prompt in PROMPTS])
    assert np.array_equal(together, again)
    assert np.array_equal(together, alone)


def test_no_prompts_no_embeddings(long_engine: Engine) -> None:
    assert long_engine.embed([]).shape == (0, 64)
    with pytest.raises(UserError, match=r"prompt has 641 tokens.*at most 640 fit"):
        long_engine.embed([(1,) * 641])
    assert long_engine.embed([(1,) * 640]).shape == (1, 64)


# -- precision -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "error"), [("bfloat16", 0.5), ("int8", 0.5)])
def test_low_precision_scores_are_near(
    long_model_directory: Path, long_engine: Engine, precision: str, error: float
) -> None:
    """The test's model has large weights, whose rounding counts for more than a trained one's."""
    with Engine(long_model_directory, precision=precision) as engine:
        assert engine.model == replace(long_engine.model, precision=precision)
        found = engine.score_choices(STORY * 3, ENDINGS)
    expected = long_engine.score_choices(STORY * 3, ENDINGS)
    differences = [
        low - high
        for one, other in zip(found, expected, strict=True)
        for low, high in zip(one.logprobs, other.logprobs, strict=True)
    ]
    assert 0 < np.sqrt(np.mean(np.square(differences))) < error


def test_more_choices_than_are_read_at_once(engine: Engine) -> None:
    """Some of them one token long, some of none."""
    chance = random.Random(3)
    letters = "가나다라마바사아자차 뷁"
    many = ["".join(chance.choices(letters, k=chance.randrange(5))) for _ in range(700)]
    prompt = (5, "옛날 옛적에 ")
    found = engine.score_choices(prompt, many)
    for at in range(0, len(many), 90):
        part = many[at : at + 90]
        for score, expected in zip(found[at:], engine.score_choices(prompt, part), strict=False):
            assert (score.tokens, score.greedy) == (expected.tokens, expected.greedy)
            assert score.logprobs == pytest.approx(expected.logprobs, abs=1e-4)
