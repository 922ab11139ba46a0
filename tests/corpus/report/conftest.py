"""One report of an authored build, and a real Chromium to look at it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from authored_build import full_build

from hyperclova.corpus.report import write_report


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output directory of a full build, with its report."""
    output = full_build(tmp_path_factory.mktemp("report") / "말뭉치-demo")
    assert write_report(output) == output / "report" / "report.html"
    return output


@pytest.fixture(scope="module")
def browser(chromium: Callable[[], AbstractContextManager[Any]]) -> Iterator[Any]:
    with chromium() as browser:
        yield browser
