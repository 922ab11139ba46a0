"""A real Studio: the command as users start it, with a real engine and a tiny random model."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from studio_process import PATIENCE, Server


@pytest.fixture(scope="session")
def server(
    tiny_model_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One Studio for all tests that leave it as they found it."""
    server = Server(tiny_model_directory, tmp_path_factory.mktemp("home"))
    try:
        yield server.wait_until_ready()
    finally:
        server.stop()


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.address, timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    """OpenAI's own client, which must not notice the difference."""
    with openai.OpenAI(
        base_url=f"{server.address}/v1", api_key="unused", max_retries=0, timeout=PATIENCE
    ) as client:
        yield client
