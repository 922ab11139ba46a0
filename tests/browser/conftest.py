"""A real Studio with a real engine, and a real Chromium to look at it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil
import pytest

from hyperclova.tokenizer import Tokenizer

PATIENCE = 120.0
"""Seconds for anything that a busy machine may take long over."""

SEED = 20210910
"""The model writes nonsense, any bytes at all: the same ones in every run of the tests."""


@pytest.fixture(scope="session")
def roomy_model_directory(
    tiny_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A random model like the tiny one, with room for long continuations; it never ends a text."""
    import torch

    from hyperclova.model import GPT, GPTConfig
    from hyperclova.model.directory import save_model

    directory = tmp_path_factory.mktemp("models") / "roomy"
    model = GPT(
        GPTConfig(tiny_tokenizer.vocabulary_size, context_length=8192, layers=2, width=64, heads=4),
        seed=7,
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.mul_(8 if name.startswith("blocks") else 6)
        # One direction of the last hidden state is constant, and only the end of text looks at it.
        end = tiny_tokenizer.end_of_text_id
        model.final_norm.weight[0], model.final_norm.bias[0] = 0.0, 1.0
        model.token_embedding.weight[:, 0] = 0.0
        model.token_embedding.weight[end] = 0.0
        model.token_embedding.weight[end, 0] = -1000.0
    save_model(model, directory, end_of_text_id=tiny_tokenizer.end_of_text_id)
    tiny_tokenizer.save(directory)
    return directory


class Studio:
    """``hyperclova studio`` as a process that can be stopped and started again."""

    def __init__(self, model: Path, home: Path) -> None:
        self.model = model
        self.home = home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {**os.environ, "HYPERCLOVA_HOME": str(self.home), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", "from hyperclova.cli import main; main()", "studio"),
                *("--model", str(self.model), "--port", str(self.port)),
            ],
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self.call("GET", "/api/status")["state"] == "ready":
                    return
            assert self.process is not None and self.process.poll() is None, "Studio ended"
            time.sleep(0.1)
        raise AssertionError("Studio's engine did not become ready")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)
            self.process = None

    def engine(self) -> psutil.Process:
        """The process in which the model runs."""
        assert self.process is not None
        (child,) = psutil.Process(self.process.pid).children()
        return child

    @contextlib.contextmanager
    def engine_held(self) -> Iterator[None]:
        """Nothing is computed meanwhile, so that what comes before the first token can be seen."""
        engine = self.engine()
        engine.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            engine.send_signal(signal.SIGCONT)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self.address + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            content = response.read()
        return json.loads(content) if content else None

    def lay_desk(self, *segments: tuple[str, str], **parameters: Any) -> None:
        """Put a draft on the desk: ``("human" | "model", text)`` in order."""
        document = {"segments": [{"author": author, "text": text} for author, text in segments]}
        self.call("PUT", "/api/desk", {"document": document, "parameters": parameters})


@pytest.fixture(scope="session")
def studio(
    roomy_model_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Studio]:
    studio = Studio(roomy_model_directory, tmp_path_factory.mktemp("home"))
    try:
        studio.start()
        yield studio
    finally:
        studio.stop()


@pytest.fixture(scope="package")
def browser(chromium: Callable[[], AbstractContextManager[Any]]) -> Iterator[Any]:
    with chromium() as browser:
        yield browser


Open = Callable[..., "Any"]


@pytest.fixture
def visit(browser: Any, studio: Studio) -> Iterator[Open]:
    """Opens the Playground in a fresh browser profile: ``visit(path, **context options)``.

    A script error or a refusal by the content security policy fails the test.
    """
    contexts: list[Any] = []
    complaints: list[str] = []

    def open_page(path: str = "/playground", **options: Any) -> Any:
        context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 800}, "locale": "ko-KR", **options}
        )
        context.set_default_timeout(PATIENCE * 1000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                complaints.append(message.text)
                if "Content Security Policy" in message.text
                else None
            ),
        )
        page.goto(studio.address + path)
        page.wait_for_selector("html[data-alive]")
        return page

    yield open_page
    for context in contexts:
        for page in context.pages:  # a draft saved in parting would land on the next test's desk
            page.evaluate("() => { window.fetch = () => Promise.reject(new TypeError()); }")
        context.close()
    assert not complaints


@pytest.fixture
def page(visit: Open, studio: Studio) -> Any:
    """The Playground with an empty desk and a seed, so that chance decides nothing."""
    studio.lay_desk(seed=SEED)
    return visit()
