"""A build's account of itself: counts, quarantine, an estimate of tokens."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from hyperclova.corpus.config import CorpusConfig
from hyperclova.corpus.documents import read_lines
from hyperclova.corpus.hashing import unit
from hyperclova.corpus.stages import cleaning, finishing, signing
from hyperclova.corpus.stages.workspace import Workspace, stored_documents, writing_lines
from hyperclova.corpus.tally import Tally

_SAMPLE_BYTES = 2_000_000
"""Text of each source that is tokenized to estimate its tokens."""


@dataclass(frozen=True)
class Counter:
    """How to count tokens: the corpus itself knows no tokenizer."""

    name: str
    count: Callable[[Sequence[str]], Sequence[int]]
    """Tokens of each text."""


@dataclass(frozen=True)
class Receipts:
    """What the tasks of a build returned."""

    reads: list[dict[str, Any]]
    tally: Tally
    """All of them, added up."""
    outputs: list[dict[str, Any]]


def account(
    workspace: Workspace,
    config: CorpusConfig,
    plan: Mapping[str, Any],
    receipts: Receipts,
    counter: Counter | None,
) -> dict[str, Any]:
    """What ``build.json`` says: the plan, the tally, what was read and written.

    Gathers the records that readers put aside in ``quarantine.jsonl.zst``.
    """
    with writing_lines(workspace.output / "quarantine.jsonl.zst") as quarantine:
        for path in sorted((workspace.output / "work" / "read").glob("*.quarantine.jsonl.zst")):
            for line in read_lines(path):
                quarantine.add_record(orjson.loads(line))
    rules, finish = cleaning.build_rules(config)
    order = list(rules)
    if config.repeated_lines.enabled:
        order.append(signing.REPEATED_LINES)
    if config.duplicates.enabled:
        order += [finishing.EXACT, finishing.NEAR]
    order += [finishing.contaminated(path.stem) for path in config.decontamination.files]
    order.append(finishing.SAMPLING)
    order += finish
    outputs = sorted(receipts.outputs, key=lambda output: str(output["path"]))
    return {
        **plan,
        "inputs": [file for read in receipts.reads for file in read["inputs"]],
        "tally": receipts.tally.to_mapping(),
        "order": order,
        "tokens": _count_tokens(workspace.output, outputs, counter) if counter else None,
        "outputs": outputs,
    }


def _count_tokens(output: Path, outputs: list[dict[str, Any]], counter: Counter) -> dict[str, Any]:
    """Tokens per byte of each source, estimated on a random sample of its documents.

    The estimate is a ratio of sums, its standard error the usual one of a ratio estimator.
    """
    by_source: dict[str, Any] = {}
    for source in sorted({file["source"] for file in outputs}):
        files = [file for file in outputs if file["source"] == source]
        size = sum(file["bytes"] for file in files)
        share = min(1.0, _SAMPLE_BYTES / max(1, size))
        texts = [
            document.text
            for file in files
            for document in stored_documents(output / file["path"])
            if unit("tokens", document.id) < share
        ]
        if not texts:
            continue
        tokens = np.array(counter.count(texts), np.float64)
        text_bytes = np.array([len(text.encode()) for text in texts], np.float64)
        ratio = tokens.sum() / max(1.0, text_bytes.sum())
        spread = tokens - ratio * text_bytes
        error = float(np.sqrt((spread**2).sum())) / max(1.0, float(text_bytes.sum()))
        by_source[source] = {
            "tokens_per_byte": round(float(ratio), 6),
            "standard_error": round(error, 6),
            "sampled_bytes": int(text_bytes.sum()),
        }
    return {"tokenizer": counter.name, "by_source": by_source}
