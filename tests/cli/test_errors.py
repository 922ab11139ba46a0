"""User errors at the command line: one line, status 2, no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hyperclova", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pretrain", "nowhere.toml"], "hyperclova: nowhere.toml: no such configuration file"),
        (["export", "nowhere", "out"], "nowhere: neither a pretraining run (run.json) nor a model"),
        (
            ["tokenize", "nowhere.jsonl", "--tokenizer", "nowhere", "--output", "out"],
            "nowhere",
        ),
    ],
)
def test_one_line_and_status_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_a_missing_extra_names_the_command_that_adds_it(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('no torch', name='torch')")
    done = subprocess.run(
        [sys.executable, "-m", "hyperclova", "export", ".", "out"],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
    )
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "hyperclova: this command needs torch: pip install 'hyperclova[engine]'"
    )
