"""Soft prompts: read as embeddings in the places of tokens, cached, kept apart, saved."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors.numpy import load_file, save_file

from hyperclova.errors import UserError
from hyperclova.inference import Engine
from hyperclova.inference.protocol import Precision, Prompt, Request, Sampling
from hyperclova.inference.soft_prompt import SoftPrompt
from hyperclova.model import GPT
from hyperclova.model.directory import load_model

WIDTH = 64


@pytest.fixture(scope="module")
def long_engine(long_model_directory: Path) -> Iterator[Engine]:
    with Engine(long_model_directory, cache_bytes=0) as engine:
        yield engine


@pytest.fixture(scope="module")
def plain(long_model_directory: Path) -> GPT:
    return load_model(long_model_directory)


def soft(seed: int, rows: int) -> SoftPrompt:
    """As large as the embeddings of the test's model."""
    table = np.random.default_rng(seed).normal(0, 0.12, (rows, WIDTH))
    return SoftPrompt(table.astype(np.float32))


def spliced(engine: Engine, plain: GPT, prompt: Prompt, ids: Sequence[int] = ()) -> torch.Tensor:
    """The model's logits ``(positions, vocabulary)`` over embeddings put together by hand."""
    rows = []
    for piece in (*((prompt,) if isinstance(prompt, str) else prompt), *ids):
        if isinstance(piece, SoftPrompt):
            rows.append(torch.from_numpy(piece.table))
        else:
            tokens = engine.tokenizer.encode(piece) if isinstance(piece, str) else [piece]
            rows.append(plain.token_embedding(torch.tensor(tokens, dtype=torch.long)))
    return plain(embeddings=torch.cat(rows)[None])[0]


PROMPTS: dict[str, Prompt] = {
    "first": (soft(0, 20), "오늘 날씨는", 9),
    "between": ("서울의 인구는", soft(1, 5), 77, "입니다", soft(2, 3), " 그래서"),
    "last": ("옛날 옛적에", soft(3, 8)),
    "alone": (soft(4, 1),),
    "over blocks": (soft(5, 70), *range(1, 130), soft(6, 130), 5),
    "over chunks": (*range(1, 251), soft(7, 300), 8, 9),
    "twice the same": (soft(8, 64), soft(8, 64), 4),
}
EACH = pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)


@EACH
@torch.inference_mode()
def test_texts_are_those_of_spliced_embeddings(
    long_engine: Engine, plain: GPT, prompt: Prompt
) -> None:
    request = Request(prompt, 6, Sampling(temperature=0), logprobs=0, heal=False)
    (completion,) = long_engine.generate([request])
    found = completion.choices[0].tokens
    logits = spliced(long_engine, plain, prompt, [token.id for token in found])
    assert completion.prompt_tokens == len(logits) - len(found)
    behind = logits[completion.prompt_tokens - 1 : -1]
    ends = completion.choices[0].finish_reason == "stop"
    assert len(found) == 6 or ends
    best = behind[:, : long_engine.model.vocabulary_size].argmax(-1)
    assert [token.id for token in found] == best.tolist()
    for token, row in zip(found, behind.log_softmax(-1), strict=True):
        assert token.logprob == pytest.approx(row[token.id].item(), abs=1e-4)


@EACH
@torch.inference_mode()
def test_scores_are_those_of_spliced_embeddings(
    long_engine: Engine, plain: GPT, prompt: Prompt
) -> None:
    endings = [" 아주 좋습니다", "나무", ""]
    for score, ending in zip(long_engine.score_choices(prompt, endings), endings, strict=True):
        assert list(score.tokens) == long_engine.tokenizer.encode(ending)
        logprobs = spliced(long_engine, plain, prompt, score.tokens).log_softmax(-1)
        behind = logprobs[len(logprobs) - len(score.tokens) - 1 : -1]
        expected = [row[token].item() for row, token in zip(behind, score.tokens, strict=True)]
        assert score.logprobs == pytest.approx(expected, abs=1e-4)


@EACH
@torch.inference_mode()
def test_an_echo_tells_the_tokens_and_passes_over_the_rows(
    long_engine: Engine, plain: GPT, prompt: Prompt
) -> None:
    (completion,) = long_engine.generate([Request(prompt, 2, echo=True, logprobs=2)])
    places: list[tuple[int, int]] = []  # of the prompt's tokens: the position, the id
    position = 0
    for piece in prompt:
        if isinstance(piece, SoftPrompt):
            position += len(piece)
        else:
            ids = long_engine.tokenizer.encode(piece) if isinstance(piece, str) else [piece]
            places += enumerate(ids, start=position)
            position += len(ids)
    tokens = completion.choices[0].tokens
    assert completion.prompt_tokens == position
    assert [token.id for token in tokens[: len(places)]] == [token for _, token in places]
    assert len(tokens) - len(places) == completion.completion_tokens <= 2
    logprobs = spliced(long_engine, plain, prompt).log_softmax(-1)
    for (place, token), found in zip(places, tokens, strict=False):
        if place == 0:
            assert (found.logprob, found.top) == (None, ())
            continue
        row = logprobs[place - 1]
        assert found.logprob == pytest.approx(row[token].item(), abs=1e-4)
        assert [rival.logprob for rival in found.top] == pytest.approx(
            row[: long_engine.model.vocabulary_size].topk(2).values.tolist(), abs=1e-4
        )
    written = long_engine.tokenizer.decode([token for _, token in places])
    assert completion.text.startswith(written.rstrip("\ufffd"))


