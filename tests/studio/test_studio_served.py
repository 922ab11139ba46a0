"""A Studio in front of another server: here, of another Studio."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import openai
import psutil
import pytest

from studio_process import PATIENCE, Server, wait_for

ASKED = {
    "model": "tiny",
    "prompt": ["옛날 옛적에", "뷁😀"],
    "max_tokens": 12,
    "seed": 5,
    "n": 2,
    "best_of": 3,
    "logprobs": 3,
    "echo": True,
    "stop": ["다"],
    "top_k": 40,
    "repetition_penalty": 1.2,
}


@pytest.fixture(scope="module")
def front(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    front = Server(None, tmp_path_factory.mktemp("front"), "--server", server.address)
    try:
        yield front.wait_until_ready()
    finally:
        front.stop()


def test_it_answers_as_the_one_behind_it(server: Server, front: Server) -> None:
    answers = []
    for address in (server.address, front.address):
        answer = httpx.post(f"{address}/v1/completions", json=ASKED, timeout=PATIENCE).json()
        answers.append({"choices": answer["choices"], "usage": answer["usage"]})
    assert answers[1] == answers[0]
    body = {"prompt": "아버지가 방에 들어가신다"}
    tokens = [httpx.post(f"{each.address}/tokenize", json=body).json() for each in (server, front)]
    assert tokens[1] == tokens[0]
    assert front.status() == server.status()
    models = [httpx.get(f"{each.address}/v1/models").json() for each in (server, front)]
    assert models[1] == models[0]
    assert httpx.get(f"{front.address}/playground").status_code == 200


def test_openais_client_streams_through_both(client: openai.OpenAI, front: Server) -> None:
    asked = {"model": "tiny", "prompt": "오늘 아침에는", "max_tokens": 20, "seed": 2}
    with openai.OpenAI(
        base_url=f"{front.address}/v1", api_key="unused", max_retries=0, timeout=PATIENCE
    ) as through:
        pieces = list(through.completions.create(**asked, stream=True))  # type: ignore[call-overload]
        with pytest.raises(openai.BadRequestError, match="context is 128 tokens"):
            through.completions.create(**{**asked, "prompt": [5] * 300})  # type: ignore[call-overload]
    whole = client.completions.create(**asked)  # type: ignore[call-overload]
    assert "".join(piece.choices[0].text for piece in pieces) == whole.choices[0].text
    assert len(pieces) > 5


def test_it_runs_no_engine(front: Server) -> None:
    process = psutil.Process(front.process.pid)
    assert process.children() == []
    assert not [each.path for each in process.memory_maps() if "libtorch" in each.path]


def test_the_server_behind_it_dies_and_comes_back(
    server: Server, tiny_model_directory: Path, tmp_path: Path
) -> None:
    # Three in a row: the one in the middle is there in a moment, as it loads no model.
    middle = ("--server", server.address)
    behind = Server(None, tmp_path / "behind", *middle).wait_until_ready()
    port = urlsplit(behind.address).port
    tokenizer = ("--tokenizer", str(tiny_model_directory))
    front = Server(None, tmp_path / "front", "--server", behind.address, *tokenizer)
    long = {"model": "tiny", "prompt": "옛날", "max_tokens": 110, "n": 100, "stream": True}
    short = {"model": "tiny", "prompt": "옛날", "max_tokens": 2}
    try:
        front.wait_until_ready()
        with httpx.stream(
            "POST", f"{front.address}/v1/completions", json=long, timeout=PATIENCE
        ) as answer:
            lines = answer.iter_lines()
            next(lines)
            behind.process.kill()
            events = [line for line in lines if line.startswith("data: ")]
        error = json.loads(events[-1].removeprefix("data: "))["error"]
        assert error["code"] == "engine_died"
        assert "broke off before the end of the answer" in error["message"]

        wait_for(lambda: "nothing answers at" in front.status()["message"], "the death to be seen")
        assert front.status()["state"] == "restarting"
        refused = httpx.post(f"{front.address}/v1/completions", json=short)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")

        behind.stop()
        behind = Server(None, tmp_path / "behind", *middle, "--port", str(port))
        front.wait_until_ready()
        behind.wait_until_ready()
        answered = httpx.post(f"{front.address}/v1/completions", json=short, timeout=PATIENCE)
        assert answered.status_code == 200, answered.text
    finally:
        front.stop()
        behind.stop()
