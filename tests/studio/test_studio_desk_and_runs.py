"""The desk and the history over HTTP."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hyperclova.studio import parameters
from studio_process import Server

DOCUMENT = {
    "segments": [
        {"author": "human", "text": "펭귄: 안녕, 나는 남극에서 온 "},
        {"author": "model", "text": "펭귄이야.\n아이: 오늘 학교에 안 가서 좋아 🐧"},
    ]
}


def a_run(**fields: Any) -> dict[str, Any]:
    return {
        "model": "tiny",
        "request": {"model": "tiny", "prompt": "펭귄: 안녕", "seed": 7, "stop": ["아이:"]},
        "document": DOCUMENT,
        "output": "펭귄이야.",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
        **fields,
    }


@pytest.fixture
def mark(http: httpx.Client) -> Iterator[str]:
    """A word that only this test's runs contain; they are removed afterwards."""
    word = uuid.uuid4().hex
    yield word
    for run in http.get("/api/runs", params={"query": word, "limit": 100}).json()["runs"]:
        http.delete(f"/api/runs/{run['id']}")


def test_desk_survives_a_restart(tiny_model_directory: Path, tmp_path: Path) -> None:
    chosen = {"temperature": 0.3, "stop": ["아이:"], "seed": None, "logprobs": 5}
    first = Server(tiny_model_directory, tmp_path / "home")
    try:
        desk = httpx.get(f"{first.address}/api/desk").json()
        assert desk == {"document": {"segments": []}, "parameters": {}, "updated_at": None}
        body = {"document": DOCUMENT, "parameters": chosen}
        put = httpx.put(f"{first.address}/api/desk", json=body)
        assert put.status_code == 200
        first.process.kill()  # not even asked to stop
        first.process.wait()
    finally:
        first.stop()
    second = Server(tiny_model_directory, tmp_path / "home")
    try:
        desk = httpx.get(f"{second.address}/api/desk").json()
        assert desk == put.json()
        assert desk["document"] == DOCUMENT
        assert desk["parameters"] == chosen
        twin = httpx.get(f"{second.address}/playground.json").json()
        assert twin["desk"] == desk
    finally:
        second.stop()


def test_desk_can_be_what_it_was(http: httpx.Client) -> None:
    body = {"document": DOCUMENT, "parameters": parameters.defaults()}
    put = http.put("/api/desk", json=body).json()
    assert http.get("/api/desk").json() == put
    assert http.put("/api/desk", json=put).status_code == 200


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"parameters": {}}, "document must be"),
        ({"document": {}}, "document must be"),
        ({"document": {"segments": {}}}, "document must be"),
        ({"document": {"segments": ["글"]}}, "document.segments[0] must have exactly"),
        ({"document": {"segments": [{"author": "나", "text": "글"}]}}, "author must be one of"),
        ({"document": {"segments": [{"author": "human", "text": 1}]}}, "text must be a string"),
        ({"document": DOCUMENT, "parameters": {"temperature": 9}}, "from 0 to 2"),
        ({"document": DOCUMENT, "parameters": {"temp": 1}}, "parameters.temp: no such"),
        ({"document": DOCUMENT, "parameters": [1]}, "parameters must be an object"),
        ({"document": DOCUMENT, "draft": 1}, "draft: no such field"),
    ],
)
def test_desk_refuses_what_it_could_not_give_back(
    http: httpx.Client, body: dict[str, Any], says: str
) -> None:
    before = http.get("/api/desk").json()
    answer = http.put("/api/desk", json=body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]
    assert http.get("/api/desk").json() == before


def test_a_run_is_kept_as_it_was(http: httpx.Client) -> None:
    answer = http.post("/api/runs", json=a_run())
    assert answer.status_code == 201
    run = answer.json()
    assert {name: run[name] for name in a_run()} == a_run()
    assert run["created_at"].endswith("Z")
    assert http.get(f"/api/runs/{run['id']}").json() == run
    assert http.get("/api/runs").json()["runs"][0] == run

    assert http.delete(f"/api/runs/{run['id']}").status_code == 204
    for method in ("GET", "DELETE"):
        gone = http.request(method, f"/api/runs/{run['id']}")
        assert gone.status_code == 404
        assert gone.json()["error"]["code"] == "run_not_found"


def test_pages_of_history(http: httpx.Client, mark: str) -> None:
    ids = [
        http.post("/api/runs", json=a_run(output=f"{number} {mark}")).json()["id"]
        for number in range(7)
    ]
    newest_first = ids[::-1]
    seen: list[str] = []
    cursor = None
    while True:
        parameters = {"limit": 3, "query": mark, **({"before": cursor} if cursor else {})}
        page = http.get("/api/runs", params=parameters).json()
        seen += [run["id"] for run in page["runs"]]
        if len(seen) == 3:  # one that is written meanwhile does not shift the pages
            http.post("/api/runs", json=a_run(output=f"later {mark}"))
            http.delete(f"/api/runs/{seen[-1]}")  # nor does one that goes
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == newest_first


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("남극", True),  # in the document
        ("나무꾼은 100%", True),  # in the output
        ("100%를", False),
        ("나무꾼은_100", False),  # no wildcards
        ("PENGUIN", True),  # Latin letters in any case
        ("\\", True),
    ],
)
def test_search(http: httpx.Client, mark: str, query: str, found: bool) -> None:
    output = f"나무꾼은 100% penguin \\ {mark}"
    run = http.post("/api/runs", json=a_run(output=output)).json()
    runs = http.get("/api/runs", params={"query": query, "limit": 100}).json()["runs"]
    assert (run["id"] in [other["id"] for other in runs]) is found


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"request": None}, "request must be"),
        ({"document": None}, "document must be"),
        ({"output": 5}, "output must be a string"),
        ({"finish_reason": "bored"}, "finish_reason must be"),
        ({"usage": 5}, "usage must be an object"),
        ({"colour": "green"}, "colour: no such field"),
    ],
)
def test_runs_refuse_what_is_no_run(http: httpx.Client, body: dict[str, Any], says: str) -> None:
    answer = http.post("/api/runs", json=a_run(**body))
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("query", "param"),
    [("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("before=x", "before")],
)
def test_pages_refuse_what_is_no_page(http: httpx.Client, query: str, param: str) -> None:
    answer = http.get(f"/api/runs?{query}")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param
