"""Clean: the configured rules, one document at a time."""

from typing import Any

from hyperclova.corpus.config import CorpusConfig
from hyperclova.corpus.documents import Document
from hyperclova.corpus.rule import Rule, build_rule, labelled
from hyperclova.corpus.rules import RULES
from hyperclova.corpus.stages.lines import LineCounter
from hyperclova.corpus.stages.workspace import (
    LineWriter,
    Workspace,
    stored_documents,
    writing_lines,
)
from hyperclova.corpus.tally import Tally, Volume


def build_rules(config: CorpusConfig) -> tuple[dict[str, Rule], dict[str, Rule]]:
    """The rules before and after deduplication, by their labels, in order.

    Raises:
        UserError: no such rule, or a field it doesn't have or can't take.
    """
    tables = list(labelled((*config.rules, *config.finish)))
    split = len(config.rules)
    return (
        {label: build_rule(table, RULES, "rules") for label, table in tables[:split]},
        {label: build_rule(table, RULES, "finish") for label, table in tables[split:]},
    )


def follow(
    rules: dict[str, Rule], document: Document, tally: Tally
) -> tuple[Document | None, str, str]:
    """Apply rules in order until one drops the document.

    Returns:
        The document or None, and the label and reason of the rule that dropped it.
    """
    for label, rule in rules.items():
        verdict = rule(document)
        tally.note(label, document, verdict)
        if verdict.document is None:
            return None, label, verdict.reason
        document = verdict.document
    return document, "", ""


def note_dropped(writer: LineWriter, document: Document, label: str, reason: str) -> None:
    """Keep account of a dropped document, without its text."""
    writer.add_record(
        {"id": document.id, "source": document.source, "rule": label, "reason": reason}
    )


def clean(workspace: Workspace, piece: str, config: CorpusConfig) -> dict[str, Any]:
    """Apply ``[[rules]]`` to a piece and count its lines.

    Returns:
        ``tally``, ``documents`` and ``bytes`` left, ``sources`` (documents by source), ``lines``
        (different lines that might be boilerplate).
    """
    rules, _ = build_rules(config)
    tally = Tally()
    lines = LineCounter(config.repeated_lines)
    sources: dict[str, int] = {}
    size = 0
    with (
        writing_lines(workspace.file("clean", f"{piece}.jsonl.zst")) as kept,
        writing_lines(workspace.output / "dropped" / f"{piece}-1-rules.jsonl.zst") as dropped,
    ):
        for document in stored_documents(workspace.file("read", f"{piece}.jsonl.zst")):
            tally.before.setdefault(document.source, Volume()).add(document.text)
            result, label, reason = follow(rules, document, tally)
            if result is None:
                note_dropped(dropped, document, label, reason)
                continue
            kept.add(result)
            lines.add(result)
            sources[result.source] = sources.get(result.source, 0) + 1
            size += len(result.text.encode())
    counted = lines.counted()
    workspace.save("clean", f"{piece}.lines", counted)
    return {
        "tally": tally.to_mapping(),
        "documents": kept.documents,
        "bytes": size,
        "sources": sources,
        "lines": len(counted),
    }
