"""For vLLM: the directory as `transformers` reads it, whose loaders vLLM uses."""

import json
from pathlib import Path

import pytest
import torch
from exported_models import PROMPTS, TOKENS, Exported, Ids
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from hyperclova.tokenizer import Tokenizer
from hyperclova.tokenizer.pretokenize import join_pieces


@pytest.fixture(scope="module")
def directory(exported: Exported) -> Path:
    return exported("vllm", "float32")


def test_the_same_greedy_ids(directory: Path, prompts: Ids, greedy: Ids) -> None:
    model = AutoModelForCausalLM.from_pretrained(directory)
    for prompt, ours in zip(prompts, greedy, strict=True):
        tokens = torch.tensor([prompt])
        written = model.generate(
            tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=TOKENS, do_sample=False
        )
        assert tuple(written[0, len(prompt) :].tolist()) == ours


def test_a_text_marked_with_its_pieces_has_our_ids(directory: Path, prompts: Ids) -> None:
    theirs = AutoTokenizer.from_pretrained(directory)
    for text, ids in zip(PROMPTS, prompts, strict=True):
        assert tuple(theirs(join_pieces(text, "word")).input_ids) == ids
        assert theirs.decode(ids) == text


def test_a_control_token_in_a_text_is_text(directory: Path) -> None:
    ours, theirs = Tokenizer.load(directory), AutoTokenizer.from_pretrained(directory)
    ids = theirs("끝<|endoftext|>").input_ids
    assert ours.end_of_text_id not in ids
    assert ours.decode(ids) == "끝<|endoftext|>"


def test_what_a_server_asks(directory: Path, tiny_tokenizer: Tokenizer) -> None:
    configuration = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    assert configuration["architectures"] == ["GPT2LMHeadModel"]
    assert configuration["n_positions"] == 128
    # No id that the tokenizer doesn't know can be written.
    assert configuration["vocab_size"] == tiny_tokenizer.vocabulary_size
    assert AutoTokenizer.from_pretrained(directory).model_max_length == 128
    generation = GenerationConfig.from_pretrained(directory)
    assert generation.eos_token_id == tiny_tokenizer.end_of_text_id
    # vLLM takes these for defaults of every request.
    assert {"temperature", "top_p", "top_k", "max_new_tokens"}.isdisjoint(generation.to_diff_dict())


@pytest.mark.parametrize("weights", ["bfloat16", "float16"])
def test_rounded_weights(exported: Exported, weights: str) -> None:
    exact = safe_open(exported("vllm", "float32") / "model.safetensors", "pt")
    rounded = safe_open(exported("vllm", weights) / "model.safetensors", "pt")
    assert set(exact.keys()) == set(rounded.keys())
    for name in exact.keys():  # noqa: SIM118 - no dictionary
        assert rounded.get_tensor(name).equal(exact.get_tensor(name).to(getattr(torch, weights)))
    configuration = json.loads((exported("vllm", weights) / "config.json").read_text("utf-8"))
    assert configuration["dtype"] == weights
