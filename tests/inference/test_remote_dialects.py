"""Servers that speak OpenAI's wire format in their own way, or fail at it.

The servers here are small, but the HTTP is real. What they say was taken from the sources of
llama.cpp's server and vLLM.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate

import pytest
from dialects import Dialect, Object, Speaker, speaking

from hyperclova.errors import UserError
from hyperclova.inference.protocol import (
    Choice,
    EngineBusy,
    EngineDied,
    EngineError,
    Request,
    Sampling,
    TokenLogprob,
    TokenResult,
)
from hyperclova.inference.remote import RemoteEngine
from hyperclova.tokenizer import Tokenizer

PROMPT = Request("옛날", 4)


@contextmanager
def connected(
    answer: Callable[[Object, Speaker], None],
    *models: str,
    owner: str = "somebody",
    tokenizer: Tokenizer | None = None,
    patience: float = 0.0,
    timeout: float = 30.0,
) -> Iterator[tuple[RemoteEngine, Dialect]]:
    dialect = Dialect(*models, owner=owner)
    dialect.answer = answer
    with (
        speaking(dialect),
        RemoteEngine(
            dialect.address, tokenizer=tokenizer, patience=patience, timeout=timeout
        ) as remote,
    ):
        yield remote, dialect


def piece(text: str, reason: str | None = None, index: int = 0, **more: object) -> Object:
    choice = {"index": index, "text": text, "finish_reason": reason, "logprobs": None, **more}
    return {"object": "text_completion", "choices": [choice]}


def usage(prompt: int, completion: int) -> Object:
    return {
        "choices": [],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": 0},
    }


# -- scoring ---------------------------------------------------------------------------------------


def content(*tokens: tuple[int, bytes, float]) -> Object:
    """llama.cpp's log-probabilities, in the form of chats."""
    items = [
        {"id": id, "token": data.decode(errors="replace"), "bytes": list(data), "logprob": logprob}
        for id, data, logprob in tokens
    ]
    return {"content": [{**item, "top_logprobs": [item]} for item in items]}


def ignores_echo(body: Object, speaker: Speaker) -> None:
    """Writes a token that nobody asked for, and gives its log-probability and no other."""
    logprobs = content((4, "서울".encode(), -0.5))
    choice = {"index": 0, "text": "서울", "finish_reason": "length", "logprobs": logprobs}
    speaker.json({"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 1}})


def echoes_text_alone(body: Object, speaker: Speaker) -> None:
    """Gives the prompt back, and log-probabilities of what it wrote only."""
    logprobs = {
        "tokens": ["서울"],
        "token_logprobs": [-0.5],
        "top_logprobs": [{"서울": -0.5}],
        "text_offset": [0],
    }
    speaker.json({"choices": [{"index": 0, "text": body["prompt"], "logprobs": logprobs}]})


def echoes_without_logprobs(body: Object, speaker: Speaker) -> None:
    speaker.json({"choices": [{"index": 0, "text": body["prompt"], "logprobs": None}]})


def refuses_echo(body: Object, speaker: Speaker) -> None:
    error = {"code": 500, "message": "Only no echo is supported", "type": "server_error"}
    speaker.json({"error": error}, status=500)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ignores_echo, "it does not give the prompt back"),
        (echoes_text_alone, "it gives those of 1 tokens"),
        (echoes_without_logprobs, "it gives those of 0 tokens"),
        (refuses_echo, "Only no echo is supported"),
    ],
)
def test_a_server_that_does_not_echo_is_not_scored_with(
    answer: Callable[[Object, Speaker], None], reason: str
) -> None:
    with connected(answer, owner="llamacpp") as (remote, dialect):
        for _ in range(2):
            with pytest.raises(UserError, match=rf"cannot score: .*{reason}"):
                remote.score("대한민국의 수도는", " 서울이다.")
        with pytest.raises(UserError, match="cannot score"):
            remote.score_choices("대한민국의 수도는", [" 서울이다.", " 부산이다."])
        with pytest.raises(UserError, match=reason):
            remote.generate([Request("옛날", 4, echo=True)])
        assert len(dialect.asked) == 1, "once is enough to find out"


def test_a_busy_server_may_still_echo() -> None:
    def answer(body: Object, speaker: Speaker) -> None:
        if len(dialect.asked) == 1:
            speaker.json({"error": {"message": "full"}}, status=429)
        else:
            ignores_echo(body, speaker)

    with connected(answer) as (remote, dialect):
        with pytest.raises(EngineBusy, match="full"):
            remote.score("가", "나")
        with pytest.raises(UserError, match="cannot score"):
            remote.score("가", "나")


