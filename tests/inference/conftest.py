"""Engines for the tests of what runs models."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hyperclova.inference import Engine
from hyperclova.inference.protocol import Chunk, Request
from hyperclova.model.directory import save_model
from hyperclova.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def engine(tiny_model_directory: Path) -> Iterator[Engine]:
    with Engine(tiny_model_directory) as engine:
        yield engine


@pytest.fixture(scope="session")
def write_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Tokenizer, int], Path]:
    """Writes model directories like ``tiny_model_directory``, with a tokenizer and a context."""
    import torch

    from hyperclova.model import GPT, GPTConfig

    def write(tokenizer: Tokenizer, context_length: int) -> Path:
        directory = tmp_path_factory.mktemp("models") / f"context-{context_length}"
        vocabulary = tokenizer.vocabulary_size + 16
        model = GPT(GPTConfig(vocabulary, context_length, layers=2, width=64, heads=4), seed=7)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.dim() == 2:
                    parameter.mul_(8 if name.startswith("blocks") else 6)
        save_model(model, directory, end_of_text_id=tokenizer.end_of_text_id)
        tokenizer.save(directory)
        return directory

    return write


@pytest.fixture(scope="session")
def long_model_directory(
    tiny_tokenizer: Tokenizer, write_model: Callable[[Tokenizer, int], Path]
) -> Path:
    """A context of 640 tokens: two chunks of keys and values and a half."""
    return write_model(tiny_tokenizer, 640)


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
