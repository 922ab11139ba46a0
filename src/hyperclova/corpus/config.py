"""What a corpus build is, as typed data (``configs/corpus/*.toml``)."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

SOURCES = ("blog", "cafe", "news", "comments", "kin", "modu", "wiki", "others")
"""The kinds of source of the paper's Table 1; its two foreign encyclopedias are ``wiki``."""

Format = Literal["jsonl", "csv", "parquet", "html", "markdown", "mediawiki"]


@dataclass(frozen=True)
class Input:
    """Files to read."""

    path: str
    """A file, a directory or a glob (``**`` too); local or any address fsspec knows."""
    format: Format | None = None
    """None: by the file name's suffix."""
    source: str | None = None
    """Source of documents that do not name their own; None: ``others``."""
    licence: str | None = None
    """Licence of documents that do not name their own."""
    columns: dict[str, str] = field(default_factory=dict)
    """Names of the columns or keys that hold ``id``, ``source``, ``title``, ``text`` or
    ``licence`` where they have other names: ``columns = {text = "body"}``."""

    def __post_init__(self) -> None:
        if self.source is not None and self.source not in SOURCES:
            raise ValueError(f"source is {self.source!r}; choose one of {', '.join(SOURCES)}")


@dataclass(frozen=True)
class RepeatedLines:
    """Lines that many documents of one source share (menus, footers, disclaimers) are cut.

    Only lines of documents with at least three lines count: a document of one line that others
    repeat is a duplicate, not boilerplate.
    """

    enabled: bool = True
    documents: int = 20
    """Cut a line that at least so many documents of its source have."""
    share: float = 0.001
    """And at least this share of the source's documents."""
    characters: int = 8
    """Shorter lines are never cut: people do repeat each other."""


@dataclass(frozen=True)
class Duplicates:
    """Exact duplicates by hash; near ones by MinHash, banded, verified by true Jaccard."""

    enabled: bool = True
    shingle: int = 5
    """Characters in a row, after folding to letters and digits in lower case."""
    bands: int = 20
    rows: int = 6
    """Hash values in each band: a pair of Jaccard similarity ``s`` becomes a candidate with
    probability ``1 - (1 - s**rows)**bands``."""
    fewest: int = 1
    """Documents with fewer shingles are compared by their whole text alone. Short remarks are
    copied with other spaces and exclamation marks more often than anything else."""
    similarity: float = 0.8
    """Jaccard similarity of the sets of shingles from which two documents are near-duplicates."""


@dataclass(frozen=True)
class Decontamination:
    """Documents that hold evaluation texts are dropped."""

    files: tuple[Path, ...] = ()
    """Evaluation examples, one a line; the report names a set by its file's stem."""

    def __post_init__(self) -> None:
        stems = [path.stem for path in self.files]
        for stem in stems:
            if stems.count(stem) > 1:
                raise ValueError(f"decontamination.files: two sets are called {stem}; rename one")


@dataclass(frozen=True)
class Sampling:
    """Which of the clean documents are written."""

    held_out: float = 0.01
    """Share of documents held out, by a hash of their id; the same rule as ``tokenize``'s."""
    epochs: dict[str, float] = field(default_factory=dict)
    """How often each source is written: 0.5 keeps a random half of its documents, 2 writes all of
    them twice (held-out documents never more than once). Sources not named: 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise ValueError(f"sampling.held_out is {self.held_out}; it must be in [0, 1)")
        for source, epochs in self.epochs.items():
            if source not in SOURCES:
                raise ValueError(f"sampling.epochs names {source!r}, not one of {SOURCES}")
            if epochs < 0:
                raise ValueError(f"sampling.epochs.{source} is {epochs}; it can't be negative")


@dataclass(frozen=True)
class CorpusConfig:
    """A whole build."""

    output: Path
    inputs: tuple[Input, ...]
    rules: tuple[dict[str, Any], ...] = ()
    """Before deduplication, in this order (see :mod:`hyperclova.corpus.rule`)."""
    finish: tuple[dict[str, Any], ...] = ()
    """After it: what would make different documents look alike, as masks and prefixes do."""
    seed: int = 0
    piece_megabytes: float = 16.0
    """Text in one unit of work. Memory is bounded by a few times this for each worker."""
    repeated_lines: RepeatedLines = field(default_factory=RepeatedLines)
    duplicates: Duplicates = field(default_factory=Duplicates)
    decontamination: Decontamination = field(default_factory=Decontamination)
    sampling: Sampling = field(default_factory=Sampling)
