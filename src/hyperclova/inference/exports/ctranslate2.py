"""A directory for CTranslate2: its Transformer decoder, filled with GPT-2's weights."""

from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import numpy.typing as npt

from hyperclova.inference.exports.source import EMBEDDING, Source

_SPECS = ctranslate2.specs


def write(source: Source, output: Path, weights: str) -> None:
    """Write the directory ``output``.

    Args:
        weights: one of CTranslate2's ``quantization`` types. Matrices in ``int8`` have one scale
            a row; what is no matrix is stored as floating point.
    """
    spec = _SPECS.TransformerDecoderModelSpec.from_config(
        source.config.layers,
        source.config.heads,
        pre_norm=True,
        activation=_SPECS.Activation.GELUTanh,
    )
    _fill(spec.decoder, source)
    spec.register_vocabulary(list(source.tokens))
    spec.config.bos_token = spec.config.eos_token = spec.config.unk_token = source.end_of_text
    spec.config.layer_norm_epsilon = source.config.layer_norm_epsilon
    spec.validate()
    spec.optimize(quantization=weights)
    output.mkdir()
    spec.save(str(output))
    if source.tokenizer is not None:
        source.tokenizer.save(output)


def _fill(decoder: Any, source: Source) -> None:
    def read(name: str) -> npt.NDArray[np.float32]:
        # A copy: quantization writes into what it is given.
        return np.array(source.tensors[name].float().numpy())

    def linear(spec: Any, name: str) -> None:
        spec.weight = np.ascontiguousarray(read(f"{name}.weight").T)
        spec.bias = read(f"{name}.bias")

    def norm(spec: Any, name: str) -> None:
        spec.gamma = read(f"{name}.weight")
        spec.beta = read(f"{name}.bias")

    decoder.scale_embeddings = False
    decoder.embeddings.weight = decoder.projection.weight = read(EMBEDDING)
    decoder.position_encodings.encodings = read("transformer.wpe.weight")
    norm(decoder.layer_norm, "transformer.ln_f")
    for index, layer in enumerate(decoder.layer):
        block = f"transformer.h.{index}"
        norm(layer.self_attention.layer_norm, f"{block}.ln_1")
        linear(layer.self_attention.linear[0], f"{block}.attn.c_attn")
        linear(layer.self_attention.linear[1], f"{block}.attn.c_proj")
        norm(layer.ffn.layer_norm, f"{block}.ln_2")
        linear(layer.ffn.linear_0, f"{block}.mlp.c_fc")
        linear(layer.ffn.linear_1, f"{block}.mlp.c_proj")
