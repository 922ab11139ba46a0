"""What every rule thought of one document."""

import os
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hyperclova.corpus.config import CorpusConfig, Input
from hyperclova.corpus.contamination import Contamination
from hyperclova.corpus.documents import Document, read_lines
from hyperclova.corpus.readers import find_files, read_file
from hyperclova.corpus.rule import Rule, Verdict
from hyperclova.corpus.split import is_held_out
from hyperclova.corpus.stages import cleaning, finishing
from hyperclova.errors import UserError


@dataclass(frozen=True)
class Opinion:
    """One step of a document's way through a build."""

    label: str
    """The rule's."""
    before: Document
    verdict: Verdict
    applies: bool = True
    """False: the rule is for documents of other sources."""

    @property
    def outcome(self) -> str:
        """``kept``, ``changed``, ``dropped`` or ``not asked``."""
        if not self.applies:
            return "not asked"
        if self.verdict.document is None:
            return "dropped"
        return "kept" if self.verdict.document is self.before else "changed"


def find_document(path: str, identifier: str, config: CorpusConfig) -> Document:
    """The document of a file, read as the configuration's input that holds it would be.

    Raises:
        UserError: no such document, or the file can't be read.
    """
    source = Input(path)
    wanted = os.path.realpath(path)
    for given in config.inputs:
        expanded = replace(given, path=os.path.expandvars(given.path))
        try:
            files = find_files(expanded)
        except UserError:
            continue  # an input of the build that this machine lacks
        if any(os.path.realpath(file) == wanted for file in files):
            source, path = (
                expanded,
                next(file for file in files if os.path.realpath(file) == wanted),
            )
            break
    for document in read_file(path, source, lambda record: None):
        if document.id == identifier:
            return document
    raise UserError(f"{path}: holds no document with the id {identifier!r}")


def explain(document: Document, config: CorpusConfig) -> Iterator[Opinion]:
    """Follow a document through all rules, until one drops it.

    What depends on other documents (repeated lines, duplicates) is not looked at here;
    :func:`find_dropped` tells what a finished build made of it.
    """
    rules, finish = cleaning.build_rules(config)
    left = yield from _ask(rules, document)
    if left is None:
        return
    document = left
    for path in config.decontamination.files:
        label = finishing.contaminated(path.stem)
        found = Contamination.from_files([path]).found_in(document.text)
        reason = f"shares a run of words with an example of {path.stem}" if found else ""
        yield Opinion(label, document, Verdict(None if found else document, reason))
        if found:
            return
    copies = finishing.copies_of(document, config)
    held_out = is_held_out(document.id, config.sampling.held_out)
    fate = "held out" if held_out else f"written {copies} times" if copies > 1 else "training"
    yield Opinion(
        finishing.SAMPLING,
        document,
        Verdict(document if copies else None, fate if copies else "not drawn"),
    )
    if not copies:
        return
    yield from _ask(finish, document)


def _ask(
    rules: Mapping[str, Rule], document: Document
) -> Generator[Opinion, None, Document | None]:
    """Yield opinions until a rule drops the document; return what is left of it."""
    for label, rule in rules.items():
        verdict = rule(document)
        applies = not rule.sources or document.source in rule.sources
        yield Opinion(label, document, verdict, applies)
        if verdict.document is None:
            return None
        document = verdict.document
    return document


def find_dropped(output: Path, identifier: str) -> list[dict[str, str]]:
    """What a build's account says of dropped documents with this id: ``rule`` and ``reason``."""
    import orjson

    needle = orjson.dumps(identifier)
    found = []
    for path in sorted((output / "dropped").glob("*.jsonl.zst")):
        for line in read_lines(path):
            if needle in line:
                record = orjson.loads(line)
                if record["id"] == identifier:
                    found.append(record)
    return found
