"""What `anonymise` masks in text that should hold next to nothing to mask.

    python benchmarks/anonymise_precision.py --output masked.tsv

Goes through all statutes and all of Wikipedia in HYPERCLOVA_DATA/pretrain, counts masks of each
kind, and writes every mask with its line to a file, for people to tell true masks (the phone
number of an office, the page of a singer) from false ones. The file holds what was masked: keep
it to yourself. Put an x at the head of each false line, then count them with

    python benchmarks/anonymise_precision.py --judged masked.tsv
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hyperclova import directories
from hyperclova.corpus.anonymise import KINDS, Mask, anonymise
from hyperclova.corpus.documents import Document, read_documents

CONTEXT = 60
"""Characters of the line on either side of a mask in the file."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, help="write what was masked here, for judging")
    parser.add_argument("--judged", type=Path, help="count the verdicts in this file instead")
    parser.add_argument("--documents", type=int, help="of Wikipedia, read no more than so many")
    arguments = parser.parse_args()
    if arguments.judged:
        count_verdicts(arguments.judged)
    else:
        measure(arguments.output, arguments.documents)


def measure(output: Path | None, documents: int | None) -> None:
    table = Table("text", "lines", "MB", *KINDS, "masks per 10,000 lines", "MB/s")
    rows: list[str] = []
    pretrain = directories.data() / "pretrain"
    for name, source in (
        ("statutes", statutes(pretrain / "others.jsonl.zst")),
        ("wiki", read_documents([pretrain / "wiki.jsonl.zst"])),
    ):
        counts: Counter[str] = Counter()
        lines = size = 0
        seconds = 0.0
        for number, document in enumerate(source):
            if number == documents:
                break
            start = time.process_time()
            masked = anonymise(document.text).masked
            seconds += time.process_time() - start
            counts.update(mask.kind for mask in masked)
            rows += (row(name, document, mask) for mask in masked)
            lines += document.text.count("\n") + 1
            size += len(document.text.encode())
        table.add_row(
            name,
            f"{lines:,}",
            f"{size / 1e6:.1f}",
            *(str(counts[kind]) for kind in KINDS),
            f"{10_000 * counts.total() / lines:.2f}",
            f"{size / 1e6 / seconds:.1f}",
        )
    Console(width=180).print(table)
    if output:
        output.write_text("\n".join(["false\ttext\tkind\tdocument\tline", *rows]) + "\n")


def statutes(path: Path) -> Iterator[Document]:
    """The statutes among the other documents of the file."""
    return (document for document in read_documents([path]) if document.id.startswith("law-"))


def row(name: str, document: Document, mask: Mask) -> str:
    text = document.text
    start = max(text.rfind("\n", 0, mask.start) + 1, mask.start - CONTEXT)
    end = text.find("\n", mask.end)
    end = min(len(text) if end < 0 else end, mask.end + CONTEXT)
    line = f"{text[start : mask.start]}⟦{text[mask.start : mask.end]}⟧{text[mask.end : end]}"
    return "\t".join(("", name, mask.kind, document.id, " ".join(line.split())))


def count_verdicts(judged: Path) -> None:
    table = Table("text", "kind", "masks", "false")
    masks: Counter[tuple[str, str]] = Counter()
    false: Counter[tuple[str, str]] = Counter()
    for line in judged.read_text().splitlines()[1:]:
        verdict, name, kind, *_ = line.split("\t")
        masks[name, kind] += 1
        false[name, kind] += verdict == "x"
    for (name, kind), count in sorted(masks.items()):
        table.add_row(name, kind, str(count), str(false[name, kind]))
    table.add_row("total", "", str(masks.total()), str(false.total()))
    Console().print(table)


if __name__ == "__main__":
    main()
