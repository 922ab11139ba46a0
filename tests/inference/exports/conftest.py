"""A model as each other engine gets it, and what our engine writes with it."""

from pathlib import Path

import pytest
from exported_models import PROMPTS, TOKENS, Exported, Ids

from hyperclova.inference import Engine
from hyperclova.inference.exports import ForeignEngine, WeightType, export_for
from hyperclova.inference.protocol import Request, Sampling


@pytest.fixture(scope="session")
def exported(tiny_model_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The tiny model, whose embedding is wider than its tokenizer."""
    folder = tmp_path_factory.mktemp("exports")

    def export(engine: str, weights: str) -> Path:
        output = folder / f"{engine}-{weights}"
        if not output.exists():
            export_for(ForeignEngine(engine), tiny_model_directory, output, WeightType(weights))
        return output

    return export


@pytest.fixture(scope="session")
def prompts(engine: Engine) -> Ids:
    return [tuple(engine.tokenizer.encode(text)) for text in PROMPTS]


@pytest.fixture(scope="session")
def greedy(engine: Engine, prompts: Ids) -> Ids:
    """The most likely ids after each prompt, from our engine."""
    sampling = Sampling(temperature=0)
    requests = [Request(prompt, TOKENS, sampling, logprobs=0) for prompt in prompts]
    written = [
        tuple(token.id for token in completion.choices[0].tokens)
        for completion in engine.generate(requests)
    ]
    assert len(set(written)) == len(prompts)
    return written
