"""Table 1 of the paper, and the same table for a corpus of ours."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hyperclova.corpus.config import SOURCES
from hyperclova.corpus.tally import Tally

NAMES = {
    "blog": "Blog",
    "cafe": "Cafe",
    "news": "News",
    "comments": "Comments",
    "kin": "KiN",
    "modu": "Modu",
    "wiki": "Wikipedia",
    "others": "Others",
}
"""Sources as the paper writes them; its WikiEn and WikiJp are one."""

PAPER_TOKENS = {
    "blog": 273.6e9,
    "cafe": 83.3e9,
    "news": 73.8e9,
    "comments": 41.1e9,
    "kin": 27.3e9,
    "modu": 6.0e9,
    "wiki": 5.2e9,
    "others": 51.5e9,
}
"""Kim et al. 2021, Table 1."""


@dataclass(frozen=True)
class Row:
    """One source, or all of them."""

    source: str
    """``total`` for the sum."""
    name: str
    documents: int
    characters: int
    bytes: int
    """As UTF-8."""
    tokens: float | None
    """Estimated from a sample; None: not counted."""
    standard_error: float | None
    """Of ``tokens``."""
    share: float | None
    """Of all tokens, or of all bytes where the tokens were not counted; None: nothing at all."""
    paper_tokens: float | None
    paper_share: float | None


@dataclass(frozen=True)
class Table:
    """Table 1: what the corpus is made of."""

    tokenizer: str | None
    """Whose tokens they are; None: not counted."""
    share_of: str
    """``tokens`` or ``bytes``."""
    rows: tuple[Row, ...]
    total: Row


def table(tally: Tally, tokens: Mapping[str, Any] | None) -> Table:
    """Table 1 of what was written, both splits and every copy counted.

    Args:
        tally: of the whole build.
        tokens: ``tokenizer`` and, by source, ``tokens_per_byte`` with its ``standard_error``,
            measured on a sample; None if nothing was measured.
    """
    sources = [*SOURCES, *sorted(set(tally.after) - set(SOURCES))]
    estimates = {source: _estimate(source, tally, tokens) for source in sources}
    counted = [estimate for estimate in estimates.values() if estimate is not None]
    complete = tokens is not None and len(counted) == len(sources)
    total_tokens = sum(value for value, _ in counted) if complete else None
    total_bytes = sum(volume.bytes for volume in tally.after.values())
    paper_total = sum(PAPER_TOKENS.values())
    rows = []
    for source in sources:
        volume = tally.after.get(source)
        size = volume.bytes if volume else 0
        estimate = estimates[source]
        if total_tokens is None or estimate is None:
            share = size / total_bytes if total_bytes else None
        else:
            share = estimate[0] / total_tokens if total_tokens else None
        paper = PAPER_TOKENS.get(source)
        rows.append(
            Row(
                source=source,
                name=NAMES.get(source, source),
                documents=volume.documents if volume else 0,
                characters=volume.characters if volume else 0,
                bytes=size,
                tokens=estimate[0] if estimate else None,
                standard_error=estimate[1] if estimate else None,
                share=share,
                paper_tokens=paper,
                paper_share=paper / paper_total if paper else None,
            )
        )
    total = Row(
        source="total",
        name="Total",
        documents=sum(row.documents for row in rows),
        characters=sum(row.characters for row in rows),
        bytes=total_bytes,
        tokens=total_tokens,
        # The sources are sampled independently of each other.
        standard_error=math.hypot(*(error for _, error in counted)) if complete else None,
        share=1.0 if total_tokens or total_bytes else None,
        paper_tokens=paper_total,
        paper_share=1.0,
    )
    return Table(
        tokenizer=tokens["tokenizer"] if tokens else None,
        share_of="bytes" if total_tokens is None else "tokens",
        rows=tuple(rows),
        total=total,
    )


def _estimate(
    source: str, tally: Tally, tokens: Mapping[str, Any] | None
) -> tuple[float, float] | None:
    """Tokens of a source and their standard error; None if they were not counted."""
    if tokens is None:
        return None
    volume = tally.after.get(source)
    if volume is None or not volume.bytes:
        return 0.0, 0.0
    measured = tokens["by_source"].get(source)
    if measured is None:
        return None
    return measured["tokens_per_byte"] * volume.bytes, measured["standard_error"] * volume.bytes
