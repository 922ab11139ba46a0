"""What a rule is: a small class that looks at one document and says what becomes of it.

A rule is a frozen dataclass whose fields are its thresholds. A configuration names it and may
set them::

    [[rules]]
    rule = "too-short"
    characters = 20
    sources = ["comments"]

A rule of your own needs no registration: ``rule = "my_package.my_module:MyRule"``.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from hyperclova import configuration
from hyperclova.corpus.documents import Document
from hyperclova.errors import UserError

Table = Mapping[str, Any]
"""A table of the configuration: ``rule`` and the fields of its class."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says of one document."""

    document: Document | None
    """The document, changed or as it was; None: dropped."""
    reason: str = ""
    """Why it was changed or dropped, one line for people; empty if the rule let it be."""
    measure: float | None = None
    """What the rule compares with its threshold, if it has one."""


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """One judgement over one document: pure, deterministic, without memory between documents."""

    sources: tuple[str, ...] = ()
    """Apply only to documents of these sources; empty: to all."""

    @abstractmethod
    def apply(self, document: Document) -> Verdict:
        """Keep, change or drop ``document``."""

    def __call__(self, document: Document) -> Verdict:
        """:meth:`apply`, if the document's source is one of ours."""
        if self.sources and document.source not in self.sources:
            return Verdict(document)
        return self.apply(document)


def labelled(tables: Iterable[Table]) -> Iterator[tuple[str, Table]]:
    """Tables of rules with the labels that reports call them by, in order.

    A label is the rule's name, the sources in brackets if the table names some, and a number
    where it would not be unique. Give the tables of ``[[rules]]`` and ``[[finish]]`` together.
    """
    count: dict[str, int] = {}
    for table in tables:
        label = str(table.get("rule", ""))
        if sources := table.get("sources"):
            label += f" ({', '.join(map(str, sources))})"
        count[label] = count.get(label, 0) + 1
        yield label if count[label] == 1 else f"{label} #{count[label]}", table


def build_rule(settings: Table, known: Mapping[str, str], where: str) -> Rule:
    """The rule that a ``[[rules]]`` table describes.

    Args:
        settings: ``rule`` and the fields of its class.
        known: ``module:Class`` by the names that may be used instead
            (:data:`hyperclova.corpus.rules.RULES`).
        where: prefix of error messages.

    Raises:
        UserError: no such rule, or a field it doesn't have or can't take.
    """
    fields = dict(settings)
    name = fields.pop("rule", None)
    if not isinstance(name, str):
        raise UserError(f'{where}: every table needs rule = "NAME"')
    address = name if ":" in name else known.get(name)
    if address is None:
        raise UserError(
            f"{where}: no rule is called {name!r}; choose one of {', '.join(sorted(known))}, or "
            'give your own as "module:Class"'
        )
    module, _, attribute = address.partition(":")
    try:
        kind = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{where}: rule {name!r} can't be imported: {error}") from None
    if not (isinstance(kind, type) and issubclass(kind, Rule)):
        raise UserError(f"{where}: {address} is not a Rule")
    return configuration.build(kind, fields, f"{where}, rule {name!r}")
