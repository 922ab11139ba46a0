"""A GGUF file for llama.cpp and what is built on it.

Names and metadata are those of the architecture ``gpt2`` in the GGUF specification. The head is
the token embedding, which llama.cpp takes where the file has no ``output.weight``.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType as Stored
from gguf import LlamaFileType

from hyperclova.errors import UserError
from hyperclova.inference.exports.source import EMBEDDING, Source

_TYPES = {
    "float32": (Stored.F32, LlamaFileType.ALL_F32),
    "bfloat16": (Stored.BF16, LlamaFileType.MOSTLY_BF16),
    "float16": (Stored.F16, LlamaFileType.MOSTLY_F16),
    "q8_0": (Stored.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
_BLOCK = 32  # weights that share a scale in q8_0

_INNER = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


def tensor_names(layers: int) -> dict[str, str]:
    """GGUF's name -> GPT-2's, for every tensor of a model with so many layers."""
    names = {
        "token_embd.weight": EMBEDDING,
        "position_embd.weight": "transformer.wpe.weight",
    }
    for layer in range(layers):
        for theirs, ours in _INNER.items():
            for kind in ("weight", "bias"):
                names[f"blk.{layer}.{ours}.{kind}"] = f"transformer.h.{layer}.{theirs}.{kind}"
    for kind in ("weight", "bias"):
        names[f"output_norm.{kind}"] = f"transformer.ln_f.{kind}"
    return names


def write(source: Source, output: Path, weights: str) -> None:
    """Write the file ``output``, a tensor at a time.

    Args:
        weights: of the matrices: ``float32``, ``bfloat16``, ``float16`` or ``q8_0`` (8 bits, a
            scale for every 32). Positions, biases and LayerNorms are float32 always.

    Raises:
        UserError: the tokenizer is no byte-level BPE, or ``q8_0`` doesn't fit the width.
    """
    matrices, file_type = _TYPES[weights]
    if matrices is Stored.Q8_0 and source.config.width % _BLOCK:
        raise UserError(
            f"--weights q8_0 packs {_BLOCK} weights together, and the model's width "
            f"{source.config.width} is no multiple of that: choose float16"
        )
    writer = gguf.GGUFWriter(output, "gpt2")
    _describe_model(writer, source)
    writer.add_file_type(file_type)
    if matrices is Stored.Q8_0:
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _describe_vocabulary(writer, source)
    # Sizes stand before the data in the file: a first pass computes them, a second one writes.
    for name, shape, stored in _plan(source, matrices):
        block, block_bytes = gguf.GGML_QUANT_SIZES[stored]
        size = math.prod(shape) // block * block_bytes
        writer.add_tensor_info(name, shape, np.dtype(np.float32), size, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    names = tensor_names(source.config.layers)
    for name, _, stored in _plan(source, matrices):
        writer.write_tensor_data(gguf.quantize(_read(source, names[name]), stored))
    writer.close()


def _describe_model(writer: gguf.GGUFWriter, source: Source) -> None:
    config = source.config
    if source.name:
        writer.add_name(source.name)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.width)
    writer.add_feed_forward_length(4 * config.width)
    writer.add_block_count(config.layers)
    writer.add_head_count(config.heads)
    writer.add_layer_norm_eps(config.layer_norm_epsilon)
    writer.add_vocab_size(config.vocab_size)


def _describe_vocabulary(writer: gguf.GGUFWriter, source: Source) -> None:
    if source.merges is None:
        raise UserError(
            "gguf: the tokenizer works on characters, llama.cpp knows byte-level BPE only: "
            "train one of kind morpheme or byte"
        )
    added = {source.end_of_text_id: True} if source.added is None else source.added
    kinds = {True: gguf.TokenType.CONTROL, False: gguf.TokenType.USER_DEFINED}
    writer.add_tokenizer_model("gpt2")
    # The cut before merging that comes closest: GPT-2's, without the morphemes.
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(source.tokens)
    writer.add_token_types(
        [
            kinds[added[token]] if token in added else gguf.TokenType.NORMAL
            for token in range(len(source.tokens))
        ]
    )
    writer.add_token_merges(source.merges)
    writer.add_bos_token_id(source.end_of_text_id)
    writer.add_eos_token_id(source.end_of_text_id)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    if source.tokenizer is not None:
        writer.add_string("hyperclova.tokenizer.kind", source.tokenizer.kind)
        writer.add_string("hyperclova.tokenizer.fingerprint", source.tokenizer.fingerprint)


def _plan(source: Source, matrices: Stored) -> Iterator[tuple[str, tuple[int, ...], Stored]]:
    """Name, shape ``(out, in)`` and stored type of every tensor, in the file's order."""
    for name, theirs in tensor_names(source.config.layers).items():
        tensor = source.tensors[theirs]
        shape = tuple(tensor.t().shape if _is_turned(theirs) else tensor.shape)
        small = len(shape) == 1 or name == "position_embd.weight"
        yield name, shape, Stored.F32 if small else matrices


def _read(source: Source, name: str) -> npt.NDArray[np.float32]:
    tensor = source.tensors[name].float()
    return np.ascontiguousarray((tensor.t() if _is_turned(name) else tensor).numpy())


def _is_turned(name: str) -> bool:
    """Whether GPT-2 keeps this tensor as ``(in, out)``."""
    return ".c_" in name and name.endswith(".weight")