def echoing(tokens: list[str], of: str) -> Callable[[Object, Speaker], None]:
    """Echoes this text as these tokens, and all others as letters."""

    def answer(body: Object, speaker: Speaker) -> None:
        text = body["prompt"]
        names = tokens if text == of else list(text)
        logprobs = {
            "tokens": names,
            "token_logprobs": [None] + [-1.0] * (len(names) - 1),
            "top_logprobs": [None] + [{name: -1.0} for name in names[1:]],
            "text_offset": [0] * len(names),  # wrong, as offsets of some servers are
        }
        speaker.json({"choices": [{"index": 0, "text": text, "logprobs": logprobs}]})

    return answer


def test_where_tokens_part_is_seen_from_their_bytes_or_refused() -> None:
    with connected(echoing(["수도", "는", " 서", "울"], "수도는 서울")) as (remote, _):
        score = remote.score("수도는", " 서울")
        assert (score.tokens, score.logprobs, score.greedy) == ((-1, -1), (-1.0, -1.0), True)
    reaching_over = ["수도", "는 ", "서울"]
    # As many bytes as the text has, and an end where the prompt ends: but those bytes are lost.
    lossy = ["\ufffd", "\ufffd", "\ufffd", " 서울"]
    for tokens in (reaching_over, lossy):
        with (
            connected(echoing(tokens, "수도는 서울")) as (remote, _),
            pytest.raises(UserError, match=r"not known to offer /tokenize: give the model's tok"),
        ):
            remote.score("수도는", " 서울")


# -- llama.cpp's server ----------------------------------------------------------------------------


def test_llama_cpp() -> None:
    def answer(body: Object, speaker: Speaker) -> None:
        if "content" in body:
            speaker.json({"tokens": [11, 12]})
            return
        speaker.events(
            piece("한", logprobs=content((7, "한".encode(), -0.25))),
            # A syllable that is spread over tokens comes with the last of them.
            piece("", logprobs=content((8, "글".encode()[:2], -1.5))),
            piece("글", logprobs=content((9, "글".encode()[2:], -0.5))),
            piece("", "length"),
            usage(3, 3),
            "[DONE]",
        )

    sampling = Sampling(0.5, 20, 0.9, 1.2, seed=3, logit_bias={5: -1.0})
    request = Request((3, "가"), 3, sampling, stop=("다",), logprobs=1, client="나")
    with connected(answer, owner="llamacpp") as (remote, dialect):
        (completion,) = remote.generate([request])
    tokens, asked = dialect.asked
    assert tokens == {"path": "/tokenize", "content": "가", "add_special": False}
    assert asked == {
        "path": "/v1/completions",
        "model": "model",
        "prompt": [3, 11, 12],
        "max_tokens": 3,
        "temperature": 0.5,
        "top_k": 20,
        "top_p": 0.9,
        "min_p": 0.0,
        "repeat_penalty": 1.2,
        "repeat_last_n": -1,
        "samplers": ["penalties", "temperature", "top_k", "top_p"],
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "logit_bias": {"5": -1.0},
        "seed": 3,
        "stop": ["다"],
        "n": 1,
        "logprobs": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
        "user": "나",
    }
    assert (completion.prompt_tokens, completion.completion_tokens) == (3, 3)

    def result(id: int, text: str, logprob: float, offset: int) -> TokenResult:
        return TokenResult(id, text, logprob, offset, (TokenLogprob(id, text, logprob),))

    assert completion.choices == (
        Choice(
            "한글",
            "length",
            (
                result(7, "한", -0.25, 0),
                result(8, "bytes:\\xea\\xb8", -1.5, 1),
                result(9, "bytes:\\x80", -0.5, 1),
            ),
        ),
    )


# -- vLLM ------------------------------------------------------------------------------------------


