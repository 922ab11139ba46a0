"""The engine whose tokens are written in steps of fixed shapes: it says what it says otherwise.

On a CPU, where nothing is recorded; what only a GPU can show is in ``test_cuda.py``.
"""

import gc
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from ties import same_text

from hyperclova.inference import Engine, writing
from hyperclova.inference import pool as pool_module
from hyperclova.inference.cache import KeyValues, OutOfChunks
from hyperclova.inference.device_sampling import choose_on_device
from hyperclova.inference.pool import ChunkPool
from hyperclova.inference.protocol import Completion, Prompt, Request, Sampling
from hyperclova.inference.soft_prompt import SoftPrompt

CHUNK_BYTES = 2 * 2 * 64 * 256 * 4  # of the test's model: 2 layers of width 64
STORY = "옛날 옛적에 깊은 산골 마을에 마음씨 착한 나무꾼이 홀어머니를 모시고 살았습니다. "


def static(directory: Path, rows: int = 16, cache_bytes: int = 1 << 30) -> Engine:
    return Engine(
        directory,
        device="cpu",
        precision="float32",
        rows=rows,
        cache_bytes=cache_bytes,
        decoding="static",
    )


def pool_of(engine: Engine) -> ChunkPool:
    pool = engine._scheduler.runner._pool
    assert pool is not None
    return pool


@pytest.fixture(scope="module")
def reference(long_model_directory: Path) -> Iterator[Engine]:
    with Engine(long_model_directory, device="cpu", cache_bytes=0) as engine:
        yield engine


def prompt(drawn: random.Random) -> Prompt:
    """Beginnings that many share, with soft prompts before some, and an end of its own."""
    if drawn.random() < 0.2:
        return (STORY * 9)[: drawn.choice([0, 1, 20, 90, 300])]
    border, rest = drawn.choice([0, 1, 63, 64, 128, 255, 256, 257, 450]), drawn.choice([0, 1, 30])
    salt = drawn.randrange(2)
    table = np.random.default_rng(salt).normal(0, 0.12, (70, 64)).astype(np.float32)
    before = (SoftPrompt(table),) if drawn.random() < 0.3 else ()
    beginning = tuple((salt + 7 * place) % 470 for place in range(border))
    return (*before, *beginning, *(drawn.randrange(470) for _ in range(rest)))


def request(drawn: random.Random) -> Request:
    return Request(
        prompt(drawn),
        max_tokens=drawn.randrange(12),
        sampling=Sampling(temperature=0, presence_penalty=drawn.choice([0, 0.5])),
        n=drawn.choice([1, 1, 2, 3]),
        logprobs=2,
        echo=drawn.random() < 0.2,
    )


@pytest.mark.parametrize("seed", range(12))
def test_mixes_say_what_they_say_by_themselves(reference: Engine, seed: int) -> None:
    drawn = random.Random(seed)
    requests = [request(drawn) for _ in range(drawn.randint(2, 8))]
    expected = reference.generate(requests)
    rows, cached = drawn.choice([1, 3, 16]), drawn.choice([0, 2, 100])
    with static(reference.directory, rows, cached * CHUNK_BYTES) as engine:
        pool = pool_of(engine)
        chunks = pool.store.shape[2] - 1
        with ThreadPoolExecutor(len(requests)) as threads:
            for _ in range(2):  # the second time with prompts that have been read
                answers = threads.map(lambda each: engine.generate([each])[0], requests)
                for found, each in zip(answers, expected, strict=True):
                    same_text(found, each)
    assert pool.free == chunks


