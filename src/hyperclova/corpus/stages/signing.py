"""Sign: what of each document the search for duplicates needs, and no text."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperclova.corpus.config import CorpusConfig
from hyperclova.corpus.documents import Document
from hyperclova.corpus.duplicates import MinHash, exact_key
from hyperclova.corpus.stages.cleaning import note_dropped
from hyperclova.corpus.stages.lines import REPEATED, LineCutter
from hyperclova.corpus.stages.workspace import (
    Workspace,
    groups_of,
    stored_documents,
    writing_lines,
)
from hyperclova.corpus.tally import Tally

EXACT = np.dtype([("key", np.uint64), ("rest", np.uint64), ("row", np.uint32)])
BAND = np.dtype([("key", np.uint64), ("order", np.uint64), ("row", np.uint32)])
RANK = np.dtype([("length", np.uint32), ("tie", np.uint64)])
"""Which of two equal texts is better: that with the longer title, then by a hash of the document's
id and text, so that the order of files decides nothing."""

REPEATED_LINES = "repeated-lines"
_SHORT_ANSWER = 100
"""Characters."""


def sign(workspace: Workspace, piece: str, config: CorpusConfig, line_parts: int) -> dict[str, Any]:
    """Cut repeated lines, then compute exact keys, MinHash bands and ranks.

    Returns:
        ``tally``, ``documents`` and ``bytes`` left.
    """
    parts = [workspace.load("lines", f"{part:05}") for part in range(line_parts)]
    cut = LineCutter(np.concatenate([np.zeros(0, REPEATED), *parts]), config.repeated_lines)
    settings = config.duplicates
    minhash = MinHash(settings.bands, settings.rows, config.seed)
    tally = Tally()
    exact: list[NDArray[Any]] = []
    ranks: list[NDArray[Any]] = []
    bands: list[NDArray[np.uint64]] = []
    size = 0
    with (
        writing_lines(workspace.file("sign", f"{piece}.jsonl.zst")) as kept,
        writing_lines(workspace.output / "dropped" / f"{piece}-2-lines.jsonl.zst") as dropped,
    ):
        for group in groups_of(stored_documents(workspace.file("clean", f"{piece}.jsonl.zst"))):
            left = []
            for document in group:
                verdict = cut(document)
                if config.repeated_lines.enabled:
                    tally.note(REPEATED_LINES, document, verdict)
                if verdict.document is None:
                    note_dropped(dropped, document, REPEATED_LINES, verdict.reason)
                else:
                    left.append(verdict.document)
            for document in left:
                kept.add(document)
                size += len(document.text.encode())
            if settings.enabled:
                keys = _exact_keys(left)
                exact.append(keys)
                ranks.append(_ranks(left, keys))
                bands.append(
                    minhash.band_keys_batch(
                        [compared_text(document) for document in left],
                        settings.shingle,
                        settings.fewest,
                    )
                )
    if settings.enabled:
        _save(workspace, piece, exact, ranks, bands, settings.bands)
    return {"tally": tally.to_mapping(), "documents": kept.documents, "bytes": size}


def compared_text(document: Document) -> str:
    """What of a document is compared with others: its text, and of a short answer its question.

    The same few words in answer to another question are no duplicate.
    """
    if document.source == "kin" and len(document.text) < _SHORT_ANSWER:
        return f"{document.title}\n{document.text}"
    return document.text


def _exact_keys(documents: Sequence[Document]) -> NDArray[np.uint64]:
    digests = b"".join(exact_key(compared_text(document)) for document in documents)
    return np.frombuffer(digests, "<u8").reshape(-1, 2)


def _ranks(documents: Sequence[Document], keys: NDArray[np.uint64]) -> NDArray[Any]:
    ranks = np.zeros(len(documents), RANK)
    ranks["length"] = [len(document.title) + len(document.text) for document in documents]
    ids = b"".join(
        hashlib.blake2b(document.id.encode(), digest_size=8).digest() for document in documents
    )
    ranks["tie"] = np.frombuffer(ids, "<u8")
    ranks["tie"] ^= keys[:, 0] if len(keys) else np.uint64(0)
    return ranks


def _save(
    workspace: Workspace,
    piece: str,
    exact: list[NDArray[Any]],
    ranks: list[NDArray[Any]],
    bands: list[NDArray[np.uint64]],
    count: int,
) -> None:
    """Sorted by key, so that a range of keys is a slice of the file."""
    keys = np.concatenate([np.zeros((0, 2), np.uint64), *exact])
    table = np.zeros(len(keys), EXACT)
    table["key"], table["rest"] = keys[:, 0], keys[:, 1]
    table["row"] = np.arange(len(keys))
    workspace.save("sign", f"{piece}.exact", np.sort(table, order=["key", "rest", "row"]))
    workspace.save("sign", f"{piece}.ranks", np.concatenate([np.zeros(0, RANK), *ranks]))
    signatures = np.concatenate([np.zeros((0, count), np.uint64), *bands])
    for band in range(count):
        table = np.zeros(len(signatures), BAND)
        table["key"] = signatures[:, band]
        # Documents most alike lie next to each other in large groups of equal keys.
        table["order"] = signatures[:, (band + 1) % count]
        table["row"] = np.arange(len(signatures))
        table = table[table["key"] != 0]
        workspace.save("sign", f"{piece}.band{band:02}", table[np.argsort(table["key"])])