def test_vllm_with_the_tokenizer(tiny_tokenizer: Tokenizer) -> None:
    """Tokens by their ids: their bytes, texts and places are worked out here."""
    prompt, written = tiny_tokenizer.encode("옛날에"), tiny_tokenizer.encode("뷁 마을")
    padding = tiny_tokenizer.vocabulary_size + 3

    def answer(body: Object, speaker: Speaker) -> None:
        names = [f"token_id:{id}" for id in written]
        logprobs = {
            "tokens": names,
            "token_logprobs": [-1.0] * len(names),
            "top_logprobs": [{name: -1.0, f"token_id:{padding}": -0.5} for name in names],
            "text_offset": [11 * place for place in range(len(names))],
        }
        used = usage(len(prompt), len(written))["usage"]
        speaker.events({**piece("뷁 마을", "stop", logprobs=logprobs), "usage": used}, "[DONE]")

    with connected(answer, owner="vllm", tokenizer=tiny_tokenizer) as (remote, dialect):
        (completion,) = remote.generate([Request("옛날에", 9, logprobs=2)])
        remote.generate([Request("", 9)])
    asked = dialect.asked[0]
    assert asked["prompt"] == prompt, "the server's own tokenizer knows no morphemes"
    assert asked["return_tokens_as_token_ids"] is True
    assert asked["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert (asked["top_k"], asked["min_p"], asked["repetition_penalty"]) == (0, 0.0, 1.0)
    assert dialect.asked[1]["prompt"] == [tiny_tokenizer.end_of_text_id]

    (choice,) = completion.choices
    encoding = tiny_tokenizer.encode_with_offsets("뷁 마을")
    assert [token.id for token in choice.tokens] == encoding.ids
    assert [token.offset for token in choice.tokens] == [start for start, _ in encoding.offsets]
    assert choice.tokens[0].text == "bytes:\\xeb"
    assert choice.tokens[0].top == (
        TokenLogprob(-1, f"token_id:{padding}", -0.5),
        TokenLogprob(encoding.ids[0], "bytes:\\xeb", -1.0),
    )
    assert completion.completion_tokens == len(written)


# -- other servers ---------------------------------------------------------------------------------


def test_an_unknown_server_gets_only_what_openai_has() -> None:
    def answer(body: Object, speaker: Speaker) -> None:
        speaker.events(
            piece("하", index=1),
            piece("나", index=0),
            piece("", "stop", index=1),
            piece("둘", "length", index=0),
            usage(2, 5),
            "[DONE]",
        )

    with connected(answer) as (remote, dialect):
        (completion,) = remote.generate([Request("옛날", 4, n=2)])
        remote.generate([Request("옛날", 4, Sampling(top_k=5, repetition_penalty=1.1), n=2)])
        with pytest.raises(UserError, match="heal is offered by Studio"):
            remote.generate([Request("옛날", 4, heal=True)])
    plain, extended = dialect.asked
    assert set(plain) == {
        *("path", "model", "prompt", "max_tokens", "temperature", "top_p", "n", "stream"),
        *("frequency_penalty", "presence_penalty", "stream_options"),
    }
    assert (extended["top_k"], extended["repetition_penalty"]) == (5, 1.1)
    # How many tokens each choice has is not told, only how many there are.
    assert completion.choices == (Choice("나둘", "length"), Choice("하", "stop"))
    assert (completion.prompt_tokens, completion.completion_tokens) == (2, 5)


def test_models_and_keys() -> None:
    dialect = Dialect("가", "나")
    with speaking(dialect):
        with pytest.raises(UserError, match="serves 2 models; name one of them: 가, 나"):
            RemoteEngine(dialect.address)
        with RemoteEngine(dialect.address, "나", api_key="열쇠".encode().hex()) as remote:
            model = remote.model
    assert dialect.authorization == "Bearer ec97b4ec87a0"
    assert (model.name, model.created) == ("나", 7)
    assert model.context_length == model.vocabulary_size == 2**31 - 1


@pytest.mark.parametrize(
    "url", ["localhost:8321", "ftp://host", "http://", "모형", "http://host:port"]
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(UserError, match="is no address"):
        RemoteEngine(url)


def test_embeddings_are_pooled_as_said_or_refused() -> None:
    def answer(body: Object, speaker: Speaker) -> None:
        rows = [
            {"index": place, "embedding": [float(len(text)), 0.5]}
            for place, text in enumerate(body["input"])
        ]
        speaker.json({"data": rows[::-1]})

    texts = ["가" * length for length in range(1, 71)]
    with connected(answer) as (remote, dialect):
        with pytest.raises(UserError, match="does not say how it pools"):
            remote.embed(texts)
        with RemoteEngine(dialect.address, pooling="last") as last:
            table = last.embed(texts, "last")
            with pytest.raises(UserError, match="pools by last"):
                last.embed(texts)
            assert last.embed([], "last").shape == (0, 0)
    assert table.shape == (70, 2)
    assert table[:, 0].tolist() == list(range(1, 71))
    assert all(len(asked["input"]) <= 32 for asked in dialect.asked)
    assert dialect.asked[0]["encoding_format"] == "float"


# -- failures --------------------------------------------------------------------------------------


def says(body: object, status: int, **headers: str) -> Callable[[Object, Speaker], None]:
    return lambda _, speaker: speaker.json(body, status, **headers)


def streams(*events: Object | str, cut: bool = False) -> Callable[[Object, Speaker], None]:
    return lambda _, speaker: speaker.events(*events, cut=cut)


def writes(data: bytes, kind: str, status: int = 200) -> Callable[[Object, Speaker], None]:
    return lambda _, speaker: speaker.raw(data, kind, status)


LATER = formatdate(time.time() + 3600, usegmt=True)
DIED = {"message": "the engine stopped", "type": "server_error", "code": "engine_died"}


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (says({"error": {"message": "no such key"}}, 401), UserError, "no such key; is the API"),
        (says({"detail": "Not Found"}, 404), UserError, "/v1/completions: 404: Not Found"),
        (says({"error": {"message": "top_k:\nno"}}, 400), UserError, "400: top_k: no$"),
        (says({"error": "too long"}, 422), UserError, "422: too long"),
        (says({"error": {"message": "full"}}, 429), EngineBusy, "429: full$"),
        (says({}, 429, retry_after="70"), EngineBusy, "asks to wait for 70 seconds"),
        (says({}, 429, retry_after=LATER), EngineBusy, r"asks to wait for \d+"),
        (says({"error": {"message": "loading"}}, 503), EngineDied, "503: loading"),
        (says({"error": {"message": "oops"}}, 500), EngineError, "500: oops"),
        (says({"error": DIED}, 500), EngineDied, "the engine stopped"),
        (writes(b"<h1>Bad Gateway</h1>", "text/html", 502), EngineDied, "502: <h1>Bad Gateway"),
        (writes(b"<p>" * 500, "text/html", 500), EngineError, "500: Internal Server Error$"),
        (writes(b"{}", "application/json"), EngineError, "for a stream with application/json"),
        (streams(piece("가"), {"error": DIED}, "[DONE]"), EngineDied, "the engine stopped"),
        (streams({"error": {"message": "no", "code": 400}}), UserError, "400: no"),
        (streams({"error": {"type": "rate_limit_error"}}), EngineBusy, "429: no reason"),
        (streams(piece("가"), piece("나", "length")), EngineDied, "broke off before the end"),
        (streams(piece("가"), cut=True), EngineDied, "broke off before the end"),
        (streams(piece("가"), "[DONE]"), EngineError, "choice 0 has no end"),
        (streams("{half"), EngineError, "no JSON object: '{half'"),
        (streams("[1]"), EngineError, "no JSON object"),
        (streams(piece("가", index=7)), EngineError, "another form than OpenAI's"),
        (streams({"choices": [{"logprobs": {}}]}), EngineError, "another form than OpenAI's"),
    ],
)
def test_failures_are_told_in_one_line(
    answer: Callable[[Object, Speaker], None], kind: type[Exception], message: str
) -> None:
    with connected(answer, patience=0.2) as (remote, _):
        with pytest.raises(kind, match=message) as caught:
            remote.generate([PROMPT])
        assert type(caught.value) is kind
        assert "\n" not in str(caught.value)
        with pytest.raises(kind, match=message):
            list(remote.stream(PROMPT))


