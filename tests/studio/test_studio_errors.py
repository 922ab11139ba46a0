"""Bad input gets a clear answer: four keys, a stable code, the field, the remedy."""

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from hyperclova.inference.protocol import ModelInformation
from hyperclova.inference.validation import LONGEST_STOP, check_request
from hyperclova.studio.api.completion_request import CompletionRequest
from hyperclova.studio.parameters import BY_NAME, STOP_LIMIT
from studio_process import Server

GOOD: dict[str, Any] = {"model": "tiny", "prompt": "옛날 옛적", "max_tokens": 1}
MISSING = object()


def error_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert "\n" not in error["message"]
    assert error["type"] == ("invalid_request_error" if status < 500 else "server_error")
    assert answer.headers["x-request-id"]
    return error


# Field, value, and what the message must say beside the field's name.
REFUSED = [
    ("model", MISSING, "/v1/models"),
    ("model", 3, "string"),
    ("model", "", "/v1/models"),
    ("prompt", 5, "a string, a list of strings"),
    ("prompt", {"text": "글"}, "a string, a list of strings"),
    ("prompt", [], "empty list"),
    ("prompt", ["글", 5], "mixes"),
    ("prompt", [[1], []], "mixes"),
    ("prompt", [1, -2], "mixes"),
    ("prompt", [1.5], "mixes"),
    ("prompt", [True], "mixes"),
    ("prompt", [1, 10**9], "not in the vocabulary"),
    ("prompt", [[1], [2, 495]], "prompt[1]: token 495 is not in the vocabulary"),
    ("prompt", ["글"] * 1025, "at most 1024"),
    ("best_of", 0, "from 1 to 20"),
    ("best_of", 21, "from 1 to 20"),
    ("echo", "yes", "true or false"),
    ("echo", 1, "true or false"),
    ("frequency_penalty", 2.1, "from -2 to 2"),
    ("presence_penalty", -2.1, "from -2 to 2"),
    ("logit_bias", [1], "an object"),
    ("logit_bias", {"글": 1}, "not a token id"),
    ("logit_bias", {"-1": 1}, "not a token id"),
    ("logit_bias", {"9" * 5000: 1}, "not a token id"),
    ("logit_bias", {"1": 101}, "from -100 to 100"),
    ("logit_bias", {"1": "5"}, "from -100 to 100"),
    ("logit_bias", {"1000000": 5}, "not in the vocabulary"),
    ("logprobs", 6, "from 0 to 5"),
    ("logprobs", -1, "from 0 to 5"),
    ("logprobs", True, "whole number"),
    ("max_tokens", -1, "from 0"),
    ("max_tokens", 1.5, "whole number"),
    ("max_tokens", "16", "whole number"),
    ("n", 0, "from 1 to 128"),
    ("n", 129, "from 1 to 128"),
    ("seed", 2**63, "must be from -9223372036854775808"),
    ("seed", "1", "whole number"),
    ("stop", ["가", "나", "다", "라", "마"], "at most 4"),
    ("stop", ["가", "나" * 1025], "at most 1024 characters"),
    ("stop", [""], "empty string"),
    ("stop", "", "empty string"),
    ("stop", 5, "list of strings"),
    ("stop", [5], "list of strings"),
    ("stream", "true", "true or false"),
    ("stream_options", {"include_usage": True}, "only allowed with stream"),
    ("suffix", "끝", "not supported"),
    ("suffix", 5, "string"),
    ("temperature", 2.01, "from 0 to 2"),
    ("temperature", -0.1, "from 0 to 2"),
    ("temperature", "뜨겁게", "number"),
    ("temperature", [1], "number"),
    ("temperature", True, "number"),
    ("top_p", 1.1, "from 0 to 1"),
    ("top_p", -0.1, "from 0 to 1"),
    ("user", 5, "string"),
    ("top_k", -1, "from 0"),
    ("top_k", 1.5, "whole number"),
    ("repetition_penalty", 0, "from 0.1 to 10"),
    ("temprature", 1, "did you mean temperature?"),
    ("min_p", 0.1, "no such field"),
]


@pytest.mark.parametrize(("field", "value", "says"), REFUSED)
def test_a_wrong_field_is_named(http: httpx.Client, field: str, value: Any, says: str) -> None:
    body = {name: item for name, item in GOOD.items() if name != field}
    if value is not MISSING:
        body[field] = value
    error = error_of(http.post("/v1/completions", json=body), 400)
    assert error["param"] == field
    assert error["code"]
    assert error["message"].startswith(field)
    assert says in error["message"]


@pytest.mark.parametrize("end", ["minimum", "maximum"])
def test_what_studio_allows_the_engine_takes(end: str) -> None:
    """Each range at its ends; what the engine alone refuses would not be named as a field."""
    model = ModelInformation("", 2**20, 10**6, 0, "", 0, 8, "float32")
    ends = {name: getattr(parameter, end) for name, parameter in BY_NAME.items()}
    numbers = {name: value for name, value in ends.items() if value is not None}
    n = numbers.pop("best_of") if end == "maximum" else 1
    for body in (
        *({name: value} for name, value in numbers.items()),
        {**numbers, "n": n, "best_of": n},
        {"stop": ["가" * LONGEST_STOP] * STOP_LIMIT, "logit_bias": {"0": -100, "999999": 100}},
    ):
        asked = CompletionRequest.parse({**GOOD, **body})
        check_request(asked.for_engine("옛날"), model)


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"n": 3, "best_of": 2}, "best_of", "at least n, which is 3"),
        ({"best_of": 2, "stream": True}, "best_of", "cannot be streamed"),
        ({"stream": True, "stream_options": {"usage": True}}, "stream_options", "include_usage"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options", "true or"),
        (
            {"stream": True, "stream_options": {"include_obfuscation": True}},
            "stream_options",
            "not supported",
        ),
    ],
)
def test_fields_that_do_not_go_together(
    http: httpx.Client, fields: dict[str, Any], param: str, says: str
) -> None:
    error = error_of(http.post("/v1/completions", json={**GOOD, **fields}), 400)
    assert error["param"] == param
    assert says in error["message"]


