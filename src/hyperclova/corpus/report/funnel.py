"""The way from the documents read to the documents written, and whether its sums are right."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hyperclova.corpus.tally import Effect, Tally

SAMPLING = "sampling"
"""The label whose ``changed`` counts the copies that epochs beyond the first write."""


@dataclass(frozen=True)
class Stage:
    """One rule's part in the funnel."""

    label: str
    by_source: dict[str, Effect]
    total: Effect
    documents_left: int
    """What has survived this rule and all before it; copies are added by sampling."""
    characters_left: int
    """Without what rules and copies have added."""


@dataclass(frozen=True)
class Check:
    """Two ways to count the same thing."""

    what: str
    expected: int
    found: int
    at_most: bool = False
    """``found`` may be smaller too."""

    @property
    def holds(self) -> bool:
        """Whether the two agree."""
        return self.found == self.expected or (self.at_most and self.found < self.expected)


@dataclass(frozen=True)
class Funnel:
    """Every rule in the order of application."""

    documents_read: int
    characters_read: int
    stages: tuple[Stage, ...]
    copies: int
    """Documents written once more by epochs beyond the first."""
    documents_written: int
    characters_written: int
    characters_added: int
    """By rules that write something, as prefixes and masks, and by copies: what was written less
    what is left of what was read."""


def funnel(tally: Tally, order: Sequence[str]) -> Funnel:
    """Follow the documents through the rules of ``order``; rules it misses come last."""
    documents = documents_read = sum(volume.documents for volume in tally.before.values())
    characters = characters_read = sum(volume.characters for volume in tally.before.values())
    stages = []
    for label in dict.fromkeys((*order, *tally.effects)):
        by_source = tally.effects.get(label, {})
        total = sum_effects(by_source.values())
        documents += _copies(label, total) - total.dropped
        characters -= total.characters_removed
        stages.append(Stage(label, dict(by_source), total, documents, characters))
    written = sum(volume.characters for volume in tally.after.values())
    return Funnel(
        documents_read=documents_read,
        characters_read=characters_read,
        stages=tuple(stages),
        copies=sum(_copies(stage.label, stage.total) for stage in stages),
        documents_written=sum(volume.documents for volume in tally.after.values()),
        characters_written=written,
        characters_added=written - characters,
    )


def sum_effects(effects: Iterable[Effect]) -> Effect:
    """What a rule did to all of several sources."""
    total = Effect()
    for effect in effects:
        total.seen += effect.seen
        total.changed += effect.changed
        total.dropped += effect.dropped
        total.characters_removed += effect.characters_removed
    return total


def checks(
    tally: Tally,
    path: Funnel,
    inputs: Sequence[Mapping[str, Any]],
    outputs: Sequence[Mapping[str, Any]],
) -> tuple[Check, ...]:
    """What must agree in a report that can be believed."""
    found: list[Check] = []
    for source in _sources(tally):
        found += _of_source(source, tally, path)
    found.append(
        Check(
            "documents read from all inputs",
            sum(item["documents"] for item in inputs),
            path.documents_read,
        )
    )
    found.append(
        Check(
            "documents in all output files",
            sum(item["documents"] for item in outputs),
            path.documents_written,
        )
    )
    return tuple(found)


def _of_source(source: str, tally: Tally, path: Funnel) -> Iterable[Check]:
    before, after = tally.before.get(source), tally.after.get(source)
    left = before.documents if before else 0
    characters = before.characters if before else 0
    for stage in path.stages:
        effect = stage.by_source.get(source)
        if effect is None:
            continue
        if stage.label != SAMPLING:
            yield Check(f"{source}: documents seen by {stage.label}", left, effect.seen, True)
            yield Check(
                f"{source}: changed and dropped by {stage.label}, of those seen",
                effect.seen,
                effect.changed + effect.dropped,
                at_most=True,
            )
        left += _copies(stage.label, effect) - effect.dropped
        characters -= effect.characters_removed
    written = after.documents if after else 0
    yield Check(f"{source}: documents read, less dropped, plus copies", left, written)
    yield Check(
        f"{source}: characters left of those read, of those written",
        after.characters if after else 0,
        characters,
        at_most=True,
    )
    yield Check(
        f"{source}: held-out documents, of those written",
        written,
        tally.held_out.get(source, 0),
        at_most=True,
    )
    for when, volume in (("read", before), ("written", after)):
        if volume is not None:
            yield Check(
                f"{source}: documents {when}, by length", volume.documents, sum(volume.lengths)
            )
            yield Check(
                f"{source}: documents {when}, by language",
                volume.documents,
                sum(volume.languages.values()),
            )


def _sources(tally: Tally) -> list[str]:
    named = set(tally.before) | set(tally.after) | set(tally.held_out)
    return sorted(named.union(*tally.effects.values()))


def _copies(label: str, effect: Effect) -> int:
    return effect.changed if label == SAMPLING else 0
