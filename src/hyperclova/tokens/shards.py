"""Token shards: memory-mapped token ids, document offsets and a JSON index.

A shard is three files with one stem::

    FILE-wiki-00000.tokens.npy    ids, uint16 (or uint32 past 65,536 tokens)
    FILE-wiki-00000.offsets.npy   where each document begins, and the end; int64
    FILE-wiki-00000.json          source, counts, tokenizer fingerprint

Documents are followed by an end-of-text token each. The JSON is written last and names the size
of the arrays, so what a crash leaves behind never reads as a whole shard.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperclova import durable
from hyperclova.errors import UserError

Tokens = NDArray[np.uint16] | NDArray[np.uint32]


@dataclass(frozen=True)
class ShardIndex:
    """What a shard's JSON says of it."""

    source: str
    documents: int
    tokens: int
    """Including one end-of-text token a document."""
    text_bytes: int
    """UTF-8 bytes of the documents' text."""
    vocabulary_size: int
    tokenizer_fingerprint: str


@dataclass(frozen=True)
class Shard:
    """A shard on disk, opened for reading; the arrays are memory-mapped."""

    path: Path
    """The JSON index."""
    index: ShardIndex
    tokens: Tokens
    offsets: NDArray[np.int64]


def token_type(vocabulary_size: int) -> type[np.uint16] | type[np.uint32]:
    """The narrowest unsigned type for ids of this vocabulary."""
    return np.uint16 if vocabulary_size <= 1 << 16 else np.uint32


def write_shard(
    directory: Path,
    stem: str,
    documents: Sequence[NDArray[np.unsignedinteger]],
    index: ShardIndex,
) -> Path:
    """Write one shard and return the path of its JSON; each file appears whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    lengths = np.fromiter((len(document) for document in documents), np.int64, len(documents))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    kind = token_type(index.vocabulary_size)
    tokens = np.concatenate(documents).astype(kind) if documents else np.zeros(0, kind)
    if len(tokens) != index.tokens or len(documents) != index.documents:
        raise ValueError("the index does not count what the shard holds")
    for suffix, array in (("tokens", tokens), ("offsets", offsets)):
        with durable.writing(directory / f"{stem}.{suffix}.npy") as file:
            np.save(file, array)
    path = directory / f"{stem}.json"
    durable.write_json(path, dataclasses.asdict(index))
    return path


def open_shard(path: Path) -> Shard:
    """Open the shard whose JSON is ``path``.

    Raises:
        UserError: a file is missing, or does not hold what the index says.
    """
    try:
        index = ShardIndex(**json.loads(path.read_text(encoding="utf-8")))
        stem = path.name.removesuffix(".json")
        tokens = np.load(path.with_name(f"{stem}.tokens.npy"), mmap_mode="r")
        offsets = np.load(path.with_name(f"{stem}.offsets.npy"), mmap_mode="r")
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: not a whole token shard ({error}); tokenize again") from None
    if len(tokens) != index.tokens or len(offsets) != index.documents + 1:
        raise UserError(
            f"{path}: says {index.tokens} tokens in {index.documents} documents, the arrays hold "
            f"{len(tokens)} in {len(offsets) - 1}; tokenize again"
        )
    return Shard(path, index, tokens, offsets)


def open_shards(directory: Path) -> list[Shard]:
    """All shards of a directory, in order of name.

    Raises:
        UserError: there is none, one is broken, or they come from different tokenizers.
    """
    shards = [open_shard(path) for path in sorted(directory.glob("*.json"))]
    if not shards:
        raise UserError(f"{directory}: no token shards here; run 'hyperclova tokenize' first")
    fingerprints = {shard.index.tokenizer_fingerprint for shard in shards}
    if len(fingerprints) > 1:
        raise UserError(
            f"{directory}: shards of {len(fingerprints)} different tokenizers; separate them"
        )
    return shards