@torch.inference_mode()
def test_embeddings_of_prompts_with_rows(long_engine: Engine, plain: GPT) -> None:
    prompt = ("옛날", soft(1, 70), 5)
    ids = long_engine.tokenizer.encode("옛날")
    embeddings = torch.cat(
        [
            plain.token_embedding(torch.tensor(ids)),
            torch.from_numpy(prompt[1].table),
            plain.token_embedding(torch.tensor([5])),
        ]
    )
    states = plain.hidden(embeddings=embeddings[None])[0]
    (found,) = long_engine.embed([prompt])
    np.testing.assert_allclose(found, states.mean(0).numpy(), atol=1e-4)


def test_rows_of_the_embedding_are_tokens(long_engine: Engine, plain: GPT) -> None:
    """A soft prompt made of tokens' embeddings says what the tokens say."""
    ids = long_engine.tokenizer.encode("옛날 옛적에 깊은 산골에")
    table = plain.token_embedding.weight.detach()[ids].numpy()
    rows, tokens = (
        long_engine.generate([Request(prompt, 20, Sampling(seed=3), n=2, logprobs=0)])[0]
        for prompt in ((SoftPrompt(table),), tuple(ids))
    )
    assert [choice.text for choice in rows.choices] == [choice.text for choice in tokens.choices]


# -- numbers that overflow -------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize(
    "ask",
    [
        lambda engine, prompt: engine.generate([Request(prompt, 5, Sampling(temperature=0))]),
        lambda engine, prompt: engine.generate([Request(prompt, 5, Sampling(top_p=0.5), n=3)]),
        lambda engine, prompt: engine.generate([Request(prompt, 0, echo=True, logprobs=1)]),
        lambda engine, prompt: engine.score_choices(prompt, ["가", "나"]),
        lambda engine, prompt: engine.embed([prompt]),
        lambda engine, prompt: engine.embed([prompt], "last"),
    ],
    ids=["greedy", "sampled", "echo", "scores", "mean", "last"],
)
def test_a_prompt_that_overflows_is_refused_alone(
    long_model_directory: Path, precision: Precision, ask: Callable[[Engine, Prompt], object]
) -> None:
    """Rows of the largest numbers that float32 holds: their sum is infinite."""
    beside = [Request((1, 2, 3 + number), 40, Sampling(seed=number), n=2) for number in range(4)]
    overflows = (SoftPrompt(np.full((3, 64), 3e38, np.float32)), 1, 2)
    with (
        Engine(long_model_directory, precision=precision) as engine,
        ThreadPoolExecutor(1) as thread,
    ):
        expected = engine.generate(beside)
        found = thread.submit(engine.generate, beside)
        for _ in range(2):  # what the cache keeps of it changes nothing
            with pytest.raises(UserError, match="not finite"):
                ask(engine, overflows)
        assert found.result() == expected


# -- caching ---------------------------------------------------------------------------------------


def test_rows_are_cached_and_not_confused(long_model_directory: Path) -> None:
    """By their content: another soft prompt of the same shape, one number apart, is another."""
    table = soft(0, 100).table
    nearly = table.copy()
    nearly[0, 0] += 1e-3
    rest = tuple(range(1, 101))
    requests = [
        Request((SoftPrompt(each), *rest), 6, Sampling(seed=0), logprobs=2)
        for each in (table, nearly, table.copy())
    ]
    with Engine(long_model_directory, cache_bytes=0) as engine:
        expected = [engine.generate([request])[0] for request in requests]
    with Engine(long_model_directory) as engine:
        found = []
        reused = []
        for request in requests:
            found += engine.generate([request])
            reused.append(engine.statistics().reused_tokens)
        assert reused == [0, 0, 200]
        assert engine.statistics().cached_tokens == 2 * 200
        # The first 128 rows of a longer one are the same numbers, and yet another soft prompt.
        longer = SoftPrompt(np.concatenate([table, table]))
        engine.generate([Request((longer, 1), 1)])
        assert engine.statistics().reused_tokens == 200
    assert found == expected
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_soft_prompts_in_one_batch_are_kept_apart(
    long_model_directory: Path, precision: str
) -> None:
    requests = [
        Request((soft(seed, 30 + seed), "오늘은", *range(1, 40)), 8, Sampling(seed=1), logprobs=1)
        for seed in range(6)
    ]
    requests.insert(3, Request("오늘은", 8, Sampling(seed=1), logprobs=1))
    with Engine(long_model_directory, precision=precision, cache_bytes=0) as engine:
        together = engine.generate(requests)
        alone = [engine.generate([request])[0] for request in requests]
    assert together == alone
    assert len({completion.choices[0].tokens for completion in together}) == len(requests)


