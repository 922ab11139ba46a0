"""The engine on a server: our own, over real HTTP, is the engine of this process."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from hyperclova.cli.generate import generate
from hyperclova.errors import UserError
from hyperclova.inference import Engine
from hyperclova.inference.protocol import (
    Choice,
    Completion,
    EngineBusy,
    EngineDied,
    GradientRequest,
    Request,
    Sampling,
    Score,
    TokenResult,
)
from hyperclova.inference.remote import RemoteEngine
from hyperclova.inference.soft_prompt import SoftPrompt
from hyperclova.tokenizer import Tokenizer
from studio_process import PATIENCE, Server, wait_for

ENDLESS = Request("옛날 옛적에", max_tokens=110, n=128, sampling=Sampling(logit_bias={0: -100.0}))


@pytest.fixture(scope="module")
def server(
    tiny_model_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    server = Server(tiny_model_directory, home, "--precision", "float32")
    try:
        yield server.wait_until_ready()
    finally:
        server.stop()


@pytest.fixture(scope="module")
def remote(server: Server) -> Iterator[RemoteEngine]:
    """Without a tokenizer: texts are cut into tokens by the server."""
    with RemoteEngine(f"{server.address}/v1") as remote:
        yield remote


@pytest.fixture(scope="module")
def informed(server: Server, tiny_model_directory: Path) -> Iterator[RemoteEngine]:
    """With the model's tokenizer."""
    tokenizer = Tokenizer.load(tiny_model_directory)
    with RemoteEngine(server.address, "tiny", tokenizer=tokenizer) as remote:
        yield remote


@pytest.fixture(params=["remote", "informed"])
def either(request: pytest.FixtureRequest) -> RemoteEngine:
    engine = request.getfixturevalue(request.param)
    assert isinstance(engine, RemoteEngine)
    return engine


def test_what_is_known_of_the_model(remote: RemoteEngine, engine: Engine) -> None:
    assert replace(remote.model, created=0) == replace(engine.model, created=0)
    assert abs(remote.model.created - engine.model.created) <= 1


GREEDY = Sampling(temperature=0)
REQUESTS = [
    Request("오늘 아침에는", 30, GREEDY),
    Request("옛날 옛적에", 20, Sampling(seed=11), n=3, logprobs=2),
    Request("서울의 인구는", 25, Sampling(0.8, 20, 0.9, 1.3, seed=5), stop=("다", "요")),
    Request("한글은", 12, Sampling(frequency_penalty=0.5, presence_penalty=0.3, seed=2)),
    Request("뷁😀", 8, Sampling(seed=3, logit_bias={7: 4.0}), echo=True, logprobs=3, n=2),
    Request("", 6, Sampling(seed=4), logprobs=0),
    Request((5, 9, 300), 6, GREEDY, echo=True),
    Request((5, "서울의 인구는", 300), 6, Sampling(seed=6), logprobs=1),
    Request("줄바꿈이 아닌 것들: \u2028\u2029\x85\x0b\x1c", 3, GREEDY, echo=True),
    Request("값을 매길 글이다.", 0, GREEDY, echo=True, logprobs=5),
]


def test_a_batch_is_what_the_engine_makes_of_it(informed: RemoteEngine, engine: Engine) -> None:
    ours, theirs = engine.generate(REQUESTS), informed.generate(REQUESTS)
    for our, their in zip(ours, theirs, strict=True):
        assert_alike(our, their)


def test_without_a_tokenizer_only_ids_are_missing(remote: RemoteEngine, engine: Engine) -> None:
    for our, their in zip(engine.generate(REQUESTS), remote.generate(REQUESTS), strict=True):
        for choice in their.choices:
            # The server names what stands there by its id, rivals only by their text.
            assert all(token.id >= 0 for token in choice.tokens)
            assert all(rival.id == -1 for token in choice.tokens for rival in token.top)
        assert_alike(our, their, rivals_have_ids=False)


def assert_alike(our: Completion, their: Completion, rivals_have_ids: bool = True) -> None:
    assert their.prompt_tokens == our.prompt_tokens
    assert their.completion_tokens == our.completion_tokens

    def without_numbers(choice: Choice) -> Choice:
        def plain(token: TokenResult) -> TokenResult:
            top = [replace(rival, logprob=None) for rival in token.top]
            if not rivals_have_ids:
                top = [replace(rival, id=-1) for rival in top]
            return replace(token, logprob=None, top=tuple(top))

        return replace(choice, tokens=tuple(map(plain, choice.tokens)))

    def numbers(choice: Choice) -> list[float]:
        return [
            each.logprob if each.logprob is not None else 1.0
            for token in choice.tokens
            for each in (token, *token.top)
        ]

    for mine, other in zip(our.choices, their.choices, strict=True):
        assert without_numbers(mine) == without_numbers(other)
        assert numbers(other) == pytest.approx(numbers(mine), abs=1e-4)


