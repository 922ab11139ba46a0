"""What two builds have in common, and what not: configuration, figures, documents.

Documents are followed by 64-bit hashes of their ids and texts: some fifty bytes for each
document while they are sorted, whatever its length. The chance that any two of a billion are
confused is 3 %.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperclova.corpus.hashing import Hashes
from hyperclova.corpus.record import Record, read_outputs
from hyperclova.corpus.report.funnel import sum_effects
from hyperclova.corpus.report.table import NAMES
from hyperclova.corpus.rule import labelled
from hyperclova.corpus.split import HELD_OUT, TRAIN
from hyperclova.corpus.tally import Effect, Tally, Volume

EXAMPLES = 20
"""Ids shown of each kind of difference, those with the smallest hashes: a random choice."""


@dataclass(frozen=True)
class Change:
    """A setting that differs."""

    name: str
    """Dotted, as on the command line; rules by their labels."""
    first: Any
    """None: absent."""
    second: Any


@dataclass(frozen=True)
class Amount:
    """How much was written of a source."""

    documents: int
    characters: int
    bytes: int
    held_out: int
    """Documents."""


@dataclass(frozen=True)
class SourceChange:
    """What both builds wrote of a source."""

    source: str
    """``total`` for all of them."""
    first: Amount
    second: Amount

    @property
    def same(self) -> bool:
        """Whether the amounts are."""
        return self.first == self.second


@dataclass(frozen=True)
class EffectChange:
    """What a rule did in both builds, over all sources."""

    label: str
    first: Effect | None
    """None: the build has no such rule."""
    second: Effect | None


@dataclass(frozen=True)
class DocumentSet:
    """Some documents: how many, and the ids of a few."""

    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class DocumentChanges:
    """Where the two outputs differ. Copies of a document count once."""

    shared: int
    """Documents of both builds, by id."""
    only_first: DocumentSet
    only_second: DocumentSet
    text_changed: DocumentSet
    """Of those shared."""
    split_changed: DocumentSet
    """Of those shared: trained on in one build and held out in the other."""


@dataclass(frozen=True)
class Difference:
    """Two builds compared."""

    first: str
    second: str
    config: tuple[Change, ...]
    versions: tuple[Change, ...]
    sources: tuple[SourceChange, ...]
    """Every source of either build, and the total last."""
    effects: tuple[EffectChange, ...]
    """Rules whose effect differs."""
    documents: DocumentChanges

    @property
    def same_documents(self) -> bool:
        """Whether both wrote the same documents into the same splits."""
        found = self.documents
        kinds = (found.only_first, found.only_second, found.text_changed, found.split_changed)
        return not any(kind.count for kind in kinds) and all(row.same for row in self.sources)


def compare(first: Path, second: Path) -> Difference:
    """Compare the builds in two output directories.

    Raises:
        UserError: one of them holds no finished build, or a broken file.
    """
    one, two = Record.load(first), Record.load(second)
    return Difference(
        first=str(first),
        second=str(second),
        config=tuple(_changes(_flat_config(one.config), _flat_config(two.config))),
        versions=tuple(_changes(one.versions, two.versions)),
        sources=tuple(_sources(one.tally, two.tally)),
        effects=tuple(_effects(one, two)),
        documents=_documents(first, second),
    )


def to_mapping(difference: Difference) -> dict[str, Any]:
    """As plain data for JSON."""
    return {**asdict(difference), "same_documents": difference.same_documents}


def _changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Change]:
    for name in sorted({*first, *second}):
        if first.get(name) != second.get(name):
            yield Change(name, first.get(name), second.get(name))


def _flat_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings by dotted names. Rules go by their labels and not by their places, so that
    one more does not make all that follow look different."""
    named = {key: value for key, value in config.items() if key not in ("rules", "finish")}
    flat = dict(_flatten(named, ""))
    for section in ("rules", "finish"):
        tables = list(labelled(config.get(section, ())))
        flat[f"{section} (order)"] = [label for label, _ in tables]
        for label, table in tables:
            flat |= _flatten({k: v for k, v in table.items() if k != "rule"}, f"{section}.{label}.")
    return flat


