"""LayerNorm on queries and keys."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

from hyperclova.inference import Engine
from hyperclova.model import GPT, GPTConfig, cost
from hyperclova.model.directory import load_model, save_model
from hyperclova.tokenizer import Tokenizer


def shaped(query_key_norm: bool, vocabulary: int = 90) -> GPTConfig:
    return GPTConfig(vocabulary, 64, layers=2, width=48, heads=4, query_key_norm=query_key_norm)


def uneven(config: GPTConfig) -> GPT:
    model = GPT(config).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@torch.no_grad()
def grown_queries_and_keys(model: GPT) -> None:
    """As a run that is about to diverge leaves them: both projections thirty times as large."""
    for block in model.blocks.values():
        projection = block.attention.query_key_value
        for parameter in (projection.weight, projection.bias):
            parameter.view(4, 3, 12, -1)[:, :2] *= 30


@torch.no_grad()
def test_attention_does_not_depend_on_the_size_of_queries_and_keys() -> None:
    tokens = torch.randint(0, 90, (2, 40))
    for query_key_norm in (True, False):
        model = uneven(shaped(query_key_norm))
        before = model(tokens)
        grown_queries_and_keys(model)
        change = float((model(tokens) - before).abs().max())
        assert (change < 1e-3) is query_key_norm, change


def test_cost_counts_what_is_added() -> None:
    model = GPT(shaped(True))
    assert cost.parameters(model.config) == sum(p.numel() for p in model.parameters())
    assert cost.parameters(model.config) == cost.parameters(shaped(False)) + 2 * 2 * 12


def test_a_model_directory_keeps_it_and_says_that_it_is_no_gpt_2(tmp_path: Path) -> None:
    model = uneven(shaped(True))
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "hyperclova"
    with pytest.raises(ValueError, match="does not recognize this architecture"):
        AutoConfig.from_pretrained(tmp_path)


def test_the_engine_computes_the_same_log_probabilities(
    tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    model = uneven(shaped(True, tiny_tokenizer.vocabulary_size))
    save_model(model, tmp_path, end_of_text_id=tiny_tokenizer.end_of_text_id)
    tiny_tokenizer.save(tmp_path)
    prompt, continuation = "옛날 어느 마을에", " 마음씨 고운 나무꾼이 살았습니다."
    with Engine(tmp_path) as engine:
        score = engine.score(prompt, continuation)
    before = tiny_tokenizer.encode(prompt)
    whole = torch.tensor([[*before, *score.tokens]])
    with torch.no_grad():
        logprobs = model(whole[:, :-1])[0, len(before) - 1 :].log_softmax(-1)
    expected = logprobs.gather(1, torch.tensor(score.tokens)[:, None]).squeeze(1)
    torch.testing.assert_close(torch.tensor(score.logprobs), expected, atol=1e-4, rtol=1e-4)
