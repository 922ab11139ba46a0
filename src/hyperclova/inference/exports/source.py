"""What every format is written from: GPT-2's tensors and the vocabulary in the order of ids."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from hyperclova.errors import UserError
from hyperclova.model import GPTConfig
from hyperclova.model.directory import load_gpt2
from hyperclova.tokenizer import Tokenizer

EMBEDDING = "transformer.wte.weight"


@dataclass(frozen=True, eq=False)
class Source:
    """A model and its vocabulary, as plain data."""

    config: GPTConfig
    tensors: Mapping[str, Tensor]
    """By GPT-2's names, in its order: matrices ``(in, out)``, queries before keys before values."""
    tokens: tuple[str, ...]
    """The name of every id, as ``tokenizer.json`` writes it."""
    end_of_text_id: int
    name: str = ""
    merges: tuple[str, ...] | None = None
    """Pairs of names joined by a space, first merge first; None if it isn't a byte-level BPE."""
    added: Mapping[int, bool] | None = None
    """Ids outside the merges -> whether they are control tokens; None: the end of text alone."""
    tokenizer: Tokenizer | None = None
    """To be written beside the weights."""

    @property
    def end_of_text(self) -> str:
        return self.tokens[self.end_of_text_id]


def read_source(directory: Path) -> Source:
    """Read a model directory with its tokenizer.

    Rows of the embedding beyond the tokenizer's ids, which pad it to a round number, are left
    out: our engine never writes such an id, another one might.

    Raises:
        UserError: no such directory, or GPT-2's architecture can't express the model.
    """
    config, tensors = load_gpt2(directory)
    if config.query_key_norm:
        raise UserError(
            f"{directory}: has a LayerNorm on queries and keys (recipe.query_key_norm), which "
            "GPT-2 of other engines has not: serve it with hyperclova"
        )
    tokenizer = Tokenizer.load(directory)
    size = tokenizer.vocabulary_size
    if size > config.vocab_size:
        raise UserError(
            f"{directory}: the tokenizer has {size} ids, the model only {config.vocab_size}: "
            "they do not belong together"
        )
    content = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    return Source(
        config=replace(config, vocab_size=size),
        tensors={**tensors, EMBEDDING: tensors[EMBEDDING][:size]},
        tokens=tuple(tokenizer.token_name(token) for token in range(size)),
        end_of_text_id=tokenizer.end_of_text_id,
        name=directory.resolve().name,
        merges=None if tokenizer.kind == "character" else _merges(content["model"]),
        added={token["id"]: bool(token["special"]) for token in content["added_tokens"]},
        tokenizer=tokenizer,
    )


def _merges(model: dict[str, Any]) -> tuple[str, ...]:
    # Older files have "a b", newer ones ["a", "b"].
    return tuple(pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"])
