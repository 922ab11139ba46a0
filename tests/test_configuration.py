"""Typed configuration: what is read, what is refused, and in which words."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperclova import configuration
from hyperclova.errors import UserError


@dataclass(frozen=True)
class Inner:
    rate: float = 1.0
    kind: Literal["a", "b"] = "a"
    names: tuple[str, ...] = ()
    limit: int | None = None


@dataclass(frozen=True)
class Outer:
    directory: Path
    inner: Inner
    flag: bool = False
    weights: dict[str, float] | None = None

    def __post_init__(self) -> None:
        if self.inner.rate < 0:
            raise ValueError(f"inner.rate is {self.inner.rate}; it must not be negative")


def load(text: str, tmp_path: Path, *overrides: str) -> Outer:
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    return configuration.load(Outer, path, overrides)


WHOLE = """
directory = "runs/하나"
flag = true
[inner]
rate = 2
names = ["가", "나"]
[weights]
wiki = 1
"""


def test_everything_is_read_with_its_type(tmp_path: Path) -> None:
    assert load(WHOLE, tmp_path) == Outer(
        Path("runs/하나"), Inner(2.0, "a", ("가", "나")), True, {"wiki": 1.0}
    )


def test_overrides_win_and_need_no_quotes(tmp_path: Path) -> None:
    outer = load(WHOLE, tmp_path, "directory=elsewhere/run", "inner.rate=1e-3", "inner.limit=7")
    assert outer.directory == Path("elsewhere/run")
    assert (outer.inner.rate, outer.inner.limit) == (1e-3, 7)
    assert load(WHOLE, tmp_path, "weights.news=0.5").weights == {"wiki": 1.0, "news": 0.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("inner.rat=1", r"unknown key inner\.rat; did you mean inner\.rate\?"),
        ("flags=true", r"unknown key flags; did you mean flag\?"),
        ("inner.rate=fast", r"inner\.rate is 'fast'; expected float"),
        ("inner.rate=true", r"inner\.rate is True; expected float"),
        ("inner.limit=1.5", r"inner\.limit is 1\.5; expected int"),
        ("flag=1", r"flag is 1; expected bool"),
        ("inner.kind=c", r"inner\.kind is 'c'; choose one of a, b"),
        ("inner.names=[1]", r"inner\.names\[\] is 1; expected str"),
        ("inner.rate=-1", r"inner\.rate is -1\.0; it must not be negative"),
        ("inner", r"'inner' is not of the form section\.key=value"),
        ("flag.deep=1", r"flag is a value, not a section"),
        ("inner=3", r"inner is 3; expected Inner"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(WHOLE, tmp_path, change)


def test_files_that_can_not_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run\.toml: not valid TOML: Invalid value"):
        load("directory = ", tmp_path)
    with pytest.raises(UserError, match=r"nowhere\.toml: no such configuration file"):
        configuration.load(Outer, tmp_path / "nowhere.toml")
    with pytest.raises(UserError, match=r"run\.toml: directory is missing"):
        load("[inner]", tmp_path)


@given(
    rate=st.floats(0, 1e9),
    kind=st.sampled_from(["a", "b"]),
    names=st.lists(st.text(), max_size=3),
    weights=st.none() | st.dictionaries(st.text(min_size=1), st.floats(0, 10), max_size=3),
)
def test_what_is_written_down_is_what_was_resolved(
    rate: float, kind: Literal["a", "b"], names: list[str], weights: dict[str, float] | None
) -> None:
    outer = Outer(Path("run"), Inner(rate, kind, tuple(names), 3), weights=weights)
    tree = configuration.to_mapping(outer)
    if weights is None:
        del tree["weights"]
    assert configuration.build(Outer, tree, "again") == outer