def test_chunks_come_as_they_are_written(remote: RemoteEngine, engine: Engine) -> None:
    request = Request("옛날 옛적에", 12, Sampling(seed=4), n=2, logprobs=1)
    with remote.stream(request) as chunks:
        theirs = list(chunks)
    for index in range(2):
        ours = [chunk for chunk in engine.stream(request) if chunk.choice == index]
        counted = [chunk.completion_tokens for chunk in ours]
        mine = [chunk for chunk in theirs if chunk.choice == index]
        assert "".join(c.text for c in mine) == "".join(c.text for c in ours)
        assert {chunk.completion_tokens for chunk in mine} <= set(counted)
        assert mine[-1].completion_tokens == counted[-1]
        assert [chunk.finish_reason for chunk in mine[:-1]] == [None] * (len(mine) - 1)
        assert mine[-1].finish_reason == ours[-1].finish_reason
    assert len(theirs) > 4


SCORED = [
    ("옛날 옛적에", " 깊은 산골에"),
    ("대한민국의 수도는 ", "서울이다."),  # a token may want to reach over the space
    ("아침에 일어", "나서 밥을 먹었다."),  # inside a word
    ("뷁", "쀍쀍"),  # each syllable is spread over tokens
    ("손을 흔들었다 😀", "😀"),
    ("가", "나"),
]


@pytest.mark.parametrize(("prompt", "continuation"), SCORED)
def test_scores(either: RemoteEngine, engine: Engine, prompt: str, continuation: str) -> None:
    assert_same_score(either.score(prompt, continuation), engine.score(prompt, continuation))


def assert_same_score(their: Score, our: Score) -> None:
    assert their.tokens == our.tokens
    assert their.greedy == our.greedy
    assert their.logprobs == pytest.approx(our.logprobs, abs=1e-4)


def test_scores_after_pieces_and_after_nothing(
    remote: RemoteEngine, informed: RemoteEngine, engine: Engine
) -> None:
    pieces = (5, "서울의 ", 300)
    for each in (remote, informed):
        assert_same_score(each.score(pieces, "인구는"), engine.score(pieces, "인구는"))
    assert_same_score(informed.score("", "옛날에"), engine.score("", "옛날에"))
    with pytest.raises(UserError, match="needs the model's tokenizer"):
        remote.score("", "옛날에")


def test_what_the_model_would_write_is_greedy(either: RemoteEngine, engine: Engine) -> None:
    written = engine.generate("오늘 아침에는", max_tokens=4, temperature=0).text
    ours = engine.score("오늘 아침에는", written)
    theirs = either.score("오늘 아침에는", written)
    assert_same_score(theirs, ours)


def test_choices_are_scored_as_one_by_one(either: RemoteEngine, engine: Engine) -> None:
    choices = [" 서울이다.", " 부산이다.", "를 아느냐", " 서울이다."]
    theirs = either.score_choices("대한민국의 수도는", choices)
    for their, choice in zip(theirs, choices, strict=True):
        assert_same_score(their, engine.score("대한민국의 수도는", choice))


def test_streams_of_many_threads_do_not_cross(remote: RemoteEngine, engine: Engine) -> None:
    prompts = [f"{number}번 마을에는" for number in range(24)]
    requests = [Request(prompt, 8, Sampling(seed=i)) for i, prompt in enumerate(prompts)]

    def text(request: Request) -> str:
        return "".join(chunk.text for chunk in remote.stream(request))

    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(text, requests))
    assert written == [completion.text for completion in engine.generate(requests)]


def test_a_deadline_ends_with_what_there_is(remote: RemoteEngine) -> None:
    (completion,) = remote.generate([replace(ENDLESS, deadline=0.5)])
    assert {choice.finish_reason for choice in completion.choices} <= {"deadline", "length"}
    assert completion.choices[-1].finish_reason == "deadline"


def test_a_busy_server_and_places_that_closing_frees(server: Server) -> None:
    """Studio has 32 places; with all taken, the next request is told when to come again."""
    with RemoteEngine(server.address, patience=0) as hasty, RemoteEngine(server.address) as patient:
        streams = [patient.stream(ENDLESS) for _ in range(32)]
        for stream in streams:
            next(stream)
        with pytest.raises(EngineBusy, match=r"32 requests are under way.* wait for 1 second"):
            hasty.generate([Request("옛날", 2)])
        waiting = ThreadPoolExecutor(1).submit(patient.generate, [Request("옛날", 2, GREEDY)])
        for stream in streams[:16]:
            stream.close()
        del stream, streams[:]  # the others are just forgotten
        (completion,) = waiting.result(PATIENCE)
        assert completion.completion_tokens == 2
        # All places are free again, long before what was asked could have been written.
        wait_for(lambda: idle(server), "the engine to rest", 30)
        assert len(hasty.generate([Request("옛날", 1)] * 16)) == 16


def idle(server: Server) -> bool:
    """Whether the engine's process does nothing for a quarter of a second."""
    engine = server.engine()
    before = sum(engine.cpu_times()[:2])
    threading.Event().wait(0.25)
    return sum(engine.cpu_times()[:2]) - before < 0.03


