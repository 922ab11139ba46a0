"""For llama.cpp: the file as GGUF's own reader sees it, and llama.cpp itself where it is."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported_models import TOKENS, Exported, Ids
from gguf import GGMLQuantizationType, GGUFReader, LlamaFileType, TokenType, dequantize

from hyperclova.inference.exports import ForeignEngine, export_for
from hyperclova.model import GPT, GPTConfig
from hyperclova.model.directory import load_model, save_model
from hyperclova.tokenizer import Tokenizer
from hyperclova.tokenizer.tokenizer import Kind
from hyperclova.tokenizer.train import train


def expected_tensors(model: GPT, vocabulary: int) -> dict[str, np.ndarray]:
    """What a file should hold, from our model's own names and order."""
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    tensors = {
        "token_embd.weight": state["token_embedding.weight"][:vocabulary],
        "position_embd.weight": state["position_embedding.weight"],
    }
    pairs = {
        "attn_norm": "attention_norm",
        "attn_output": "attention.output",
        "ffn_norm": "mlp_norm",
        "ffn_up": "mlp.expand",
        "ffn_down": "mlp.contract",
    }
    heads, head_width = model.config.heads, model.config.head_width
    for kind in ("weight", "bias"):
        tensors[f"output_norm.{kind}"] = state[f"final_norm.{kind}"]
        for layer in range(model.config.layers):
            for theirs, ours in pairs.items():
                tensors[f"blk.{layer}.{theirs}.{kind}"] = state[f"blocks.{layer}.{ours}.{kind}"]
            # Ours goes head by head, query, key and value of each; theirs has all queries first.
            fused = state[f"blocks.{layer}.attention.query_key_value.{kind}"]
            rows = [
                fused[(head * 3 + which) * head_width + row]
                for which in range(3)
                for head in range(heads)
                for row in range(head_width)
            ]
            tensors[f"blk.{layer}.attn_qkv.{kind}"] = np.stack(rows)
    return tensors


def rounded(exact: np.ndarray, stored: GGMLQuantizationType) -> np.ndarray:
    if stored is GGMLQuantizationType.F32:
        return exact
    types = {"F16": torch.float16, "BF16": torch.bfloat16}
    return torch.from_numpy(exact).to(types[stored.name]).float().numpy()


@pytest.mark.parametrize("weights", ["float32", "float16", "bfloat16", "q8_0"])
def test_every_tensor(
    exported: Exported, tiny_model_directory: Path, tiny_tokenizer: Tokenizer, weights: str
) -> None:
    names = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "q8_0": "Q8_0"}
    expected = expected_tensors(load_model(tiny_model_directory), tiny_tokenizer.vocabulary_size)
    tensors = {tensor.name: tensor for tensor in GGUFReader(exported("gguf", weights)).tensors}
    assert set(tensors) == set(expected)
    for name, exact in expected.items():
        tensor = tensors[name]
        is_matrix = exact.ndim == 2 and name != "position_embd.weight"
        assert tensor.tensor_type.name == (names[weights] if is_matrix else "F32"), name
        assert tuple(reversed(tensor.shape.tolist())) == exact.shape, name
        stored = dequantize(tensor.data, tensor.tensor_type).reshape(exact.shape)
        if tensor.tensor_type is GGMLQuantizationType.Q8_0:
            # The nearest of 255 steps of a scale for 32 weights, itself rounded to float16.
            blocks = exact.reshape(-1, 32)
            largest = np.abs(blocks).max(axis=1, keepdims=True)
            error = np.abs(stored.reshape(-1, 32) - blocks)
            assert (error <= largest * (0.5 / 127 + 1 / 1024)).all(), name
        else:
            assert np.array_equal(stored, rounded(exact, tensor.tensor_type)), name