def test_unknown_model(http: httpx.Client, client: openai.OpenAI) -> None:
    error = error_of(http.post("/v1/completions", json={**GOOD, "model": "gpt-4"}), 404)
    assert error["code"] == "model_not_found"
    assert error["param"] == "model"
    assert "gpt-4" in error["message"]
    assert "tiny" in error["message"]
    assert error_of(http.get("/v1/models/gpt-4"), 404)["code"] == "model_not_found"
    with pytest.raises(openai.NotFoundError) as refused:
        client.completions.create(**{**GOOD, "model": "gpt-4"})
    assert refused.value.code == "model_not_found"
    assert refused.value.param == "model"


def test_prompt_longer_than_the_context(http: httpx.Client, client: openai.OpenAI) -> None:
    error = error_of(http.post("/v1/completions", json={**GOOD, "prompt": [1] * 129}), 400)
    assert error["code"] == "context_length_exceeded"
    assert error["param"] == "prompt"
    assert "129" in error["message"]
    assert "128" in error["message"]

    error = error_of(http.post("/v1/completions", json={**GOOD, "prompt": [[1], [1] * 128]}), 400)
    assert error["code"] == "context_length_exceeded"
    assert "prompt[1]" in error["message"]

    error = error_of(http.post("/v1/completions", json={**GOOD, "max_tokens": 5000}), 400)
    assert error["code"] == "context_length_exceeded"
    assert "max_tokens to at most" in error["message"]

    # A whole book is refused without being encoded first.
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="tiny", prompt="책 한 권을 통째로 붙여 넣었다. " * 40000)
    assert refused.value.code == "context_length_exceeded"
    assert "at least" in refused.value.message


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('{"model": "tiny", "prompt": "옛날"}'.encode("cp949"), "invalid_encoding"),
        (b'{"model": "tiny", "prompt": "\xec\x98"}', "invalid_encoding"),
        (b'{"model": "tiny", "prompt": "\\ud800"}', "invalid_encoding"),
        (b'{"model": "tiny", "prompt": "\\uDFFF"}', "invalid_encoding"),
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"[]", "invalid_json"),
        (b'"text"', "invalid_json"),
        (b"{'model': 'tiny'}", "invalid_json"),
        (b'{"model": "tiny", "temperature": NaN}', "invalid_json"),
        (b'{"model": "tiny", "temperature": 1e999}', "invalid_json"),
        (b'{"model": "tiny", "seed": ' + b"9" * 5000 + b"}", "invalid_json"),
        (b'{"model": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "invalid_json"),
    ],
)
def test_a_body_that_is_no_json_object(http: httpx.Client, body: bytes, code: str) -> None:
    for path in ("/v1/completions", "/tokenize", "/api/runs"):
        error = error_of(http.post(path, content=body, headers=JSON), 400)
        assert error["code"] == code


def test_surrogate_pairs_are_characters(http: httpx.Client) -> None:
    body = b'{"model": "tiny", "prompt": "\\ud83d\\ude00", "echo": true, "max_tokens": 0}'
    answer = http.post("/v1/completions", content=body, headers=JSON)
    assert answer.json()["choices"][0]["text"] == "😀"


def test_a_body_must_be_declared_as_json(http: httpx.Client) -> None:
    answer = http.post(
        "/v1/completions", content=json.dumps(GOOD), headers={"content-type": "text/plain"}
    )
    assert "content-type: application/json" in error_of(answer, 415)["message"]
    assert error_of(http.post("/v1/completions", content=json.dumps(GOOD)), 415)


def test_ten_megabytes_are_refused(http: httpx.Client) -> None:
    body = json.dumps({**GOOD, "prompt": "가" * (10 * 1024 * 1024 // 6)}).encode()
    assert len(body) >= 10 * 1024 * 1024
    error = error_of(http.post("/v1/completions", content=body, headers=JSON), 413)
    assert error["code"] == "request_too_large"

    def pieces() -> Iterator[bytes]:  # without a declared length
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    error = error_of(http.post("/v1/completions", content=pieces(), headers=JSON), 413)
    assert error["code"] == "request_too_large"
    assert http.post("/v1/completions", json=GOOD).status_code == 200


def test_ten_megabytes_are_refused_before_they_are_sent(server: Server) -> None:
    address = urlsplit(server.address)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n"
            b"content-type: application/json\r\ncontent-length: 10485760\r\n\r\n"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_places_that_do_not_exist(http: httpx.Client) -> None:
    for path in ("/v1/chat", "/v2/completions", "/api/nothing", "/nothing", "/static/nothing.js"):
        assert path in error_of(http.get(path), 404)["message"]
    for method, path in (("GET", "/v1/completions"), ("PUT", "/v1/models"), ("POST", "/api/desk")):
        answer = http.request(method, path)
        error = error_of(answer, 405)
        assert error["code"] == "method_not_supported"
        assert answer.headers["allow"]


def test_the_openai_client_raises_its_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(**GOOD, temperature=3)
    assert refused.value.param == "temperature"
    assert refused.value.type == "invalid_request_error"
    assert refused.value.request_id is not None
