"""The engine may die at any moment; Studio says so and goes on."""

import json
import threading
from pathlib import Path

import httpx
import openai

from studio_process import PATIENCE, Server, wait_for

# A minute's work, eight prompts at a time: two such requests are written side by side.
LONG = {
    "model": "tiny",
    "prompt": ["옛날 옛적 어느 마을에"] * 1000,
    "max_tokens": 110,
    "logit_bias": {"0": -100},
    "stream": True,
}
SHORT = {"model": "tiny", "prompt": "옛날", "max_tokens": 2}


def test_killed_while_it_writes(server: Server, client: openai.OpenAI) -> None:
    engine = server.engine()
    beginning = threading.Event()
    caught: list[BaseException] = []

    def listen() -> None:
        try:
            for _ in client.completions.create(**LONG):  # type: ignore[call-overload]
                beginning.set()
        except BaseException as error:
            caught.append(error)

    listener = threading.Thread(target=listen)
    listener.start()
    assert beginning.wait(PATIENCE)
    with httpx.Client(base_url=server.address, timeout=PATIENCE) as http:
        with http.stream("POST", "/v1/completions", json=LONG) as answer:
            lines = answer.iter_lines()
            next(lines)
            engine.kill()
            events = [line for line in lines if line.startswith("data: ")]
        refused = http.post("/v1/completions", json=SHORT)
        status = http.get("/api/status").json()
        page = http.get("/playground")
    listener.join(PATIENCE)

    error = json.loads(events[-1].removeprefix("data: "))["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == "engine_died"
    assert "send the request once more" in error["message"]
    assert "data: [DONE]" not in events, "a broken stream must not look whole"

    (broken,) = caught
    assert isinstance(broken, openai.APIError)
    assert broken.code == "engine_died"
    assert broken.type == "server_error"

    # Meanwhile: an answer that says what to do, and a status that says what happens.
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "engine_restarting"
    assert refused.headers["retry-after"] == "1"
    assert status["state"] == "restarting"
    assert "killed" in status["message"]
    assert status["model"]["id"] == "tiny"
    assert page.status_code == 200

    server.wait_until_ready()
    assert server.engine().pid != engine.pid
    assert httpx.post(f"{server.address}/v1/completions", json=SHORT).status_code == 200


def test_a_model_that_cannot_be_loaded(tiny_model_directory: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in tiny_model_directory.iterdir():
        content = path.read_bytes()
        # Weights that end too early, as a copy that was interrupted leaves them.
        cut = 5000 if path.suffix == ".safetensors" else len(content)
        (broken / path.name).write_bytes(content[:cut])
    server = Server(broken, tmp_path / "home")
    try:
        wait_for(lambda: server.status()["state"] == "failed", "the engine to give up")
        status = server.status()
        answer = httpx.post(f"{server.address}/v1/completions", json={**SHORT, "model": "broken"})
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "engine_failed"
        assert status["message"] in answer.json()["error"]["message"]
        assert httpx.get(f"{server.address}/playground").status_code == 200
    finally:
        server.stop()
