"""Engines for the tests of what runs models."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hyperclova.inference import Engine
from hyperclova.inference.protocol import Chunk, Request
from hyperclova.tokenizer import Tokenizer
from random_models import write_random_model


@pytest.fixture(scope="session")
def engine(tiny_model_directory: Path) -> Iterator[Engine]:
    with Engine(tiny_model_directory) as engine:
        yield engine


@pytest.fixture(scope="session")
def long_model_directory(
    tiny_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A context of 640 tokens: two chunks of keys and values and a half."""
    return write_random_model(tiny_tokenizer, tmp_path_factory.mktemp("models") / "long", 640)


@pytest.fixture(scope="session")
def between_steps() -> Callable[[Engine, Callable[[], None]], None]:
    """Runs something on an engine's own thread, between two steps: requests that are submitted
    there are taken in together, and what is looked at there does not change meanwhile."""

    def run(engine: Engine, work: Callable[[], None]) -> None:
        done = threading.Event()
        errors: list[BaseException] = []

        def work_once(chunk: Chunk) -> None:
            try:
                work()
            except BaseException as error:
                errors.append(error)

        engine.submit(Request((1,), max_tokens=0), work_once, lambda _: done.set())
        assert done.wait(60)
        if errors:
            raise errors[0]

    return run
