"""Server-sent events: exact, never half a syllable, and stopped when nobody listens."""

import asyncio
import json
import time
from typing import Any

import httpx
import openai
import pytest

from hyperclova.studio.settings import Settings
from studio_process import Server, wait_for

PROMPT = "옛날 옛적 어느 마을에"
GO_ON = {"0": -100}
# Hours of work for the tiny model, if nobody stops it.
ENDLESS = {
    "model": "tiny",
    "prompt": [PROMPT] * 200,
    "n": 128,
    "max_tokens": 110,
    "logit_bias": GO_ON,
}


def events(answer: httpx.Response) -> list[str]:
    text = answer.content.decode("utf-8")
    assert text.endswith("\n\n")
    assert all(part.startswith("data: ") for part in text.strip().split("\n\n"))
    return [part.removeprefix("data: ") for part in text.strip().split("\n\n")]


def test_stream_says_what_the_whole_answer_says(client: openai.OpenAI) -> None:
    fields: dict[str, Any] = {
        "model": "tiny",
        "prompt": [PROMPT, "산에서"],
        "n": 2,
        "max_tokens": 30,
        "seed": 3,
        "logprobs": 2,
        "echo": True,
        "logit_bias": GO_ON,
    }
    whole = client.completions.create(**fields)
    texts, tokens, offsets, reasons = {}, {}, {}, {}
    stream = client.completions.create(
        **fields, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    for chunk in chunks[:-1]:
        assert chunk.usage is None
        (choice,) = chunk.choices
        texts[choice.index] = texts.get(choice.index, "") + choice.text
        tokens.setdefault(choice.index, []).extend(choice.logprobs.tokens)
        offsets.setdefault(choice.index, []).extend(choice.logprobs.text_offset)
        assert choice.index not in reasons, "nothing follows the reason for the end"
        if choice.finish_reason:
            reasons[choice.index] = choice.finish_reason

    assert [texts[choice.index] for choice in whole.choices] == [c.text for c in whole.choices]
    assert [tokens[c.index] for c in whole.choices] == [c.logprobs.tokens for c in whole.choices]
    assert [offsets[c.index] for c in whole.choices] == [
        c.logprobs.text_offset for c in whole.choices
    ]
    assert reasons == {choice.index: choice.finish_reason for choice in whole.choices}
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


def test_wire_form_of_a_stream(http: httpx.Client) -> None:
    body = {"model": "tiny", "prompt": PROMPT, "max_tokens": 40, "stream": True}
    body |= {"logit_bias": GO_ON, "seed": 1}
    answer = http.post("/v1/completions", json=body)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *chunks, last = events(answer)
    assert last == "[DONE]"
    assert len(chunks) > 5
    for chunk in map(json.loads, chunks):
        assert set(chunk) == {
            "id",
            "object",
            "created",
            "model",
            "system_fingerprint",
            "choices",
        }, "usage is only there when it was asked for"


def test_streamed_korean_is_whole_characters(http: httpx.Client, korean_lines: list[str]) -> None:
    # Echo sends the text through the same decoder, byte by byte where the vocabulary is small.
    for line in ["훑고 꿰뚫은 짧은 넋두리, 햏 뷁 쀍", *korean_lines[:5]]:
        body = {"model": "tiny", "prompt": line[:40], "echo": True, "max_tokens": 0, "stream": True}
        *chunks, _ = events(http.post("/v1/completions", json=body))
        assert "".join(json.loads(c)["choices"][0]["text"] for c in chunks) == line[:40]
        assert not any("\ufffd" in chunk for chunk in chunks)


def test_errors_before_the_first_piece_have_a_status(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="tiny", prompt=PROMPT * 100, stream=True)
    assert refused.value.code == "context_length_exceeded"


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_its_generation(server: Server, stream: bool) -> None:
    engine = server.engine()

    def busy() -> bool:
        # An engine without work waits without computing at all, so that one tick tells, even on
        # a machine on which others take most of the time.
        before = engine.cpu_times()[:2]
        time.sleep(1)
        return engine.cpu_times()[:2] != before

    async def ask_and_leave() -> None:
        async with httpx.AsyncClient(base_url=server.address, timeout=None) as client:
            body = {**ENDLESS, "stream": stream}
            if stream:
                async with client.stream("POST", "/v1/completions", json=body) as answer:
                    async for _ in answer.aiter_lines():
                        break
            else:
                asking = asyncio.create_task(client.post("/v1/completions", json=body))
                await asyncio.to_thread(wait_for, busy, "the engine to begin")
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)

    wait_for(lambda: not busy(), "the engine to be idle")
    asyncio.run(ask_and_leave())
    wait_for(lambda: not busy(), "the engine to stop writing for nobody", 20)


def test_clients_that_left_take_no_place(http: httpx.Client) -> None:
    body = {**ENDLESS, "stream": True}
    for _ in range(Settings.request_limit + 1):
        with http.stream("POST", "/v1/completions", json=body) as answer:
            assert answer.status_code == 200
            next(answer.iter_lines())
