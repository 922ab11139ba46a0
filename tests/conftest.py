"""What every floor's tests stand on: Korean texts, a small tokenizer, a small model."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from hyperclova.tokenizer import Tokenizer
from random_models import write_random_model

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

TEXTS = Path(__file__).parent / "texts"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked ``data`` run where HYPERCLOVA_DATA names the data sets."""
    if os.environ.get("HYPERCLOVA_DATA"):
        return
    skip = pytest.mark.skip(reason="HYPERCLOVA_DATA is not set")
    for item in items:
        if item.get_closest_marker("data"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def korean_lines() -> list[str]:
    """Korean sentences that we wrote for the tests, one a line."""
    paths = sorted(TEXTS.glob("*.txt"))
    return [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def tiny_tokenizer(korean_lines: list[str]) -> Tokenizer:
    """A morpheme-aware tokenizer of 480 ids; many syllables are spread over several tokens."""
    from hyperclova.tokenizer.train import train

    return train(korean_lines, vocabulary_size=480)


@pytest.fixture(scope="session")
def tiny_model_directory(
    tiny_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model directory with random weights: 2 layers, width 64, a context of 128 tokens."""
    return write_random_model(tiny_tokenizer, tmp_path_factory.mktemp("models") / "tiny", 128)


@pytest.fixture(scope="session")
def chromium() -> Callable[[], AbstractContextManager[Any]]:
    """Opens a real browser: ``with chromium() as browser:``.

    The one that ``CHROMIUM`` names, else the first one installed. Don't keep it for the whole
    session: while Playwright lives, its event loop keeps others out of the thread.
    """
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        reason = "no Chromium: install one, or name it in the environment variable CHROMIUM"
        if os.environ.get("HYPERCLOVA_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)

    @contextmanager
    def launched() -> Iterator[Any]:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=executable,
                args=[
                    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
                    *("--disable-background-networking", "--disable-component-update"),
                    "--disable-sync",
                ],
            )
            yield browser
            browser.close()

    return launched
