"""``hyperclova generate`` as it is typed."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from hyperclova.cli.generate import generate
from hyperclova.errors import UserError
from hyperclova.inference import Engine

application = typer.Typer()
application.command()(generate)


def run(*arguments: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(application, arguments, input=stdin)


def test_only_the_continuation_is_printed(engine: Engine) -> None:
    done = run(
        "옛날 옛적에",
        *("--model", str(engine.directory), "--max-tokens", "12", "--temperature", "0.9"),
        *("--top-p", "0.8", "--top-k", "30", "--repetition-penalty", "1.2", "--seed", "7"),
        *("--n", "2", "--stop", "다", "--stop", "요", "--logprobs", "2"),
    )
    assert done.exit_code == 0, done.output
    expected = engine.generate(
        "옛날 옛적에",
        max_tokens=12,
        temperature=0.9,
        top_p=0.8,
        top_k=30,
        repetition_penalty=1.2,
        seed=7,
        n=2,
        stop=("다", "요"),
    )
    texts = [choice.text for choice in expected.choices]
    assert done.stdout == texts[0] + "\n---\n" + texts[1] + "\n"
    assert "probability" in done.stderr


PIPED = {"max_tokens": 20, "temperature": 0.7, "top_p": 0.9, "repetition_penalty": 1.1, "seed": 1}


@pytest.mark.parametrize("flag", ["--stream", "--no-stream"])
def test_the_prompt_may_come_from_a_pipe(engine: Engine, flag: str) -> None:
    done = run(
        *("-", "--model", str(engine.directory), "--max-tokens", "20", "--seed", "1", flag),
        stdin="오늘 아침에는\n".encode(),
    )
    assert done.exit_code == 0, done.output
    assert done.stdout == engine.generate("오늘 아침에는", **PIPED).text + "\n"


def test_the_installed_command_writes_utf8(engine: Engine) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from hyperclova.cli import main; main()", "generate"),
            *("오늘 아침에는", "--model", str(engine.directory)),
            *("--max-tokens", "20", "--seed", "1"),
        ],
        capture_output=True,
        timeout=120,
        check=True,
    )
    expected = engine.generate("오늘 아침에는", **PIPED).text + "\n"
    assert done.stdout == expected.encode()
    assert done.stderr == b""


def test_mistakes_are_named(tmp_path: Path, engine: Engine) -> None:
    done = run("옛날", "--model", str(tmp_path))
    assert isinstance(done.exception, UserError)
    assert "config.json" in str(done.exception)
    done = run("-", "--model", str(engine.directory), stdin=b"\xec\x98")
    assert isinstance(done.exception, UserError)
    assert "not UTF-8 at byte 0" in str(done.exception)
    assert done.stdout == ""
