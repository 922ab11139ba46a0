"""Every configuration we ship loads; the tiny one really runs, by the README's commands."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hyperclova.configuration import load
from hyperclova.model import SIZES, cost
from hyperclova.pretraining.config import PretrainingConfig
from hyperclova.pretraining.metrics import read_metrics

ROOT = Path(__file__).parents[2]
CONFIGURATIONS = sorted((ROOT / "configs" / "pretrain").glob("*.toml"))


def shipped(name: str) -> PretrainingConfig:
    return load(PretrainingConfig, ROOT / "configs" / "pretrain" / f"{name}.toml")


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.stem)
def test_every_configuration_loads(path: Path) -> None:
    config = load(PretrainingConfig, path)
    assert config.peak_learning_rate > 0
    assert config.directory.parts[0] == "runs"  # which git ignores


def test_there_is_one_for_every_size() -> None:
    assert set(SIZES) | {"tiny", "default"} <= {path.stem for path in CONFIGURATIONS}


@pytest.mark.parametrize("name", SIZES)
def test_the_sizes_are_the_papers(name: str) -> None:
    config = shipped(name)
    shape = config.model.shape(vocabulary_size=51_200)
    row = SIZES[name]
    assert (shape.layers, shape.width, shape.heads) == (row.layers, row.width, row.heads)
    assert config.peak_learning_rate == row.learning_rate
    assert config.training.batch_samples == 1024
    assert config.training.tokens == 150_000_000_000
    # The comments state figures; they are to be those of the code.
    text = (ROOT / "configs" / "pretrain" / f"{name}.toml").read_text(encoding="utf-8")
    assert f"{cost.parameters(shape):,} parameters" in text
    assert f"# learning_rate = {row.learning_rate * 1e4:.1f}e-4 " in text


def test_the_tiny_configuration_shows_every_key() -> None:
    text = (ROOT / "configs" / "pretrain" / "tiny.toml").read_text(encoding="utf-8")
    for section in dataclasses.fields(PretrainingConfig):
        if dataclasses.is_dataclass(section.type):
            assert f"[{section.name}]" in text
            for key in dataclasses.fields(section.type):
                assert f"{key.name} = " in text or f".{key.name}]" in text, key.name


def test_the_tiny_configuration_trains(tmp_path: Path) -> None:
    """From the demonstration corpus to a continuation, by the README's lines, in few steps."""
    for name in ("configs", "examples"):
        (tmp_path / name).symlink_to(ROOT / name, target_is_directory=True)

    def hyperclova(*arguments: str) -> str:
        code = "from hyperclova.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=tmp_path,
            env={**os.environ, "HYPERCLOVA_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    documents = "examples/documents.jsonl"
    train_tokenizer = f"tokenizer train {documents} --vocabulary-size 2000"
    hyperclova(*train_tokenizer.split(), "--output", "runs/tiny-tokenizer")
    tokenize = f"tokenize {documents} --tokenizer runs/tiny-tokenizer --output runs/tiny-tokens"
    hyperclova(*tokenize.split(), "--held-out", "0.1", "--workers", "1")
    hyperclova(
        *("pretrain", "configs/pretrain/tiny.toml", "--threads", "1"),
        *("training.tokens=16384", "logging.every_steps=1", "samples.every_steps=8"),
    )
    run = tmp_path / "runs" / "tiny"
    losses = [record["loss"] for record in read_metrics(run / "metrics.jsonl", "train")]
    assert len(losses) == 8
    assert losses[-1] < losses[0]
    (evaluation,) = read_metrics(run / "metrics.jsonl", "evaluation")
    assert evaluation["bits_per_byte"] > 0
    (samples,) = read_metrics(run / "metrics.jsonl", "samples")
    assert len(samples["texts"]) == len(samples["prompts"]) == 3
    assert json.loads((run / "run.json").read_text())["configuration"]["model"]["layers"] == 4

    hyperclova("export", "runs/tiny", "runs/exported", "--weights", "bfloat16")
    generate = "--model runs/exported --max-tokens 8 --temperature 0"
    first = hyperclova("generate", "옛날 옛적", *generate.split())
    assert first == hyperclova("generate", "옛날 옛적", *generate.split())
    assert first.strip()