def test_a_server_killed_while_it_writes(server: Server, tmp_path: Path) -> None:
    # A Studio that stands before the other one: there in a moment, as it loads no model.
    mortal = Server(None, tmp_path, "--server", server.address).wait_until_ready()
    try:
        with RemoteEngine(mortal.address) as remote:
            streams = [remote.stream(ENDLESS) for _ in range(4)]
            for stream in streams:
                next(stream)
            mortal.process.kill()
            for stream in streams:
                with pytest.raises(EngineDied, match="broke off before the end of the answer"):
                    for _ in stream:
                        pass
                assert list(stream) == []  # once broken, it stays ended
            with pytest.raises(EngineDied, match=r"nothing answers at .*is the server running"):
                remote.generate([Request("옛날")])
            with pytest.raises(EngineDied, match="nothing answers"):
                remote.score("옛날", " 옛적")
        with pytest.raises(EngineDied, match="nothing answers"):
            RemoteEngine(mortal.address)
    finally:
        mortal.stop()
    wait_for(lambda: idle(server), "the engine behind it to rest", 30)


def test_a_closed_engine_says_so(server: Server) -> None:
    remote = RemoteEngine(server.address)
    stream = remote.stream(ENDLESS)
    next(stream)
    remote.close()
    with pytest.raises(EngineDied, match="was closed"):
        for _ in stream:
            pass
    with pytest.raises(EngineDied, match="was closed"):
        remote.generate([Request("옛날")])
    remote.close()


def test_what_the_server_refuses_is_said_in_its_words(remote: RemoteEngine) -> None:
    with pytest.raises(UserError, match=r"temperature must be from 0 to 2, not 3"):
        remote.generate([Request("옛날", sampling=Sampling(temperature=3))])
    with pytest.raises(UserError, match=r"context is 128 tokens"):
        remote.generate([Request((5,) * 300)])
    with pytest.raises(UserError, match="U\\+DC00"):
        remote.generate([Request("옛날\udc00")])
    # What no engine takes is not sent.
    with pytest.raises(UserError, match=r"^temperature is nan"):
        remote.generate([Request("옛날", sampling=Sampling(temperature=float("nan")))])
    with pytest.raises(UserError, match=r"^n is 1000000000000; it must be from 1 to 4096"):
        remote.generate([Request("옛날", n=10**12)])
    # One that fails ends the batch; the engine goes on.
    with pytest.raises(UserError, match="top_p"):
        remote.generate([Request("옛날", 5), Request("옛날", sampling=Sampling(top_p=7))])
    assert remote.generate([Request("옛날", 3, GREEDY)])[0].completion_tokens == 3


def test_what_no_server_offers_is_refused(remote: RemoteEngine) -> None:
    soft = SoftPrompt(np.zeros((2, 64), dtype=np.float32))
    with pytest.raises(UserError, match="soft prompts cannot be sent"):
        remote.generate([Request((soft, "옛날"))])
    with pytest.raises(UserError, match="no gradients"):
        remote.input_gradients([GradientRequest((soft,), "옛날")])
    with pytest.raises(UserError, match="no statistics"):
        remote.statistics()


def test_another_models_tokenizer_is_refused(server: Server, korean_lines: list[str]) -> None:
    from hyperclova.tokenizer.train import train

    other = train(korean_lines[:20], vocabulary_size=300, kind="byte")
    with pytest.raises(UserError, match="another tokenizer"):
        RemoteEngine(server.address, tokenizer=other)
    with pytest.raises(UserError, match="does not serve large; it serves tiny"):
        RemoteEngine(server.address, "large")


application = typer.Typer()
application.command()(generate)


def test_generate_on_the_command_line(
    server: Server, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER_KEY", "0123456789abcdef")
    options = ["--max-tokens", "12", "--seed", "3", "--api-key-env", "SERVER_KEY"]
    done = CliRunner().invoke(
        application, ["옛날 옛적에", "--server", server.address, "--model", "tiny", *options]
    )
    expected = engine.generate(
        "옛날 옛적에",
        max_tokens=12,
        temperature=0.7,
        top_p=0.9,
        repetition_penalty=1.1,
        seed=3,
    )
    assert (done.stdout, done.stderr) == (expected.text + "\n", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--server", "http://127.0.0.1:9"], "--server: nothing answers at http://127.0.0.1:9"),
        (["--server", "http://x", "--api-key-env", "UNSET_KEY"], "UNSET_KEY: there is no such"),
        (["--api-key-env", "UNSET_KEY"], "--api-key-env belongs to --server"),
        (["--tokenizer", "models"], "--tokenizer belongs to --server"),
    ],
)
def test_mistakes_on_the_command_line(options: list[str], message: str) -> None:
    done = CliRunner().invoke(application, ["옛날", *options])
    assert isinstance(done.exception, UserError)
    assert message in str(done.exception)


WITHOUT_TORCH = """
import sys
for name in ("torch", "safetensors", "msgpack", "fastapi"):
    sys.modules[name] = None  # importing it raises ImportError
import hyperclova.inference.remote
"""


def test_it_needs_httpx_and_no_more() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH], check=True, timeout=PATIENCE)
