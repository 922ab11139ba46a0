"""``hyperclova bench serve`` against the real engine, and against servers good and bad."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import psutil
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from hyperclova.cli.bench import application
from hyperclova.errors import UserError
from hyperclova.inference.bench.load import Answer, Bench, Level, Workload
from hyperclova.inference.bench.prompts import Prompts
from hyperclova.inference.bench.report import FORMAT, summarize
from hyperclova.inference.bench.targets import Arrival, FailedError, RefusedError
from hyperclova.tokenizer import Tokenizer

front = typer.Typer()
front.add_typer(application)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(front, ["bench", "serve", *map(str, arguments)])


# -- prompts ------------------------------------------------------------------------------------


def test_prompts_have_their_length_and_begin_differently(tiny_tokenizer: Tokenizer) -> None:
    prompts = Prompts(tiny_tokenizer, 64)
    drawn = [prompts(index) for index in range(50)]
    assert {len(prompt) for prompt in drawn} == {64}
    assert len({prompt[:16] for prompt in drawn}) == 50
    assert drawn == [Prompts(tiny_tokenizer, 64)(index) for index in range(50)]
    assert drawn[0] != Prompts(tiny_tokenizer, 64, seed=1)(0)


def test_prompts_share_what_they_should(tiny_tokenizer: Tokenizer) -> None:
    prompts = Prompts(tiny_tokenizer, 64, shared=40)
    drawn = [prompts(index) for index in range(20)]
    assert {len(prompt) for prompt in drawn} == {64}
    assert len({prompt[:40] for prompt in drawn}) == 1
    assert len({prompt[40:] for prompt in drawn}) == 20


def test_prompts_are_korean_words_as_text(tiny_tokenizer: Tokenizer) -> None:
    prompts = Prompts(tiny_tokenizer, 61)
    for text in map(prompts.text, range(20)):
        assert "\ufffd" not in text
        assert 57 <= len(tiny_tokenizer.encode(text)) <= 63  # a cut character is left out


# -- what is made of what was seen -----------------------------------------------------------------


def answer(asked: float, *arrivals: tuple[float, int], outcome: Any = "answered") -> Answer:
    ended = arrivals[-1][0] if arrivals else asked
    tokens = sum(tokens for _, tokens in arrivals)
    return Answer(asked, ended, arrivals, 10, tokens, outcome, "" if arrivals else "busy")


def test_figures_are_those_of_the_arrivals() -> None:
    level = Level(
        2,
        False,
        4.0,
        (
            answer(0.0, (0.5, 1), (0.7, 2), (1.1, 1)),  # two tokens at 0.7 took 0.1 s each
            answer(1.0, (2.0, 1), (2.4, 1)),
            answer(1.5, outcome="refused"),
            answer(1.6, outcome="failed"),
        ),
        12345,
        True,
    )
    summary = summarize(level)
    assert (summary.concurrency, summary.rate) == (2, None)
    assert (summary.answered, summary.refused, summary.failed) == (2, 1, 1)
    assert (summary.prompt_tokens, summary.completion_tokens) == (20, 6)
    assert summary.output_tokens_per_second == pytest.approx(6 / 4)
    assert summary.total_tokens_per_second == pytest.approx(26 / 4)
    assert summary.time_to_first_token is not None
    assert summary.time_to_first_token.mean == pytest.approx((0.5 + 1.0) / 2)
    gaps = [0.1, 0.1, 0.4, 0.4]
    assert summary.inter_token_latency is not None
    assert summary.inter_token_latency.mean == pytest.approx(np.mean(gaps))
    assert summary.inter_token_latency.p95 == pytest.approx(np.quantile(gaps, 0.95))
    assert summary.request_latency is not None
    assert summary.request_latency.p50 == pytest.approx((1.1 + 1.4) / 2)
    assert summary.reasons == {"busy": 2}


def test_a_level_without_answers_has_no_latencies() -> None:
    summary = summarize(Level(1, False, 1.0, (answer(0.0, outcome="failed"),), None, True))
    assert summary.time_to_first_token is summary.inter_token_latency is None
    assert summary.output_tokens_per_second == 0


class Metronome:
    """A target whose answers take a fixed time, and which counts who is there at once."""

    def __init__(self, seconds: float = 0.02, room: int = 100) -> None:
        self.seconds, self.room = seconds, room
        self.now = self.most = 0
        self.prompts: list[int] = []

    async def __aenter__(self) -> "Metronome":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    async def ask(self, prompt: int, max_tokens: int, client: str) -> AsyncGenerator[Arrival, None]:
        self.prompts.append(prompt)
        if prompt == 7:
            raise FailedError("the seventh fails")
        if self.now == self.room:
            raise RefusedError("full")
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            for token in range(max_tokens):
                await asyncio.sleep(self.seconds / max_tokens)
                yield Arrival(1, 5, token + 1)
        finally:
            self.now -= 1

    def describe(self) -> dict[str, Any]:
        return {"kind": "metronome"}

    def forget_peak(self) -> None: ...

    def peak_memory(self) -> int | None:
        return None


def test_a_closed_loop_keeps_so_many_clients_busy() -> None:
    target = Metronome()
    bench = Bench(target, Workload((1, 3), requests=9, max_tokens=4))
    asyncio.run(bench.run())
    assert [level.load for level in bench.levels] == [1, 3]
    one, three = bench.levels
    assert target.most == 3
    assert len(set(target.prompts)) == len(target.prompts) == 2 + 9 + 9
    assert one.seconds > 8 * target.seconds  # one after the other, the seventh prompt took none
    assert one.complete and three.complete
    assert [each.message for each in one.answers if each.outcome == "failed"] == [
        "the seventh fails"
    ]


def test_an_open_loop_does_not_wait_for_answers() -> None:
    target = Metronome(seconds=0.2, room=12)
    bench = Bench(target, Workload((200,), open_loop=True, requests=20, max_tokens=2))
    asyncio.run(bench.run())
    (level,) = bench.levels
    refused = [each for each in level.answers if each.outcome == "refused"]
    assert target.most == 12
    assert len(refused) + 1 + 12 >= 20 - 1
    asked = sorted(each.asked for each in level.answers)
    gaps = np.diff(asked)
    assert gaps.min() < gaps.max() / 4  # they do not come at a steady pace


def test_what_was_measured_survives_an_interruption() -> None:
    bench = Bench(Metronome(), Workload((1, 2), requests=6, max_tokens=2))

    async def interrupted() -> None:
        task = asyncio.create_task(bench.run())
        while not bench.levels or bench.target.now == 0:  # type: ignore[attr-defined]
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.03)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(interrupted())
    assert [level.complete for level in bench.levels] == [True, False]
    assert 0 < len(bench.levels[1].answers) < 6


def test_a_target_that_fails_from_the_start_is_no_measurement() -> None:
    class Broken(Metronome):
        async def ask(self, *_: Any) -> AsyncGenerator[Arrival, None]:
            raise FailedError("out of order")
            yield  # an asynchronous generator

    with pytest.raises(UserError, match="the first request failed: out of order"):
        asyncio.run(Bench(Broken(), Workload((1,))).run())


# -- the command, with the real engine ----------------------------------------------------------


@pytest.fixture(scope="module")
def measured(
    tiny_model_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Result, dict[str, Any], Path]:
    directory = tmp_path_factory.mktemp("bench")
    figures, picture = directory / "figures.json", directory / "picture.png"
    done = run(
        tiny_model_directory,
        *("--concurrency", "1,3", "--requests", "6", "--prompt-tokens", "24"),
        *("--shared-prefix", "8", "--max-tokens", "10", "--json", figures, "--plot", picture),
    )
    assert done.exit_code == 0, done.output
    return done, json.loads(figures.read_text(encoding="utf-8")), picture


def test_the_engine_is_measured(measured: tuple[Result, dict[str, Any], Path]) -> None:
    done, figures, _ = measured
    assert figures["format"] == FORMAT
    assert figures["machine"]["cores"] == os.cpu_count()
    target = figures["target"]
    assert (target["kind"], target["model"], target["rows"]) == ("engine", "tiny", 16)
    assert figures["workload"] == {
        "prompt_tokens": 24,
        "shared_prefix": 8,
        "max_tokens": 10,
        "temperature": 0.0,
        "seed": 0,
    }
    assert [level["concurrency"] for level in figures["levels"]] == [1, 3]
    for level in figures["levels"]:
        assert (level["answered"], level["refused"], level["failed"]) == (6, 0, 0)
        assert (level["rate"], level["complete"], level["reasons"]) == (None, True, {})
        # Every answer is as long as asked for: none ends at the end of a text.
        assert (level["prompt_tokens"], level["completion_tokens"]) == (6 * 24, 6 * 10)
        assert level["output_tokens_per_second"] == pytest.approx(60 / level["seconds"])
        assert level["total_tokens_per_second"] == pytest.approx(204 / level["seconds"])
        for name in ("time_to_first_token", "inter_token_latency", "request_latency"):
            spread = level[name]
            assert 0 < spread["p50"] <= spread["p95"] <= spread["p99"] < level["seconds"]
        first, whole = level["time_to_first_token"], level["request_latency"]
        assert first["mean"] < whole["mean"]
        if sys.platform == "linux":  # torch alone is more than 100 MB
            assert 1e8 < level["peak_memory_bytes"] < 1e10
    rate = figures["levels"][0]["output_tokens_per_second"]
    assert f"{rate:.1f}" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_plot_is_a_picture_with_something_on_it(
    measured: tuple[Result, dict[str, Any], Path],
) -> None:
    from matplotlib import image

    path = measured[2]
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = image.imread(path)[..., :3]
    height, width, _ = pixels.shape
    assert width > 1000 and height > 300
    # Each panel holds ink that is not paper; the bars hold our green.
    for panel in np.array_split(pixels, 3, axis=1):
        assert (np.abs(panel - panel[0, 0]).sum(axis=2) > 0.3).mean() > 0.01
    green = np.array([0x00, 0x7D, 0x50]) / 255
    assert (np.abs(pixels[:, : width // 3] - green).max(axis=2) < 0.02).mean() > 0.1


def test_requests_may_arrive_at_random(tiny_model_directory: Path, tmp_path: Path) -> None:
    done = run(
        tiny_model_directory,
        *("--rate", "20,60", "--requests", "8", "--prompt-tokens", "16", "--max-tokens", "4"),
        *("--temperature", "0.8", "--json", tmp_path / "figures.json"),
    )
    assert done.exit_code == 0, done.output
    levels = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["levels"]
    assert [(level["rate"], level["concurrency"]) for level in levels] == [(20, None), (60, None)]
    assert [level["answered"] for level in levels] == [8, 8]
    assert "req/s" in done.stdout


def test_ctrl_c_prints_what_has_been_measured(tiny_model_directory: Path, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [
        *(sys.executable, "-m", "hyperclova", "bench", "serve", str(tiny_model_directory)),
        *("--concurrency", "1,2", "--prompt-tokens", "16", "--max-tokens", "8"),
        *("--requests", "100000", "--json", str(figures)),
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Tests that run in the background inherit that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline() == "1 clients: 100000 requests\n"
        (engine,) = psutil.Process(process.pid).children()
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, errors
    assert "1, cut" in output
    (level,) = json.loads(figures.read_text(encoding="utf-8"))["levels"]
    assert level["complete"] is False
    assert 0 < level["answered"] < 100_000
    assert not engine.is_running()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere"),
        (["--concurrency", "1,zwei"], "--concurrency 1,zwei: must be whole numbers above 0"),
        (["--concurrency", "0"], "--concurrency 0: must be whole numbers above 0"),
        (["--rate", "nan"], "--rate nan: must be numbers above 0"),
        (["--shared-prefix", "64"], "--shared-prefix 64: must be less than the 64 tokens"),
        (["--prompt-tokens", "200"], "200 + 64 tokens do not fit into the model's context of 128"),
        (["--json", "no/such/place.json"], "no/such/place.json: there is no directory"),
        (["--plot", "picture.gif"], "picture.gif: a plot's file must end in .png, .svg, .pdf"),
        (["--shape", "138M"], "no model size '138M'"),
        (["--shape", "137M", "--server", "http://127.0.0.1:9/v1"], "leave it out with --server"),
        (["--server", "http://127.0.0.1:9/v1"], "nothing answers at http://127.0.0.1:9"),
        (["--server", "nonsense"], "'nonsense' is no address of a server"),
        (["--server", "http://127.0.0.1:9", "--api-key-env", "NO_SUCH"], "--api-key-env NO_SUCH: "),
        (["--api-key-env", "PATH"], "--api-key-env belongs to --server"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_line(
    arguments: list[str], message: str, tiny_model_directory: Path
) -> None:
    model = [] if arguments == ["nowhere"] else [str(tiny_model_directory)]
    done = run(*model, *arguments)
    assert isinstance(done.exception, UserError), done.output
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)


def test_a_model_that_cannot_be_loaded_is_said_in_a_line(
    tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    tiny_tokenizer.save(tmp_path)
    done = run(tmp_path)
    assert isinstance(done.exception, UserError)
    assert "config.json: no such file" in str(done.exception)


def test_without_matplotlib_nothing_is_measured(tiny_model_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text(
        "raise ModuleNotFoundError('no matplotlib', name='matplotlib')"
    )
    command = [
        *(sys.executable, "-m", "hyperclova", "bench", "serve", str(tiny_model_directory)),
        *("--plot", str(tmp_path / "picture.png")),
    ]
    paths = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PATH": "", "PYTHONPATH": paths}
    )
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "hyperclova: this command needs matplotlib: pip install 'hyperclova[report]'"
    )


# -- servers ------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """OpenAI's streamed completions, written by hand: a good server, a busy one, broken ones."""

    protocol_version = "HTTP/1.1"
    kind = "good"
    asked: list[dict[str, Any]]

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        models = "" if self.kind == "empty" else '{"id": "hangul-1"}'
        body = b"<html>" if self.kind == "page" else f'{{"data": [{models}]}}'.encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked["key"] = self.headers["authorization"]
        self.asked.append(asked)
        busy = self.kind == "busy" and len(self.asked) % 2 == 0
        status = 429 if busy else 400 if self.kind == "strict" else 200
        self.send_response(status)
        self.send_header("connection", "close")
        self.send_header("content-type", "text/event-stream" if status == 200 else "text/json")
        self.end_headers()
        if status != 200:
            self.wfile.write('{"error": {"message": "그런 모형은\\n없습니다"}}'.encode())
            return
        if self.kind == "breaking" and len(self.asked) > 2:
            self._event({"error": {"message": "the engine died"}})
            return
        for piece in ("산골", "", " 마을에"):
            self._event({"choices": [{"index": 0, "text": piece}], "usage": None})
            time.sleep(0.01)
        self._event({"choices": [], "usage": {"prompt_tokens": 31, "completion_tokens": 3}})
        self.wfile.write(b": a comment\n\ndata: [DONE]\n\n")

    def _event(self, data: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()


@contextmanager
def serving(kind: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    handler = type("Kind", (Handler,), {"kind": kind, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", handler.asked  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def run_server(
    kind: str, model: Path, figures: Path, *more: str
) -> tuple[Result, list[dict[str, Any]]]:
    with serving(kind) as (address, asked):
        done = run(
            model,
            *("--server", address, "--concurrency", "2", "--requests", "8"),
            *("--prompt-tokens", "30", "--max-tokens", "5", "--json", figures),
            *more,
        )
    return done, asked


def test_a_server_is_measured_by_what_it_says(
    tiny_model_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_OF_THE_TEST", "no-secret")
    key = ("--api-key-env", "KEY_OF_THE_TEST")
    done, asked = run_server("good", tiny_model_directory, tmp_path / "figures.json", *key)
    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert figures["target"]["kind"] == "server"
    assert figures["target"]["model"] == "hangul-1"
    (level,) = figures["levels"]
    assert (level["answered"], level["peak_memory_bytes"]) == (8, None)
    # As the server counts them, not as pieces arrive.
    assert (level["prompt_tokens"], level["completion_tokens"]) == (8 * 31, 8 * 3)
    assert level["inter_token_latency"]["p50"] > 0.018  # from the first piece to the second text
    assert len(asked) == 10
    assert {request["max_tokens"] for request in asked} == {5}
    assert all(request["stream"] and request["key"] == "Bearer no-secret" for request in asked)
    assert len({request["prompt"] for request in asked}) == 10


def test_a_busy_servers_refusals_are_counted(tiny_model_directory: Path, tmp_path: Path) -> None:
    done, _ = run_server("busy", tiny_model_directory, tmp_path / "figures.json")
    assert done.exit_code == 0, done.output
    (level,) = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["levels"]
    assert (level["answered"], level["refused"], level["failed"]) == (4, 4, 0)
    assert "4 × http://127.0.0.1" in done.stdout
    assert "429: 그런 모형은 없습니다" in done.stdout


def test_a_server_that_breaks_while_it_is_measured(
    tiny_model_directory: Path, tmp_path: Path
) -> None:
    done, _ = run_server("breaking", tiny_model_directory, tmp_path / "figures.json")
    assert isinstance(done.exception, UserError)
    assert str(done.exception).startswith("no request was answered: http://127.0.0.1")
    assert str(done.exception).endswith("the engine died")
    assert "8 × http://127.0.0.1" in done.stdout
    (level,) = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["levels"]
    assert (level["answered"], level["failed"], level["time_to_first_token"]) == (0, 8, None)


def test_a_server_that_refuses_the_request_is_quoted(
    tiny_model_directory: Path, tmp_path: Path
) -> None:
    done, _ = run_server("strict", tiny_model_directory, tmp_path / "figures.json")
    assert isinstance(done.exception, UserError)
    assert str(done.exception).startswith("the first request failed: http://127.0.0.1")
    assert str(done.exception).endswith("400: 그런 모형은 없습니다")


@pytest.mark.parametrize(
    ("kind", "message"), [("page", "what is no JSON object: '<html>'"), ("empty", "lists no model")]
)
def test_a_server_without_a_model_is_refused(
    kind: str, message: str, tiny_model_directory: Path, tmp_path: Path
) -> None:
    done, asked = run_server(kind, tiny_model_directory, tmp_path / "figures.json")
    assert isinstance(done.exception, UserError)
    assert message in str(done.exception)
    assert not asked