def test_tokens_chosen_as_on_a_device(reference: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [
        Request(text, 20, Sampling(temperature, top_p=top_p, seed=3), logprobs=2, heal=heal)
        for text in ("옛날 옛적에 깊은 산", "오늘은 날씨가 ")
        for temperature, top_p in ((0.0, 1.0), (0.9, 1.0), (0.9, 0.8))
        for heal in (False, True)
    ]
    expected = reference.generate(requests)
    monkeypatch.setattr(writing, "choose", choose_on_device)
    with static(reference.directory) as engine:
        for found, each in zip(engine.generate(requests), expected, strict=True):
            assert ids_of(found) == ids_of(each)


def ids_of(completion: Completion) -> list[int]:
    return [token.id for token in completion.choices[0].tokens]


def test_scores_and_embeddings(reference: Engine) -> None:
    prompts = [STORY * 3, "가", STORY]
    with static(reference.directory) as engine:
        np.testing.assert_allclose(
            engine.embed(prompts), reference.embed(prompts), atol=1e-3, rtol=1e-3
        )
        continuations = [" 나무꾼이", " 다람쥐가 나무에서", "", " 비"]
        found = engine.score_choices(STORY, continuations)
        for mine, theirs in zip(found, reference.score_choices(STORY, continuations), strict=True):
            assert mine.tokens == theirs.tokens
            assert mine.logprobs == pytest.approx(theirs.logprobs, abs=1e-3)


def test_who_leaves_gives_its_chunks_back(reference: Engine) -> None:
    with static(reference.directory, cache_bytes=0) as engine:
        chunks = pool_of(engine).free
        with engine.stream(STORY * 3, max_tokens=200, n=4) as stream:
            next(iter(stream))
        engine.generate("가", max_tokens=1)
        assert pool_of(engine).free == chunks


# -- less memory than is asked for -----------------------------------------------------------------


@pytest.fixture
def four_chunks(reference: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine whose device has memory for four chunks and scratch; a context is three."""
    free = 5 * CHUNK_BYTES / pool_module._SHARE
    monkeypatch.setattr(pool_module, "free_memory_of", lambda device: free)
    with static(reference.directory) as engine:
        assert pool_of(engine).free == 4
        yield engine


def long(first: int) -> Request:
    """A prompt of two chunks; ten tokens later it takes a third."""
    ids = tuple((first + 7 * place) % 470 for place in range(505))
    return Request(ids, max_tokens=100, sampling=Sampling(temperature=0, logit_bias={0: -100}))


def outcomes(engine: Engine, requests: Sequence[Request]) -> list[Completion | BaseException]:
    def ask(request: Request) -> Completion | BaseException:
        try:
            return engine.generate([request])[0]
        except OutOfChunks as error:
            return error

    with ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(ask, requests))


def test_without_memory_one_request_ends_and_the_others_go_on(
    four_chunks: Engine, reference: Engine
) -> None:
    requests = [long(0), long(1)]
    found = outcomes(four_chunks, requests)
    (error,) = (each for each in found if isinstance(each, BaseException))
    assert "4 chunks of 256 positions are in use; try again" in str(error)
    # Even while somebody holds on to the error.
    for request, answer in zip(requests, found, strict=True):
        (expected,) = reference.generate([request])
        if isinstance(answer, BaseException):
            (answer,) = four_chunks.generate([request])
        assert answer == expected


def test_prompts_that_were_kept_give_way(four_chunks: Engine, reference: Engine) -> None:
    for first in (0, 1, 2):
        assert four_chunks.generate([long(first)]) == reference.generate([long(first)])
    assert four_chunks.statistics().cache_bytes


def test_many_continuations_wait_for_memory(four_chunks: Engine, reference: Engine) -> None:
    continuations = [f" {word}" for word in (STORY * 2).split()]
    found = four_chunks.score_choices(STORY, continuations)
    expected = reference.score_choices(STORY, continuations)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.logprobs == pytest.approx(theirs.logprobs, abs=1e-3)


def test_prompts_of_those_who_wait_are_read_again(reference: Engine) -> None:
    """Of many requests for several choices the further choices come last; all prompts at once
    would be more than there is memory for."""
    requests = [
        Request(
            long(first).prompt[:400],
            max_tokens=5,
            sampling=Sampling(temperature=0),
            n=3,
            logprobs=2,
            echo=bool(first % 2),
        )
        for first in range(5)
    ]
    expected = reference.generate(requests)
    with static(reference.directory, rows=1, cache_bytes=0) as engine:
        assert pool_of(engine).free == 4
        found = engine.generate(requests)
        assert engine.statistics().read_tokens > 5 * 400
        for mine, theirs in zip(found, expected, strict=True):
            same_text(mine, theirs)


def test_what_fails_gives_its_chunks_back_at_once(
    reference: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not somebody holds on to the error, and before any garbage is collected."""
    with static(reference.directory, cache_bytes=0) as engine:
        pool = pool_of(engine)
        chunks = pool.free
        failing = iter([None] * 2 + [MemoryError("no more")])
        reserve = KeyValues.reserve

        def reserving(cache: KeyValues, tokens: int) -> None:
            if error := next(failing, None):
                raise error
            reserve(cache, tokens)

        monkeypatch.setattr(KeyValues, "reserve", reserving)
        gc.disable()
        try:
            with pytest.raises(MemoryError) as held:
                engine.score_choices(STORY * 3, [" 나무꾼이 산에", " 비가 온다"])
            failing = iter([None] * 5 + [MemoryError("no more")])
            with pytest.raises(MemoryError) as also_held:
                engine.generate(STORY * 3, max_tokens=50, n=3)
            engine.generate("가", max_tokens=1)
            assert pool.free == chunks
        finally:
            gc.enable()
        assert held.value is not also_held.value
