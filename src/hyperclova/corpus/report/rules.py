"""What each rule of a build does and how it was set, in the words of its own docstring."""

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hyperclova.corpus.rule import Rule, build_rule, labelled
from hyperclova.corpus.rules import RULES
from hyperclova.errors import UserError

CONTAMINATED = "contaminated:"
"""Label of decontamination, before the name of the evaluation set."""

_ROLE = re.compile(r":[a-z:]+:`~?([^`<]+?)(?: *<[^`]*>)?`")

# The section of the configuration that holds a built-in rule's settings, and what it does.
_BUILT_IN = {
    "repeated-lines": (
        "repeated_lines",
        "Cuts lines that many documents of one source share: menus, footers, disclaimers.",
    ),
    "exact-duplicate": (
        "duplicates",
        "Drops documents whose text is the same as another's but for its whitespace. The better "
        "one of them is kept.",
    ),
    "near-duplicate": (
        "duplicates",
        "Drops documents that share most of their shingles (runs of characters) with another. "
        "Candidates come from banded MinHash and are verified by their true Jaccard similarity; "
        "of each group the best document is kept.",
    ),
    "sampling": (
        "sampling",
        "Keeps a random share of the documents of a source, or writes them more than once. "
        "Changed are the copies written beyond the first.",
    ),
}
_DECONTAMINATION = (
    "Drops documents that share a run of words with an example of this evaluation set: eight "
    "words, or the whole example where it has five to seven."
)


@dataclass(frozen=True)
class Setting:
    """One threshold."""

    name: str
    value: str
    given: bool
    """By the configuration; otherwise it is the default."""


@dataclass(frozen=True)
class Description:
    """A rule for people."""

    text: str
    """Plain text with `` `code` ``; empty if the rule's class can't be imported here."""
    settings: tuple[Setting, ...]
    lists: bool = False
    """Whether it is one of the configuration's own, under ``[[rules]]`` or ``[[finish]]``."""


def describe(label: str, config: Mapping[str, Any]) -> Description:
    """What the rule that a report calls ``label`` does.

    Args:
        label: a rule's name; with the sources it is limited to, and its number if it is repeated.
        config: of the build, as plain data.
    """
    if label.startswith(CONTAMINATED):
        return Description(_DECONTAMINATION, ())
    if label in _BUILT_IN:
        section, text = _BUILT_IN[label]
        settings = dict(config.get(section, {}))
        if label == "exact-duplicate":  # the others are about shingles
            settings = {name: value for name, value in settings.items() if name == "enabled"}
        return Description(text, tuple(_plain(settings)))
    table = dict(labelled((*config.get("rules", ()), *config.get("finish", ())))).get(label)
    if table is None:
        return Description("", ())
    try:
        rule = build_rule(table, RULES, "build.json")
    except UserError:  # somebody's own rule, or of another version: show what is known
        given = {name: value for name, value in table.items() if name != "rule"}
        return Description("", tuple(_plain(given)), lists=True)
    return Description(first_paragraph(rule), tuple(_of_rule(rule, table)), lists=True)


def first_paragraph(rule: Rule) -> str:
    """The first paragraph of the docstring of a rule's class, as plain text with `` `code` ``."""
    paragraph = (inspect.getdoc(type(rule)) or "").partition("\n\n")[0]
    return _ROLE.sub(r"`\1`", " ".join(paragraph.split())).replace("``", "`")


def _of_rule(rule: Rule, table: Mapping[str, Any]) -> Iterator[Setting]:
    for field in dataclasses.fields(rule):
        if field.name == "sources" and not rule.sources:
            continue
        yield Setting(field.name, _show(getattr(rule, field.name)), field.name in table)


def _plain(settings: Mapping[str, Any]) -> Iterator[Setting]:
    for name, value in settings.items():
        yield Setting(name, _show(value), given=True)


def _show(value: object) -> str:
    """A setting's value as a configuration would write it, cut short if it is long."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        shown = ", ".join(map(_show, value[:12]))
        return f"{shown}, … ({len(value)} in all)" if len(value) > 12 else shown or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {_show(item)}" for key, item in value.items()) or "none"
    text = str(value)
    return text if len(text) <= 120 else text[:119] + "…"
