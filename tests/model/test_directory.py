"""Model directories: lossless both ways, and what `transformers` makes of them."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model

from hyperclova.errors import UserError
from hyperclova.model import GPT, GPTConfig
from hyperclova.model.directory import load_config, load_model, save_model

CONFIG = GPTConfig(vocab_size=311, context_length=48, layers=2, width=32, heads=4)


@pytest.fixture
def uneven() -> GPT:
    """A model whose biases and gains are not the initial ones, so that none can be mixed up."""
    model = GPT(CONFIG)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def test_saved_and_loaded_weights_are_the_same_bits(uneven: GPT, tmp_path: Path) -> None:
    save_model(uneven, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.config == uneven.config
    for name, tensor in uneven.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    assert not list(tmp_path.glob("*.incomplete"))


def test_transformers_computes_the_same_logits(uneven: GPT, tmp_path: Path) -> None:
    save_model(uneven, tmp_path)
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    tokens = torch.randint(0, CONFIG.vocab_size, (3, CONFIG.context_length))
    with torch.no_grad():
        torch.testing.assert_close(uneven(tokens), theirs(tokens).logits, atol=1e-5, rtol=0)


def test_foreign_gpt_2_directories_load(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shape = GPT2Config(vocab_size=311, n_positions=48, n_embd=32, n_layer=2, n_head=4)
    theirs = GPT2LMHeadModel(shape).eval()
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    tokens = torch.randint(0, 311, (2, 48))
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-5, rtol=0)


def test_the_bare_gpt_2_without_prefix_loads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shape = GPT2Config(vocab_size=311, n_positions=48, n_embd=32, n_layer=2, n_head=4)
    theirs = GPT2Model(shape).eval()
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    tokens = torch.randint(0, 311, (2, 48))
    with torch.no_grad():
        expected = theirs(tokens).last_hidden_state
        torch.testing.assert_close(ours.hidden(tokens), expected, atol=1e-5, rtol=0)


def test_half_precision_files_round_once(uneven: GPT, tmp_path: Path) -> None:
    save_model(uneven, tmp_path, dtype=torch.bfloat16)
    loaded = load_model(tmp_path)
    for name, tensor in uneven.state_dict().items():
        assert torch.equal(tensor.bfloat16().float(), loaded.state_dict()[name])
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere/config\.json: no such file"):
        load_model(tmp_path / "nowhere")


def test_missing_weights_are_named(uneven: GPT, tmp_path: Path) -> None:
    save_model(uneven, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: no such file"):
        load_model(tmp_path)


def test_a_cut_file_is_refused(uneven: GPT, tmp_path: Path) -> None:
    save_model(uneven, tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_model(tmp_path)


def test_a_missing_and_an_unknown_parameter_are_named(uneven: GPT, tmp_path: Path) -> None:
    save_model(uneven, tmp_path)
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    save_file({**state, "transformer.h.0.attn.rotary": torch.zeros(1)}, path)
    with pytest.raises(UserError, match=r"unknown parameter transformer\.h\.0\.attn\.rotary"):
        load_model(tmp_path)
    del state["transformer.ln_f.bias"]
    save_file(state, path)
    with pytest.raises(UserError, match=r"transformer\.ln_f\.bias is missing"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model_type", "llama", "only 'gpt2' directories"),
        ("n_layer", "two", "n_layer is 'two'"),
        ("n_head", 5, "width 32 is not a multiple of heads 5"),
        ("activation_function", "relu", "activation_function 'relu'"),
        ("tie_word_embeddings", False, "tie_word_embeddings"),
        ("n_inner", 100, "n_inner is 100"),
        ("n_layer", 3, "is missing"),
        ("vocab_size", 300, "do not fit"),
    ],
)
def test_what_is_not_this_architecture_is_refused(
    uneven: GPT, tmp_path: Path, key: str, value: object, message: str
) -> None:
    save_model(uneven, tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(UserError, match=message):
        load_model(tmp_path)


def test_the_shape_can_be_read_alone(uneven: GPT, tmp_path: Path) -> None:
    save_model(uneven, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert load_config(tmp_path) == CONFIG
