"""Nothing that is asked beside a request, before it or after it changes a bit of its answer.

Random mixes of requests go to an engine at once, from many threads, and a second time when their
prompts have been read. Some are left in between. All answers must be those of an engine without
a prefix cache that is asked one thing at a time.

Sixty mixes by default; ``HYPERCLOVA_MIXES=1000 pytest tests/inference/test_mixes.py`` is the long
form.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyperclova.inference import Engine
from hyperclova.inference.gather import gather
from hyperclova.inference.protocol import (
    Completion,
    Floats,
    Prompt,
    Request,
    Sampling,
    Score,
    Statistics,
)
from hyperclova.inference.soft_prompt import SoftPrompt

MIXES = int(os.environ.get("HYPERCLOVA_MIXES", "60"))
CHUNK_BYTES = 2 * 2 * 64 * 256 * 4  # of the test's model: 2 layers of width 64
BORDERS = [0, 1, 63, 64, 65, 127, 128, 200, 255, 256, 257, 320, 384, 450]

Answer = Completion | list[Score] | Floats


@dataclass(frozen=True)
class Generate:
    request: Request
    leaves_after: int | None
    """Chunks after which the one who asks goes away."""

    def ask(self, engine: Engine) -> Completion:
        return engine.generate([self.request])[0]

    def check(self, engine: Engine, expected: Answer) -> None:
        assert isinstance(expected, Completion)
        if self.leaves_after is None:
            assert self.ask(engine) == expected
            return
        with engine.stream(self.request) as stream:
            chunks = [chunk for _, chunk in zip(range(self.leaves_after), stream, strict=False)]
        for found, whole in zip(
            gather(chunks, self.request.n).choices, expected.choices, strict=True
        ):
            assert whole.text.startswith(found.text)
            assert whole.tokens[: len(found.tokens)] == found.tokens


@dataclass(frozen=True)
class ScoreChoices:
    prompt: Prompt
    continuations: tuple[str, ...]

    def ask(self, engine: Engine) -> list[Score]:
        return engine.score_choices(self.prompt, self.continuations)

    def check(self, engine: Engine, expected: Answer) -> None:
        assert self.ask(engine) == expected


@dataclass(frozen=True)
class Embed:
    prompt: Prompt
    pooling: str

    def ask(self, engine: Engine) -> Floats:
        return engine.embed([self.prompt], self.pooling)

    def check(self, engine: Engine, expected: Answer) -> None:
        assert np.array_equal(self.ask(engine), expected)


Question = Generate | ScoreChoices | Embed


def soft(seed: int) -> SoftPrompt:
    table = np.random.default_rng(seed).normal(0, 0.12, (70, 64))
    return SoftPrompt(table.astype(np.float32))


SOFT = [soft(seed) for seed in range(2)]
STORY = "옛날 옛적에 깊은 산골 마을에 마음씨 착한 나무꾼이 홀어머니를 모시고 살았습니다. "


@st.composite
def prompts(draw: st.DrawFn) -> Prompt:
    """Of a few beginnings, shared up to and over the borders of blocks and chunks, and an end of
    their own."""
    if draw(st.integers(0, 4)) == 0:
        return (STORY * 9)[: draw(st.sampled_from([0, 1, 20, 45, 90, 200, 300]))]
    salt, border = draw(st.integers(0, 1)), draw(st.sampled_from(BORDERS))
    own, rest = draw(st.integers(0, 3)), draw(st.sampled_from([0, 1, 2, 30, 64, 65]))
    beginning = tuple((salt + 7 * place) % 470 for place in range(border))
    before = draw(st.sampled_from([(), (), (SOFT[0],), (SOFT[1],)]))
    end = tuple((100 * own + 3 * place) % 470 for place in range(rest))
    return (*before, *beginning, *end)


SAMPLINGS = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.7, 1.0, 1.5]),
    top_k=st.sampled_from([0, 0, 3, 40]),
    top_p=st.sampled_from([0.5, 0.9, 1.0]),
    repetition_penalty=st.sampled_from([1.0, 1.2]),
    frequency_penalty=st.sampled_from([0.0, 0.5]),
    presence_penalty=st.sampled_from([0.0, 0.5]),
    logit_bias=st.sampled_from([{}, {65: 3.0}]),
    seed=st.integers(0, 2**63 - 1),
)
QUESTIONS: st.SearchStrategy[Question] = st.one_of(
    *[
        st.builds(
            Generate,
            request=st.builds(
                Request,
                prompt=prompts(),
                max_tokens=st.integers(0, 9),
                sampling=SAMPLINGS,
                stop=st.sampled_from([(), (), ("다", "가나")]),
                n=st.sampled_from([1, 1, 2, 3]),
                logprobs=st.sampled_from([None, 0, 2]),
                echo=st.sampled_from([False, False, True]),
                client=st.sampled_from(["", "가", "나"]),
            ),
            leaves_after=st.sampled_from([None, None, None, 0, 1, 4]),
        )
    ]
    * 3,
    st.builds(
        ScoreChoices,
        prompt=prompts(),
        continuations=st.lists(st.text("가나다 라마", max_size=9), max_size=4).map(tuple),
    ),
    st.builds(Embed, prompt=prompts(), pooling=st.sampled_from(["mean", "last"])),
)


@pytest.fixture(scope="module", autouse=True)
def two_threads() -> Iterator[None]:
    """At most. Where our own kernels are not, torch with three, five or six divides a long batch in
    the middle of a vector, and computes GELU's ends of vectors by other means: the last bits may
    differ."""
    threads = torch.get_num_threads()
    torch.set_num_threads(min(threads, 2))
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=["float32", "int8"])
def reference(request: pytest.FixtureRequest, long_model_directory: Path) -> Iterator[Engine]:
    with Engine(long_model_directory, precision=request.param, cache_bytes=0) as engine:
        yield engine


def test_answers_do_not_depend_on_the_company(
    reference: Engine, between_steps: Callable[[Engine, Callable[[], None]], None]
) -> None:
    reused = 0

    @settings(max_examples=-(-MIXES // 2), suppress_health_check=[HealthCheck.too_slow])
    @given(
        questions=st.lists(QUESTIONS, min_size=2, max_size=7),
        rows=st.sampled_from([1, 2, 4, 16]),
        chunks=st.sampled_from([1, 3, 100]),
    )
    def check(questions: Sequence[Question], rows: int, chunks: int) -> None:
        nonlocal reused
        found: list[Statistics] = []
        expected = [question.ask(reference) for question in questions]
        with (
            Engine(
                reference.directory,
                precision=reference.model.precision,
                rows=rows,
                cache_bytes=chunks * CHUNK_BYTES,
            ) as engine,
            ThreadPoolExecutor(len(questions)) as threads,
        ):
            for order in (1, -1):
                checks = [
                    threads.submit(question.check, engine, answer)
                    for question, answer in list(zip(questions, expected, strict=True))[::order]
                ]
                for done in checks:
                    done.result()
                between_steps(engine, lambda: found.append(engine.statistics()))
                assert (found[-1].running, found[-1].waiting) == (0, 0)
                assert found[-1].cache_bytes <= chunks * CHUNK_BYTES
            reused += found[-1].reused_tokens

    check()
    assert reused > 20 * MIXES  # mostly 150 to 300, but what is drawn varies
