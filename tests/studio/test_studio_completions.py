"""``/v1/completions`` as OpenAI's own client sees it: every field that a request can have."""

import math
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from hyperclova.tokenizer import Tokenizer

PROMPT = "옛날 옛적 어느 마을에"
# The tiny model writes nonsense; without this it may end its document at any moment.
GO_ON = {"0": -100}


def create(client: openai.OpenAI, **fields: Any) -> Any:
    """A completion of the prompt's own tokens, unless ``fields`` say otherwise."""
    extra = {"heal": False, **fields.pop("extra_body", {})}
    return client.completions.create(
        **{"model": "tiny", "prompt": PROMPT, "max_tokens": 8, "logit_bias": GO_ON, **fields},
        extra_body=extra,
    )


def test_answers_in_openai_shape(http: httpx.Client) -> None:
    answer = http.post(
        "/v1/completions",
        json={"model": "tiny", "prompt": PROMPT, "max_tokens": 3, "logit_bias": GO_ON},
    )

    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {
        "id",
        "object",
        "created",
        "model",
        "system_fingerprint",
        "choices",
        "usage",
    }
    assert body["id"].startswith("cmpl-")
    assert body["object"] == "text_completion"
    assert body["model"] == "tiny"
    (choice,) = body["choices"]
    assert set(choice) == {"index", "text", "logprobs", "finish_reason"}
    assert choice["index"] == 0
    assert choice["finish_reason"] == "length"
    assert choice["logprobs"] is None
    assert body["usage"]["completion_tokens"] == 3
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + 3