def _flatten(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            names = [str(item.get("path", place)) for place, item in enumerate(value)]
            for place, (name, item) in enumerate(zip(names, value, strict=True)):
                number = names[:place].count(name)  # one path may be read in two ways
                where = f"{name} #{number + 1}" if number else name
                yield from _flatten(item, f"{prefix}{key}[{where}].")
        else:
            yield f"{prefix}{key}", value


def _sources(first: Tally, second: Tally) -> Iterator[SourceChange]:
    found = {*first.after, *second.after}
    for source in [*(name for name in NAMES if name in found), *sorted(found - set(NAMES))]:
        yield SourceChange(source, _amount(first, (source,)), _amount(second, (source,)))
    yield SourceChange("total", _amount(first, first.after), _amount(second, second.after))


def _amount(tally: Tally, sources: Iterable[str]) -> Amount:
    sources = list(sources)
    volumes = [tally.after.get(source, Volume()) for source in sources]
    return Amount(
        documents=sum(volume.documents for volume in volumes),
        characters=sum(volume.characters for volume in volumes),
        bytes=sum(volume.bytes for volume in volumes),
        held_out=sum(tally.held_out.get(source, 0) for source in sources),
    )


def _effects(first: Record, second: Record) -> Iterator[EffectChange]:
    known = [{*record.order, *record.tally.effects} for record in (first, second)]
    for label in dict.fromkeys((*first.order, *second.order, *sorted(known[0] | known[1]))):
        effects = [
            sum_effects(record.tally.effects.get(label, {}).values()) if label in names else None
            for record, names in zip((first, second), known, strict=True)
        ]
        if effects[0] != effects[1]:
            yield EffectChange(label, *effects)


@dataclass(frozen=True)
class _Outputs:
    """A build's documents, each once, in the order of the hashes of their ids."""

    ids: Hashes
    texts: Hashes
    """Sums of the hashes of a document's different texts."""
    held_out: NDArray[np.bool_]

    def at(self, ids: Hashes) -> NDArray[np.intp]:
        """Places of some of its ids."""
        return np.searchsorted(self.ids, ids)


def _documents(first: Path, second: Path) -> DocumentChanges:
    one, two = _read_outputs(first), _read_outputs(second)
    shared = np.intersect1d(one.ids, two.ids, assume_unique=True)
    mine, yours = one.at(shared), two.at(shared)
    only_first = np.setdiff1d(one.ids, shared, assume_unique=True)
    only_second = np.setdiff1d(two.ids, shared, assume_unique=True)
    texts = shared[one.texts[mine] != two.texts[yours]]
    splits = shared[one.held_out[mine] != two.held_out[yours]]
    names = _names(first, (only_first, texts, splits)) | _names(second, (only_second,))
    return DocumentChanges(
        shared=len(shared),
        only_first=_document_set(only_first, names),
        only_second=_document_set(only_second, names),
        text_changed=_document_set(texts, names),
        split_changed=_document_set(splits, names),
    )


def _document_set(ids: Hashes, names: Mapping[int, str]) -> DocumentSet:
    return DocumentSet(len(ids), tuple(names[key] for key in ids[:EXAMPLES].tolist()))


def _read_outputs(output: Path) -> _Outputs:
    # Bytes, because a list of Python's integers would take five times as much.
    identifiers, texts, held_out = bytearray(), bytearray(), bytearray()
    for split in (TRAIN, HELD_OUT):
        for document in read_outputs(output, split):
            identifiers += _digest(document.id)
            texts += _digest(document.text)
            held_out.append(split == HELD_OUT)
    ids = np.frombuffer(identifiers, np.dtype(">u8")).astype(np.uint64)
    hashes = np.frombuffer(texts, np.dtype(">u8")).astype(np.uint64)
    del identifiers, texts
    order = np.lexsort((hashes, ids))
    ids, hashes = ids[order], hashes[order]
    held = np.frombuffer(held_out, np.bool_)[order]
    again = np.zeros(len(ids), np.bool_)  # the same document, the same text: a copy
    again[1:] = (ids[1:] == ids[:-1]) & (hashes[1:] == hashes[:-1])
    hashes[again] = 0
    starts = np.flatnonzero(np.r_[np.ones(min(1, len(ids)), np.bool_), ids[1:] != ids[:-1]])
    if not len(starts):
        return _Outputs(ids, hashes, held)
    return _Outputs(
        ids[starts],
        np.add.reduceat(hashes, starts),
        np.logical_or.reduceat(held, starts),
    )


def _names(output: Path, sets: Sequence[Hashes]) -> dict[int, str]:
    """The ids behind the first few hashes of each set."""
    wanted = {key for ids in sets for key in ids[:EXAMPLES].tolist()}
    names: dict[int, str] = {}
    if not wanted:
        return names
    for document in chain(read_outputs(output, TRAIN), read_outputs(output, HELD_OUT)):
        key = int.from_bytes(_digest(document.id), "big")
        if key in wanted:
            names[key] = document.id
            if len(names) == len(wanted):
                break
    return names


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
