"""``hyperclova studio`` as a program: starts, says where it is, stops, leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from hyperclova.cli.studio import studio
from hyperclova.errors import UserError
from studio_process import PATIENCE, Server

COMMAND = [sys.executable, "-c", "from hyperclova.cli import main; main()", "studio"]
LONG = {"model": "tiny", "prompt": ["옛날 옛적"] * 200, "n": 128, "max_tokens": 110, "stream": True}
SHORT = {"model": "tiny", "prompt": "옛날", "max_tokens": 2}

Record = Callable[[str, object], None]


def stop(server: Server, number: signal.Signals, record_property: Record) -> None:
    """Ask it to stop; it must end as one that did what it was asked, and leave no child."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    assert children
    began = time.monotonic()
    server.process.send_signal(number)
    assert server.process.wait(PATIENCE) == 0
    record_property("seconds to stop", round(time.monotonic() - began, 2))
    assert not [child for child in children if child.is_running()]


def test_serves_others_and_stops_while_it_writes(
    tiny_model_directory: Path, tmp_path: Path, record_property: Record
) -> None:
    server = Server(tiny_model_directory, tmp_path / "home", "--host", "0.0.0.0")
    try:
        *before, line = server.output
        assert "no accounts yet" in "".join(before)
        assert line == f"Studio: {server.address}\n"
        assert server.address.startswith("http://127.0.0.1:")
        # Asked to serve others, it answers under whatever name they know it by.
        answer = httpx.get(f"{server.address}/api/desk", headers={"host": "studio.example"})
        assert answer.status_code == 200

        server.wait_until_ready()
        written = threading.Event()
        lines: list[str] = []

        def listen() -> None:
            with httpx.stream(
                "POST", f"{server.address}/v1/completions", json=LONG, timeout=PATIENCE
            ) as answer:
                for line in answer.iter_lines():
                    lines.append(line)
                    written.set()

        listener = threading.Thread(target=listen)
        listener.start()
        assert written.wait(PATIENCE)
        stop(server, signal.SIGINT, record_property)
        listener.join(PATIENCE)
        assert "engine_died" in lines[-2], "the client is told that its text is not whole"
        assert server.log.read_text() == ""
    finally:
        server.stop()


def test_answers_and_stops_while_the_model_loads(
    tiny_model_directory: Path, tmp_path: Path, record_property: Record
) -> None:
    server = Server(tiny_model_directory, tmp_path / "home")
    try:
        assert server.output == [f"Studio: {server.address}\n"]
        # The address is printed before torch is imported, so these come first.
        with httpx.Client(base_url=server.address) as http:
            answer = http.post("/v1/completions", json=SHORT)
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "model_loading"
            assert answer.headers["retry-after"] == "1"
            assert http.get("/api/status").json()["state"] == "loading"
            unknown = http.post("/v1/completions", json={**SHORT, "model": "gpt-4"})
            assert unknown.status_code == 404
            assert http.get("/v1/models").json()["data"][0]["id"] == "tiny"
            assert http.get("/playground").status_code == 200
        stop(server, signal.SIGTERM, record_property)
        assert server.log.read_text() == ""
    finally:
        server.stop()


def test_a_busy_port_is_one_line(tiny_model_directory: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "--model", str(tiny_model_directory), "--port", str(port)],
            env={**os.environ, "HYPERCLOVA_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"port {port} on 127.0.0.1 is in use" in done.stderr
    assert "--port" in done.stderr


def test_what_the_user_can_put_right_is_said(tiny_model_directory: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text("{}")
    for options, says in (
        ({"model": tmp_path / "nothing"}, "nothing is not a model directory"),
        ({"model": bare}, "tokenizer.json"),
        ({"host": "no.such.host.invalid"}, "--host no.such.host.invalid"),
        ({"host": "203.0.113.7"}, "cannot listen on 203.0.113.7"),
        ({"database": "nonsense"}, "--database 'nonsense' is not a database URL"),
        ({"database": f"sqlite:///{bare}"}, "cannot open the database"),
    ):
        with pytest.raises(UserError) as refused:
            studio(**{"model": tiny_model_directory, "port": 0, **options})  # type: ignore[arg-type]
        assert says in str(refused.value)
        assert "\n" not in str(refused.value)
