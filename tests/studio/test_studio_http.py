"""What every answer has in common, and the small routes."""

import re
from pathlib import Path

import httpx
import pytest

from hyperclova.studio import parameters
from hyperclova.studio.app import create_app
from hyperclova.studio.settings import Settings
from hyperclova.tokenizer import Tokenizer


@pytest.mark.parametrize("path", ["/playground", "/api/status", "/v1/models", "/nothing"])
def test_every_answer_has_an_id_and_safe_headers(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert re.fullmatch(r"req_[0-9a-f]{32}", answer.headers["x-request-id"])
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy, "nothing is loaded from elsewhere"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_a_client_may_name_its_request(http: httpx.Client) -> None:
    named = http.get("/api/status", headers={"x-request-id": "lesson-3.draft_1"})
    assert named.headers["x-request-id"] == "lesson-3.draft_1"
    for unfit in ("a b", "x" * 129, "<script>"):
        answer = http.get("/api/status", headers={"x-request-id": unfit})
        assert answer.headers["x-request-id"].startswith("req_")


def test_only_this_computers_names_are_answered(http: httpx.Client) -> None:
    refused = http.get("/api/desk", headers={"host": "rebound.example"})
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "host_not_allowed"
    assert refused.headers["x-request-id"]
    for name in ("localhost", "localhost:1234", "127.0.0.1", "[::1]:8321"):
        assert http.get("/api/status", headers={"host": name}).status_code == 200


def test_status(http: httpx.Client, tiny_tokenizer: Tokenizer) -> None:
    status = http.get("/api/status").json()
    assert status["state"] == "ready"
    assert status["message"]
    model = status["model"]
    assert set(model) == {"id", "context_length", "vocabulary_size", "parameters"}
    assert model["id"] == "tiny"
    assert model["context_length"] == 128
    assert model["vocabulary_size"] == tiny_tokenizer.vocabulary_size


def test_tokenize(http: httpx.Client, tiny_tokenizer: Tokenizer, korean_lines: list[str]) -> None:
    for prompt in ("", "펭귄은 남극에 산다 🐧", "\n".join(korean_lines)):
        answer = http.post("/tokenize", json={"model": "tiny", "prompt": prompt})
        ids = tiny_tokenizer.encode(prompt)
        assert answer.json() == {"count": len(ids), "max_model_len": 128, "tokens": ids}
    assert http.post("/tokenize", json={"prompt": "글"}).status_code == 200
    for body, status, param in (
        ({}, 400, "prompt"),
        ({"prompt": ["글"]}, 400, "prompt"),
        ({"prompt": "글", "model": "gpt-4"}, 404, "model"),
        ({"prompt": "글", "messages": []}, 400, "messages"),
    ):
        refused = http.post("/tokenize", json=body)
        assert refused.status_code == status
        assert refused.json()["error"]["param"] == param


def test_home_leads_to_the_playground(http: httpx.Client) -> None:
    answer = http.get("/")
    assert answer.status_code == 307
    assert answer.headers["location"].endswith("/playground")


def test_too_many_requests_at_once(tiny_model_directory: Path) -> None:
    studio = create_app(Settings(tiny_model_directory, request_limit=2)).state.studio
    studio.enter()
    studio.enter()
    with pytest.raises(Exception, match="2 requests are under way") as refused:
        studio.enter()
    assert refused.value.status == 429
    assert refused.value.body["error"]["type"] == "rate_limit_error"
    assert refused.value.headers["retry-after"]
    studio.leave()
    studio.enter()


def test_a_fault_of_ours_is_a_500_in_the_same_form(
    tiny_model_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from fastapi.testclient import TestClient

    app = create_app(Settings(tiny_model_directory, database_url="sqlite://"))

    @app.get("/fault")
    async def fault() -> None:
        raise ZeroDivisionError("secret detail")

    # Not entered: without its life-span the application needs no engine.
    answer = TestClient(app, raise_server_exceptions=True).get("/fault")
    assert answer.status_code == 500
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in caplog.text
    assert "secret detail" in caplog.text


@pytest.mark.parametrize("parameter", parameters.BY_NAME.values(), ids=lambda item: item.name)
def test_parameters_are_defined_in_both_languages(parameter: parameters.Parameter) -> None:
    for words in (parameter.label, parameter.sentence):
        assert set(words) == {"ko", "en"}
        assert re.search("[가-힣]", words["ko"])
        assert not re.search("[가-힣]", words["en"])
    assert parameter.sentence["ko"].endswith("요.")
    assert "!" not in parameter.sentence["ko"] + parameter.sentence["en"]
    for value in (parameter.default, parameter.wire_default):
        assert parameter.check(value) is None
    if parameter.slider:
        assert all(parameter.check(end) is None for end in parameter.slider)


@pytest.mark.parametrize(
    "parameter",
    [item for item in parameters.PARAMETERS if item.kind != "strings"],
    ids=lambda item: item.name,
)
def test_the_range_shown_is_the_range_enforced(
    http: httpx.Client, parameter: parameters.Parameter
) -> None:
    assert parameter.minimum is not None
    assert parameter.maximum is not None
    body = {"model": "tiny", "prompt": [1], "max_tokens": 1}
    inside = [parameter.minimum, *([parameter.maximum] if parameter.name != "max_tokens" else [])]
    for value in inside:
        answer = http.post("/v1/completions", json={**body, parameter.name: value})
        assert answer.status_code == 200, answer.text
    for value in (parameter.minimum - 1, parameter.maximum + 1):
        answer = http.post("/v1/completions", json={**body, parameter.name: value})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == parameter.name


def test_the_playgrounds_own_defaults_are_accepted(http: httpx.Client) -> None:
    body = {"model": "tiny", "prompt": "옛날", **parameters.defaults()}
    assert http.post("/v1/completions", json=body).status_code == 200