def test_model_list_and_model(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert (model.id, model.object, model.owned_by) == ("tiny", "model", "hyperclova")
    assert client.models.retrieve("tiny") == model


def test_default_length_is_sixteen_tokens(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="tiny", prompt=PROMPT, logit_bias=GO_ON)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 16


def test_every_form_of_prompt(client: openai.OpenAI, tiny_tokenizer: Tokenizer) -> None:
    ids = tiny_tokenizer.encode(PROMPT)
    one = create(client, seed=1)
    assert create(client, prompt=ids, seed=1).choices[0].text == one.choices[0].text
    assert one.usage.prompt_tokens == len(ids)

    other = tiny_tokenizer.encode("산에서 사슴을 만났다")
    for prompts in ([PROMPT, "산에서 사슴을 만났다"], [ids, other]):
        answer = create(client, prompt=prompts, n=2, seed=1)
        assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
        assert answer.choices[0].text == one.choices[0].text
        assert answer.usage.prompt_tokens == len(ids) + len(other)
        assert answer.usage.completion_tokens == 4 * 8


def test_an_open_word_is_healed_unless_the_client_says_otherwise(client: openai.OpenAI) -> None:
    plain = create(client, seed=1)
    healed = create(client, seed=1, extra_body={"heal": True})
    assert healed.choices[0].text != plain.choices[0].text
    assert healed.usage.prompt_tokens == plain.usage.prompt_tokens
    assert healed.usage.completion_tokens == 8
    silent = create(client, seed=1, extra_body={"heal": None})
    assert silent.choices[0].text == healed.choices[0].text


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_prompt_begins_a_document(http: httpx.Client, nothing: str | None) -> None:
    body = {"model": "tiny", "prompt": nothing, "max_tokens": 4, "echo": True, "seed": 1}
    choice = http.post("/v1/completions", json=body).json()["choices"][0]
    without = {name: value for name, value in body.items() if name != "prompt"}
    assert http.post("/v1/completions", json=without).json()["choices"][0] == choice
    assert "endoftext" not in choice["text"]


def test_seed_decides_the_text(client: openai.OpenAI) -> None:
    first = create(client, seed=7, n=2)
    assert [c.text for c in create(client, seed=7, n=2).choices] == [c.text for c in first.choices]
    # Choice i samples with seed + i, so a further seed gives a further text.
    assert create(client, seed=8).choices[0].text == first.choices[1].text
    assert first.choices[0].text != first.choices[1].text
    assert create(client, seed=-1).choices[0].text == create(client, seed=-1).choices[0].text


def test_temperature_zero_takes_the_likeliest(client: openai.OpenAI) -> None:
    greedy = create(client, temperature=0, logprobs=1)
    logprobs = greedy.choices[0].logprobs
    for chosen, rivals in zip(logprobs.token_logprobs, logprobs.top_logprobs, strict=True):
        assert chosen == max(rivals.values())
    for narrow in ({"top_p": 0}, {"extra_body": {"top_k": 1}}):
        answer = create(client, seed=3, **narrow)
        assert answer.choices[0].text == greedy.choices[0].text


def test_penalties_and_bias_reach_the_sampler(
    client: openai.OpenAI, tiny_tokenizer: Tokenizer
) -> None:
    (token,) = tiny_tokenizer.encode(" 있")[:1]
    only = {str(token): 100}
    assert create(client, logit_bias=only, temperature=0).choices[0].text == (
        tiny_tokenizer.decode([token] * 8)
    )
    plain = create(client, seed=5, max_tokens=40).choices[0].text
    for fields in (
        {"frequency_penalty": 2},
        {"presence_penalty": 2},
        {"extra_body": {"repetition_penalty": 2}},
    ):
        assert create(client, seed=5, max_tokens=40, **fields).choices[0].text != plain


def test_stop_strings_end_the_text_and_are_not_in_it(client: openai.OpenAI) -> None:
    text = create(client, seed=2, max_tokens=40).choices[0].text
    stop = text[len(text) // 2 : len(text) // 2 + 2]
    for form in (stop, [stop, "이 글자는 나오지 않는다"]):
        choice = create(client, seed=2, max_tokens=40, stop=form).choices[0]
        assert choice.finish_reason == "stop"
        assert choice.text == text[: text.index(stop)]


def test_logprobs(client: openai.OpenAI) -> None:
    choice = create(client, logprobs=3, seed=1).choices[0]
    logprobs = choice.logprobs
    assert len(logprobs.tokens) == 8
    assert len(logprobs.token_logprobs) == 8
    assert all(value < 0 for value in logprobs.token_logprobs)
    assert logprobs.text_offset[0] == 0
    assert logprobs.text_offset == sorted(logprobs.text_offset)
    for token, chosen, rivals in zip(
        logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs, strict=True
    ):
        assert len(rivals) in (3, 4)  # the chosen token is added if it is not among the three
        assert rivals[token] == chosen
    for offset, token in zip(logprobs.text_offset, logprobs.tokens, strict=True):
        if not token.startswith("bytes:"):
            assert choice.text[offset : offset + len(token)] == token

    only_chosen = create(client, logprobs=0, seed=1).choices[0].logprobs
    assert only_chosen.token_logprobs == logprobs.token_logprobs
    assert all(len(rivals) == 1 for rivals in only_chosen.top_logprobs)


def test_echo_scores_a_prompt_like_the_engine(
    client: openai.OpenAI, tiny_model_directory: Path
) -> None:
    from hyperclova.inference import Engine

    prompt, continuation = "어느 마을에", " 나무꾼이 살았습니다."
    answer = create(client, prompt=prompt + continuation, echo=True, max_tokens=0, logprobs=5)

    choice = answer.choices[0]
    assert choice.text == prompt + continuation
    assert choice.finish_reason == "length"
    assert choice.logprobs.token_logprobs[0] is None
    assert choice.logprobs.top_logprobs[0] is None
    assert answer.usage.completion_tokens == 0
    with Engine(tiny_model_directory, precision="fast") as engine:  # as Studio's by default
        score = engine.score(prompt, continuation)
    scored = choice.logprobs.token_logprobs[-len(score.tokens) :]
    assert scored == pytest.approx(score.logprobs, abs=1e-4)


def test_echo_comes_before_the_continuation(client: openai.OpenAI) -> None:
    alone = create(client, seed=4, logprobs=1).choices[0]
    echoed = create(client, seed=4, echo=True, logprobs=1).choices[0]
    assert echoed.text == PROMPT + alone.text
    assert echoed.logprobs.tokens[-8:] == alone.logprobs.tokens
    assert echoed.logprobs.text_offset[-8:] == [
        offset + len(PROMPT) for offset in alone.logprobs.text_offset
    ]


@pytest.mark.parametrize("echo", [False, True])
def test_best_of_returns_the_highest_mean_logprob(client: openai.OpenAI, echo: bool) -> None:
    everyone = create(client, n=6, seed=12, logprobs=0, echo=echo)

    def mean(choice: Any) -> float:
        values = choice.logprobs.token_logprobs[-8:]
        return math.fsum(values) / len(values)

    ranked = sorted(everyone.choices, key=mean, reverse=True)
    assert ranked[0].index != 0, "choose another seed: the first is also the best"
    best = create(client, n=2, best_of=6, seed=12, echo=echo)
    assert [choice.text for choice in best.choices] == [choice.text for choice in ranked[:2]]
    assert [choice.index for choice in best.choices] == [0, 1]
    assert all(choice.logprobs is None for choice in best.choices)
    assert best.usage.completion_tokens == 6 * 8  # all that was written is counted


def test_user_null_fields_and_whole_floats_are_accepted(http: httpx.Client) -> None:
    names = "best_of echo frequency_penalty logit_bias logprobs n presence_penalty seed stop stream"
    nulls = dict.fromkeys([*names.split(), "stream_options", "suffix", "temperature", "top_k"])
    body = {"model": "tiny", "prompt": PROMPT, "user": "학생", "max_tokens": 2.0, **nulls}
    answer = http.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["completion_tokens"] <= 2


def test_a_prompt_may_fill_the_context_to_the_last_token(
    client: openai.OpenAI, tiny_tokenizer: Tokenizer
) -> None:
    ids = (tiny_tokenizer.encode(PROMPT) * 40)[:120]
    assert create(client, prompt=ids, max_tokens=8).usage.total_tokens == 128
    assert create(client, prompt=(ids * 2)[:128], max_tokens=0).usage.total_tokens == 128


def test_text_that_looks_like_a_control_token_is_text(client: openai.OpenAI) -> None:
    answer = create(client, prompt="<|endoftext|>", echo=True, max_tokens=0)
    assert answer.choices[0].text == "<|endoftext|>"
    assert answer.usage.prompt_tokens > 1
