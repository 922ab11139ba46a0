from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperclova.inference import Engine


@pytest.fixture(scope="session")
def engine(tiny_model_directory: Path) -> Iterator[Engine]:
    with Engine(tiny_model_directory) as engine:
        yield engine
