"""A directory for vLLM, which reads GPT-2 in Hugging Face's layout.

A model directory is nearly that. What is added is what a server of text needs to know:
``generation_config.json`` with the token that ends a text, the longest input, and that
``<|endoftext|>`` in a user's text is text.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hyperclova.durable import write_json
from hyperclova.inference.exports.source import Source
from hyperclova.model.convert import from_gpt2_tensor, name_pairs
from hyperclova.model.directory import save_weights


def write(source: Source, output: Path, weights: str) -> None:
    """Write the directory ``output``; ``weights`` is a floating-point type by torch's name."""
    theirs = name_pairs(source.config.layers)

    def read(names: Sequence[str]) -> Mapping[str, Tensor]:
        return {
            name: from_gpt2_tensor(name, source.tensors[theirs[name]], source.config.heads)
            for name in names
        }

    end = source.end_of_text_id
    save_weights(source.config, read, output, getattr(torch, weights), end)
    write_json(
        output / "generation_config.json",
        {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end},
    )
    if source.tokenizer is None:
        return
    source.tokenizer.save(output)
    path = output / "tokenizer_config.json"
    tree = json.loads(path.read_text(encoding="utf-8"))
    tree["model_max_length"] = source.config.context_length
    tree["split_special_tokens"] = True
    write_json(path, tree)
