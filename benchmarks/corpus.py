"""MB/s per core of the corpus pipeline and of each rule, beside datatrove on the same files.

    python benchmarks/corpus.py --datatrove /path/to/python --megabytes 60

``--datatrove`` is the Python of an environment with ``pip install 'datatrove[io,processing]'``.
Both sides read the same JSON lines with one worker, repair text, drop short and repetitive
documents, mask personal data, find near-duplicates by MinHash and write compressed JSON lines.
Ours also verifies candidates, scores documents, keeps account of every rule, splits, and masks nine
kinds of personal data where the peer masks two. Processor time is compared, and wall time shown.

The figures for 2.5 TB are linear arithmetic: core-hours at the measured rate of a core, and their
cost at ``--dollars`` a core-hour.
"""

import argparse
import gzip
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from hyperclova import configuration, directories
from hyperclova.corpus.build import build
from hyperclova.corpus.config import CorpusConfig, Duplicates, Input, RepeatedLines
from hyperclova.corpus.documents import Document, read_documents, serialise
from hyperclova.corpus.stages.cleaning import build_rules
from hyperclova.corpus.tally import Tally

SCALE = 2.5e12
"""Bytes of text behind HyperCLOVA's 561.8B tokens, at some 4.5 bytes a token."""


def sample(megabytes: float) -> Iterator[Document]:
    """Documents of all sources, from each the share that it has in the whole."""
    files = sorted((directories.data() / "pretrain").glob("*.jsonl.zst"))
    total = sum(file.stat().st_size for file in files)
    for file in files:
        left = megabytes * 1e6 * file.stat().st_size / total
        for document in read_documents([file]):
            left -= len(document.text.encode())
            if left < 0:
                break
            yield document


def processor_seconds() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in usage)


def measured(action: object) -> tuple[float, float]:
    """Processor and wall seconds of ``action()``."""
    processor, wall = processor_seconds(), time.perf_counter()
    action()  # type: ignore[operator]
    return processor_seconds() - processor, time.perf_counter() - wall


def ours(source: Path, output: Path) -> None:
    config = CorpusConfig(
        output=output,
        inputs=(Input(str(source / "*.jsonl")),),
        rules=(
            {"rule": "mojibake"},
            {"rule": "unicode"},
            {"rule": "too-short", "characters": 4},
            {"rule": "line-repetition"},
            {"rule": "ngram-repetition"},
        ),
        finish=({"rule": "anonymise"},),
        repeated_lines=RepeatedLines(enabled=False),
        duplicates=Duplicates(),
    )
    build(config, workers=1)


def each_rule(documents: list[Document]) -> None:
    """Rates of every rule of the shared configuration, over documents of its own sources."""
    path = Path(__file__).parents[1] / "configs" / "corpus" / "shared.toml"
    config = configuration.load(CorpusConfig, path)
    before, finish = build_rules(config)
    rules = {**before, **finish}
    seconds: dict[str, float] = defaultdict(float)
    sizes: dict[str, float] = defaultdict(float)
    tally = Tally()
    for label, rule in rules.items():
        mine = [d for d in documents if not rule.sources or d.source in rule.sources]
        started = time.process_time()
        for document in mine:
            tally.note(label, document, rule(document))
        seconds[label] = time.process_time() - started
        sizes[label] = sum(len(document.text.encode()) for document in mine)
    print(f"{'rule':70} {'MB':>8} {'MB/s/core':>10}")
    for label in sorted(rules, key=lambda name: sizes[name] / max(1e-9, seconds[name])):
        rate = sizes[label] / 1e6 / max(1e-9, seconds[label])
        print(f"{label:70} {sizes[label] / 1e6:8.1f} {rate:10.1f}")


def written(directory: Path) -> int:
    return sum(
        1 for path in directory.glob("*.jsonl.gz") for _ in gzip.open(path, "rt", encoding="utf-8")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=float, default=60)
    parser.add_argument("--datatrove", help="Python of an environment with datatrove")
    parser.add_argument("--dollars", type=float, default=0.04, help="price of a core-hour")
    parser.add_argument("--rules", action="store_true", help="only the rules, one by one")
    arguments = parser.parse_args()
    documents = list(sample(arguments.megabytes))
    size = sum(len(document.text.encode()) for document in documents) / 1e6
    print(f"{len(documents):,} documents, {size:.1f} MB of text")
    if arguments.rules:
        each_rule(list(itertools.islice(documents, 0, None, 3)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "in"
        source.mkdir()
        with (source / "documents.jsonl").open("wb") as file:
            file.writelines(serialise(document) for document in documents)
        processor, wall = measured(lambda: ours(source, Path(scratch) / "ours"))
        record = json.loads((Path(scratch) / "ours" / "build.json").read_text(encoding="utf-8"))
        kept = sum(output["documents"] for output in record["outputs"])
        rate = size / processor
        print(
            f"hyperclova: {processor:.1f} s of processor, {wall:.1f} s, {rate:.2f} MB/s/core, "
            f"{kept:,} documents kept"
        )
        hours = SCALE / 1e6 / rate / 3600
        print(
            f"2.5 TB: {hours:,.0f} core-hours, ${hours * arguments.dollars:,.0f} at "
            f"${arguments.dollars} each"
        )
        if not arguments.datatrove:
            return
        command = [
            arguments.datatrove,
            str(Path(__file__).with_name("corpus_datatrove.py")),
            str(source),
            str(Path(scratch) / "theirs"),
        ]
        theirs, their_wall = measured(
            lambda: subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        )
        their_kept = written(Path(scratch) / "theirs" / "final")
        if not 0.8 < their_kept / kept < 1.25:
            sys.exit(f"not the same work: {kept:,} documents kept against {their_kept:,}")
        print(
            f"datatrove:  {theirs:.1f} s of processor, {their_wall:.1f} s, "
            f"{size / theirs:.2f} MB/s/core, {their_kept:,} documents kept"
        )
        print(f"ratio of processor time: {theirs / processor:.2f}")


if __name__ == "__main__":
    main()
