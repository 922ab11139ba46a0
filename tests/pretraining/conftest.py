"""A small run over the texts we ship: documents, token shards, configuration."""

import json
from pathlib import Path

import pytest

from hyperclova.pretraining.config import (
    CheckpointSection,
    DataSection,
    EvaluationSection,
    LoggingSection,
    ModelSection,
    OptimizerSection,
    PretrainingConfig,
    TrainingSection,
)
from hyperclova.tokenizer import Tokenizer
from hyperclova.tokens.tokenize import Job, tokenize


@pytest.fixture(scope="session")
def tokenizer_directory(
    tiny_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    directory = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizer.save(directory)
    return directory


@pytest.fixture(scope="session")
def documents(korean_lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources, some hundred short documents."""
    path = tmp_path_factory.mktemp("documents") / "texts.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(0, len(korean_lines) - 3, 3):
            document = {
                "id": f"text-{number}",
                "source": "blog" if number % 2 else "wiki",
                "title": "",
                "text": "\n".join(korean_lines[number : number + 3]),
            }
            file.write(json.dumps(document, ensure_ascii=False) + "\n")
    return path


@pytest.fixture(scope="session")
def token_directory(
    documents: Path, tokenizer_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    output = tmp_path_factory.mktemp("tokens")
    tokenize(Job((documents,), tokenizer_directory, output, held_out=0.2, workers=1))
    return output


@pytest.fixture
def config(tokenizer_directory: Path, token_directory: Path, tmp_path: Path) -> PretrainingConfig:
    """Twelve steps of a two-layer model with dropout, checkpoints every three."""
    return PretrainingConfig(
        directory=tmp_path / "run",
        model=ModelSection(layers=2, width=32, heads=2, context_length=32, dropout=0.1),
        data=DataSection(token_directory, tokenizer_directory),
        optimizer=OptimizerSection(learning_rate=3e-3, warmup_tokens=512),
        training=TrainingSection(
            tokens=12 * 256, batch_tokens=256, microbatch_tokens=128, sequence_length=32, seed=5
        ),
        checkpoint=CheckpointSection(every_steps=3, keep=2),
        evaluation=EvaluationSection(every_steps=6, tokens=512),
        logging=LoggingSection(every_steps=1),
    )
