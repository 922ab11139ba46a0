"""For CTranslate2, by running it."""

import json
from pathlib import Path

import ctranslate2
import numpy as np
import pytest
import torch
from exported_models import TOKENS, Exported, Ids

from hyperclova.model.directory import load_model
from hyperclova.tokenizer import Tokenizer


def generator(directory: Path) -> ctranslate2.Generator:
    # Whatever the weights are stored in, CTranslate2 turns them into what it computes in.
    return ctranslate2.Generator(
        str(directory), device="cpu", compute_type="float32", intra_threads=1
    )


def logits(model: ctranslate2.Generator, prompt: tuple[int, ...]) -> np.ndarray:
    return np.array(model.forward_batch([list(prompt)]))[0]


def test_the_same_greedy_ids(
    exported: Exported, prompts: Ids, greedy: Ids, tiny_tokenizer: Tokenizer
) -> None:
    results = generator(exported("ctranslate2", "float32")).generate_batch(
        [[tiny_tokenizer.token_name(token) for token in prompt] for prompt in prompts],
        max_length=TOKENS,
        include_prompt_in_result=False,
    )
    assert [tuple(result.sequences_ids[0]) for result in results] == greedy


def test_names_stand_in_the_order_of_ids(exported: Exported, tiny_tokenizer: Tokenizer) -> None:
    directory = exported("ctranslate2", "float32")
    names = json.loads((directory / "vocabulary.json").read_text(encoding="utf-8"))
    assert names == [
        tiny_tokenizer.token_name(token) for token in range(tiny_tokenizer.vocabulary_size)
    ]
    # Its ids are to be had without looking elsewhere.
    assert Tokenizer.load(directory).fingerprint == tiny_tokenizer.fingerprint


@pytest.mark.parametrize(
    ("weights", "tolerance"),
    [
        ("float32", 1e-5),
        ("bfloat16", 2e-2),
        ("float16", 2e-3),
        ("int16", 1e-2),
        ("int8", 4e-2),
        ("int8_bfloat16", 4e-2),
        ("int8_float16", 4e-2),
    ],
)
def test_logits_of_every_type_of_weights(
    exported: Exported,
    tiny_model_directory: Path,
    prompts: Ids,
    weights: str,
    tolerance: float,
) -> None:
    directory = exported("ctranslate2", weights)
    theirs = generator(directory)
    size = len(json.loads((directory / "vocabulary.json").read_text(encoding="utf-8")))
    with torch.inference_mode():
        exact = load_model(tiny_model_directory)(torch.tensor([prompts[0]]))[0, :, :size].numpy()
    difference = np.linalg.norm(logits(theirs, prompts[0]) - exact) / np.linalg.norm(exact)
    assert difference < tolerance


def test_int8_is_a_quarter(exported: Exported) -> None:
    sizes = {
        weights: (exported("ctranslate2", weights) / "model.bin").stat().st_size
        for weights in ("float32", "int8")
    }
    # Positions, biases and LayerNorms stay float32, and they are much of so small a model.
    assert sizes["int8"] < 0.4 * sizes["float32"]