def test_the_shape_and_the_vocabulary(
    exported: Exported, tiny_model_directory: Path, tiny_tokenizer: Tokenizer
) -> None:
    reader = GGUFReader(exported("gguf", "q8_0"))

    def value(key: str) -> object:
        field = reader.get_field(key)
        assert field is not None, key
        return field.contents()

    size, end = tiny_tokenizer.vocabulary_size, tiny_tokenizer.end_of_text_id
    content = json.loads((tiny_model_directory / "tokenizer.json").read_text(encoding="utf-8"))
    expected = {
        "general.architecture": "gpt2",
        "general.name": "tiny",
        "general.file_type": LlamaFileType.MOSTLY_Q8_0,
        "gpt2.context_length": 128,
        "gpt2.embedding_length": 64,
        "gpt2.feed_forward_length": 256,
        "gpt2.block_count": 2,
        "gpt2.attention.head_count": 4,
        "gpt2.vocab_size": size,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": [tiny_tokenizer.token_name(token) for token in range(size)],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in content["model"]["merges"]],
        "tokenizer.ggml.bos_token_id": end,
        "tokenizer.ggml.eos_token_id": end,
        "tokenizer.ggml.add_bos_token": False,
        "hyperclova.tokenizer.kind": "morpheme",
        "hyperclova.tokenizer.fingerprint": tiny_tokenizer.fingerprint,
    }
    assert {key: value(key) for key in expected} == expected
    assert value("gpt2.attention.layer_norm_epsilon") == pytest.approx(1e-5)
    types = value("tokenizer.ggml.token_type")
    assert isinstance(types, list)
    assert [token for token in range(size) if types[token] != TokenType.NORMAL] == [end]
    assert types[end] == TokenType.CONTROL


LLAMA = (
    "llama-cpp-python is not installed: it is compiled for many minutes, so no extra asks for it"
)


def llama(path: Path, **options: Any) -> Any:
    llama_cpp = pytest.importorskip("llama_cpp", reason=LLAMA)
    exact = {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32}
    return llama_cpp.Llama(
        str(path), n_ctx=128, n_threads=1, n_threads_batch=1, verbose=False, **exact, **options
    )


def test_llama_cpp_writes_the_same_greedy_ids(
    exported: Exported, prompts: Ids, greedy: Ids
) -> None:
    model = llama(exported("gguf", "float32"))
    for prompt, ours in zip(prompts, greedy, strict=True):
        written: list[int] = []
        for token in model.generate(list(prompt), temp=0.0):
            if token == model.token_eos() or len(written) == TOKENS:
                break
            written.append(token)
        assert tuple(written) == ours


@pytest.mark.parametrize(
    ("weights", "tolerance"),
    # In float32, what differs is GELU, which llama.cpp looks up in a table of float16.
    [("float32", 1e-3), ("float16", 3e-3), ("bfloat16", 2e-2), ("q8_0", 5e-2)],
)
def test_llama_cpps_logits(
    exported: Exported, tiny_model_directory: Path, prompts: Ids, weights: str, tolerance: float
) -> None:
    model = llama(exported("gguf", weights), logits_all=True)
    model.eval(list(prompts[0]))
    theirs = model.scores[: len(prompts[0])]
    with torch.inference_mode():
        exact = load_model(tiny_model_directory)(torch.tensor([prompts[0]]))[0].numpy()
    exact = exact[:, : theirs.shape[1]]
    assert np.linalg.norm(theirs - exact) < tolerance * np.linalg.norm(exact)


@pytest.mark.parametrize("kind", ["byte", "morpheme"])
def test_llama_cpp_reads_texts_as_a_tokenizer_without_the_analyser(
    kind: Kind, korean_lines: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("llama_cpp", reason=LLAMA)
    tokenizer = train(korean_lines, vocabulary_size=480, kind=kind)
    size = tokenizer.vocabulary_size
    save_model(GPT(GPTConfig(size, 128, layers=1, width=32, heads=2)), tmp_path / kind)
    tokenizer.save(tmp_path / kind)
    export_for(ForeignEngine.GGUF, tmp_path / kind, tmp_path / "model.gguf")
    model = llama(tmp_path / "model.gguf", vocab_only=True)
    for line in (*korean_lines, "<|endoftext|>", "  앞뒤  ", "줄\n\n바꿈\t👨‍👩‍👧 1234 it's"):
        ids = model.tokenize(line.encode(), add_bos=False, special=False)
        assert ids == tokenizer.encode_without_analyser(line)
        assert model.detokenize(ids).decode() == line
        if kind == "byte":
            assert ids == tokenizer.encode(line)
