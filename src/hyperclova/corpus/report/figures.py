"""Every figure of a report, in one place: the page, the Markdown and the pictures only set them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hyperclova.corpus.config import SOURCES
from hyperclova.corpus.record import Record
from hyperclova.corpus.report.funnel import Check, Funnel, Stage, checks, funnel
from hyperclova.corpus.report.rules import CONTAMINATED, Description, describe
from hyperclova.corpus.report.table import Table, table
from hyperclova.corpus.tally import LENGTH_BINS, SCRIPTS, Volume

LANGUAGES = ("ko", "mixed", "en", "ja", "zh", "none")
WRITING = ("hangul", "latin", "han", "kana", "digit", "space", "other")
assert set(WRITING) == set(SCRIPTS)


@dataclass(frozen=True)
class Comparison:
    """One source, or all, as read and as written."""

    source: str
    """``total`` for all."""
    before: Volume
    after: Volume


@dataclass(frozen=True)
class HeldOut:
    """Documents held out of training."""

    source: str
    documents: int
    """Written, both splits."""
    held_out: int


@dataclass(frozen=True)
class RuleFigures:
    """A rule, what it is and what it did."""

    label: str
    description: Description
    stage: Stage


@dataclass(frozen=True)
class Figures:
    """What a report says."""

    name: str
    table: Table
    funnel: Funnel
    checks: tuple[Check, ...]
    rules: tuple[RuleFigures, ...]
    comparisons: tuple[Comparison, ...]
    """All sources together first."""
    held_out: tuple[HeldOut, ...]
    held_out_total: HeldOut
    inputs: tuple[dict[str, Any], ...]
    inputs_total: dict[str, int]
    outputs: tuple[dict[str, Any], ...]
    versions: dict[str, str]
    config: dict[str, Any]

    @property
    def total(self) -> Comparison:
        """All sources together."""
        return self.comparisons[0]

    @property
    def failures(self) -> list[Check]:
        """The sums that are wrong; none, unless the build or this report has a fault."""
        return [check for check in self.checks if not check.holds]

    @property
    def decontamination(self) -> list[tuple[str, Stage]]:
        """Evaluation sets and what was dropped for their sake."""
        return [
            (rule.label.removeprefix(CONTAMINATED), rule.stage)
            for rule in self.rules
            if rule.label.startswith(CONTAMINATED)
        ]

    def to_mapping(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {
            "format": 1,
            "name": self.name,
            "table": asdict(self.table),
            "funnel": asdict(self.funnel),
            "checks": [{**asdict(check), "holds": check.holds} for check in self.checks],
            "rules": [
                {
                    "label": rule.label,
                    "description": rule.description.text,
                    "settings": {
                        setting.name: setting.value for setting in rule.description.settings
                    },
                }
                for rule in self.rules
            ],
            "volumes": {
                comparison.source: {
                    "before": asdict(comparison.before),
                    "after": asdict(comparison.after),
                }
                for comparison in self.comparisons
            },
            "held_out": [asdict(row) for row in (*self.held_out, self.held_out_total)],
            "decontamination": {name: asdict(stage.total) for name, stage in self.decontamination},
            "inputs": list(self.inputs),
            "inputs_total": self.inputs_total,
            "outputs": list(self.outputs),
            "versions": self.versions,
            "config": self.config,
        }


def figures(record: Record) -> Figures:
    """Work out everything a report of ``record`` says."""
    tally = record.tally
    path = funnel(tally, record.order)
    sources = in_order(set(tally.before) | set(tally.after))
    comparisons = [
        Comparison(source, tally.before.get(source, Volume()), tally.after.get(source, Volume()))
        for source in sources
    ]
    everything = Comparison(
        "total",
        _sum([comparison.before for comparison in comparisons]),
        _sum([comparison.after for comparison in comparisons]),
    )
    held_out = tuple(
        HeldOut(row.source, row.after.documents, tally.held_out.get(row.source, 0))
        for row in comparisons
        if row.after.documents
    )
    return Figures(
        name=record.name,
        table=table(tally, record.tokens),
        funnel=path,
        checks=checks(tally, path, record.inputs, record.outputs),
        rules=tuple(
            RuleFigures(stage.label, describe(stage.label, record.config), stage)
            for stage in path.stages
        ),
        comparisons=(everything, *comparisons),
        held_out=held_out,
        held_out_total=HeldOut(
            "total",
            sum(row.documents for row in held_out),
            sum(row.held_out for row in held_out),
        ),
        inputs=record.inputs,
        inputs_total={
            key: sum(item[key] for item in record.inputs)
            for key in ("bytes", "documents", "quarantined")
        },
        outputs=record.outputs,
        versions=record.versions,
        config=record.config,
    )


def in_order(sources: set[str]) -> list[str]:
    """Sources in the order of the paper's Table 1, others after them."""
    return [
        *(source for source in SOURCES if source in sources),
        *sorted(sources - set(SOURCES)),
    ]


def shares(counts: Mapping[str, int], names: Sequence[str]) -> list[tuple[str, int, float]]:
    """``(name, count, share)`` of every name with a count, names in their order."""
    total = sum(counts.values())
    ordered = [*names, *sorted(set(counts) - set(names))]
    return [(name, counts[name], counts[name] / total) for name in ordered if counts.get(name)]


def occupied(comparisons: Sequence[Comparison]) -> range:
    """The length bins from the first to the last that any of the comparisons uses."""
    used = [
        index
        for index in range(LENGTH_BINS)
        for row in comparisons
        if row.before.lengths[index] or row.after.lengths[index]
    ]
    return range(min(used), max(used) + 1) if used else range(0)


def _sum(volumes: Sequence[Volume]) -> Volume:
    total = Volume()
    for volume in volumes:
        total.merge(volume)
    return total