# -- refusals --------------------------------------------------------------------------------------


def test_another_width_is_refused(long_engine: Engine) -> None:
    other = SoftPrompt(np.zeros((3, 32), dtype=np.float32))
    message = "soft prompt of width 32; the model's embeddings have width 64: use one trained for"
    asks: list[Callable[[], object]] = [
        lambda: long_engine.generate([Request((5, other, "옛날"))]),
        lambda: long_engine.score_choices((other, 5), ["가"]),
        lambda: long_engine.embed([(other,)]),
    ]
    for ask in asks:
        with pytest.raises(UserError, match=message):
            ask()


def test_rows_count_for_the_context(long_engine: Engine) -> None:
    with pytest.raises(UserError, match=r"prompt has 640 tokens.*at most 639 fit"):
        long_engine.generate([Request((soft(0, 630), *range(10)), 1)])
    (completion,) = long_engine.generate([Request((soft(0, 630), *range(9)), 5)])
    assert (completion.prompt_tokens, completion.completion_tokens) == (639, 1)


# -- artifacts -------------------------------------------------------------------------------------


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    prompt = soft(0, 20)
    prompt.save(tmp_path / "task" / "prompt")
    loaded = SoftPrompt.load(str(tmp_path / "task" / "prompt"))
    assert loaded == prompt
    assert hash(loaded) == hash(prompt)
    assert loaded.fingerprint == prompt.fingerprint
    assert loaded.table.dtype == np.float32
    assert np.array_equal(loaded.table, prompt.table)
    assert (len(loaded), loaded.width) == (20, 64)
    soft(1, 3).save(tmp_path / "task" / "prompt")  # written over
    assert SoftPrompt.load(tmp_path / "task" / "prompt") == soft(1, 3)
    (file,) = (tmp_path / "task" / "prompt").iterdir()
    assert file.name == "soft_prompt.safetensors"
    assert list(load_file(file)) == ["table"]


def test_equal_are_those_with_equal_tables() -> None:
    table = soft(0, 4).table
    assert SoftPrompt(table) == SoftPrompt(table.astype(np.float64))
    assert SoftPrompt(table) != SoftPrompt(table.reshape(8, 32))
    assert SoftPrompt(table) != SoftPrompt(table * 2)
    assert SoftPrompt(table) != "옛날"
    assert SoftPrompt(table.T).table.flags.c_contiguous


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.zeros(5), r"\(tokens, width\), not \(5,\)"),
        (np.zeros((0, 64)), r"\(tokens, width\), not \(0, 64\)"),
        (np.zeros((2, 3, 4)), r"\(tokens, width\), not \(2, 3, 4\)"),
        (np.full((2, 3), np.nan), "not finite"),
        (np.full((2, 3), np.inf), "not finite"),
        (np.full((2, 3), 1e300), "not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_what_is_no_table_is_refused(table: np.ndarray, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        SoftPrompt(table)
    save_file({"table": table}, tmp_path / "soft_prompt.safetensors")
    with pytest.raises(
        UserError, match=rf"soft_prompt\.safetensors: not a soft prompt: .*{message}"
    ):
        SoftPrompt.load(tmp_path)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"soft_prompt\.safetensors: no such file; is .* a soft"):
        SoftPrompt.load(tmp_path / "missing")
    path = tmp_path / "soft_prompt.safetensors"
    path.write_bytes("이것은 텐서가 아니다".encode())
    with pytest.raises(UserError, match=r"soft_prompt\.safetensors: not a soft prompt"):
        SoftPrompt.load(tmp_path)
    save_file({"other": np.zeros((2, 3), dtype=np.float32)}, path)
    with pytest.raises(UserError, match=r"soft_prompt\.safetensors: has no tensor named table"):
        SoftPrompt.load(tmp_path)
    with pytest.raises(UserError, match="soft_prompt"):
        SoftPrompt.load(path)  # the file in place of its directory


def test_tables_in_bfloat16_are_refused(tmp_path: Path) -> None:
    """NumPy has no such type."""
    safetensors.torch.save_file(
        {"table": torch.zeros(2, 64, dtype=torch.bfloat16)}, tmp_path / "soft_prompt.safetensors"
    )
    with pytest.raises(UserError, match=r"bfloat16.*save the table in float32"):
        SoftPrompt.load(tmp_path)