def test_text_before_a_failure_is_given_out() -> None:
    with connected(streams(piece("가"), piece("나"), cut=True)) as (remote, _):
        stream = remote.stream(PROMPT)
        assert [next(stream).text, next(stream).text] == ["가", "나"]
        with pytest.raises(EngineDied):
            next(stream)


def test_a_server_that_says_when_to_come_again_is_asked_again() -> None:
    times: list[float] = []

    def answer(body: Object, speaker: Speaker) -> None:
        times.append(time.monotonic())
        match len(times):
            case 1:
                speaker.json({}, status=503)
            case 2:
                speaker.json({}, status=429, retry_after="0.3")
            case _:
                speaker.events(piece("가", "stop"), usage(1, 1), "[DONE]")

    with connected(answer, patience=20) as (remote, _):
        assert remote.generate([PROMPT])[0].text == "가"
    assert len(times) == 3
    assert times[2] - times[1] >= 0.3


def test_a_silent_server_is_given_up() -> None:
    silence = threading.Event()
    with connected(lambda body, speaker: silence.wait(60) and None, timeout=0.3) as (remote, _):
        with pytest.raises(EngineDied, match=r"no sign of life for 0\.3 seconds"):
            remote.generate([PROMPT])
        (completion,) = remote.generate([Request("옛날", n=2, deadline=0.1)])
        silence.set()
    assert [choice.finish_reason for choice in completion.choices] == ["deadline"] * 2


def test_what_is_no_such_server() -> None:
    dialect = Dialect()
    with speaking(dialect):
        dialect.models = ()
        with pytest.raises(UserError, match="serves no model"):
            RemoteEngine(dialect.address)
