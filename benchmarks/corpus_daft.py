"""The same cleaning and near-duplicates by Daft and by ours, side by side, and after ``kill -9``.

    HYPERCLOVA_DATA=DIR python benchmarks/corpus_daft.py --daft PYTHON --megabytes 20

``PYTHON`` is that of an environment with ``pip install daft numpy orjson zstandard``, never the
project's own. Both sides read the same JSON lines with one worker's rules in Python (unicode, too
short), drop equal texts, find pairs by MinHash (runs of five letters, 20 bands of 6 rows), compare
the pairs' true similarity with 0.8 and write what is left. Daft hashes, groups and joins in Rust;
rules, folding and comparison are our functions on both sides, run by Daft as batch functions. What
is left is compared: texts may differ where another one of near-duplicates is kept.

Then each is killed when about half of its time is over, and begun again.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from hyperclova.corpus.duplicates import components, shingles, similarity
from hyperclova.corpus.duplicates.shingling import fold
from hyperclova.corpus.rule import Rule, build_rule
from hyperclova.corpus.rules import RULES

BANDS, ROWS, SHINGLE, SIMILARITY = 20, 6, 5, 0.8
TABLES: tuple[dict[str, Any], ...] = ({"rule": "unicode"}, {"rule": "too-short", "characters": 30})


@cache
def rules() -> tuple[Rule, ...]:
    return tuple(build_rule(table, RULES, "rules") for table in TABLES)


def clean(text: str) -> str | None:
    from hyperclova.corpus.documents import Document

    document = Document("", "wiki", "", text)
    for rule in rules():
        verdict = rule(document)
        if verdict.document is None:
            return None
        document = verdict.document
    return document.text


def by_daft(source: Path, output: Path) -> None:
    """The whole pipeline as Daft queries."""
    import daft
    import numpy as np
    from daft import DataType, Series, col

    @daft.func.batch(return_dtype=DataType.string())
    def cleaned(texts: Series) -> list[str | None]:
        return [clean(text) for text in texts.to_pylist()]

    @daft.func.batch(return_dtype=DataType.string())
    def letters(texts: Series) -> list[str]:
        return [" ".join(fold(text)) for text in texts.to_pylist()]  # Daft's n-grams are of words

    @daft.func.batch(return_dtype=DataType.list(DataType.binary()))
    def bands(signatures: Series) -> list[list[bytes]]:
        rows = np.array(signatures.to_pylist(), np.uint32).reshape(-1, BANDS, ROWS)
        return [[bytes([b]) + row[b].tobytes() for b in range(BANDS)] for row in rows]

    documents = (
        daft.read_json(str(source / "*.jsonl"))
        .select(col("id"), cleaned(col("text")).alias("text"))
        .where(col("text").not_null())
        .groupby("text")
        .agg(col("id").min())
        .collect()
    )
    keys = documents.select(
        col("id"),
        bands(
            letters(col("text")).minhash(num_hashes=BANDS * ROWS, ngram_size=SHINGLE, seed=1)
        ).alias("band"),
    ).explode("band")
    groups = keys.groupby("band").agg(col("id").list_agg()).where(col("id").list_count() > 1)
    texts = dict(zip(*(documents.to_pydict()[name] for name in ("id", "text")), strict=True))
    pairs = {
        (min(first, second), max(first, second))
        for group in groups.to_pydict()["id"]
        for place, first in enumerate(group)
        for second in group[place + 1 :]
    }
    sets: dict[str, Any] = {}
    for name in {name for pair in pairs for name in pair}:
        sets[name] = shingles(texts[name], SHINGLE)
    alike = [pair for pair in pairs if similarity(sets[pair[0]], sets[pair[1]]) >= SIMILARITY]
    names = sorted({name for pair in alike for name in pair})
    numbers = {name: number for number, name in enumerate(names)}
    edges = np.array([[numbers[a], numbers[b]] for a, b in alike], np.int64).reshape(-1, 2)
    kept = components(edges, len(names))
    dropped = [name for number, name in enumerate(names) if kept[number] != number]
    gone = daft.from_pydict({"id": dropped})
    documents.join(gone, on="id", how="anti").write_json(str(output))


def by_us(source: Path, output: Path) -> None:
    from hyperclova.corpus.build import build
    from hyperclova.corpus.config import CorpusConfig, Duplicates, Input, RepeatedLines, Sampling

    config = CorpusConfig(
        output=output,
        inputs=(Input(str(source / "*.jsonl")),),
        piece_megabytes=2,
        rules=TABLES,
        repeated_lines=RepeatedLines(enabled=False),
        duplicates=Duplicates(bands=BANDS, rows=ROWS, shingle=SHINGLE, similarity=SIMILARITY),
        sampling=Sampling(held_out=0),
    )
    build(config, workers=1)


def texts_of(output: Path) -> Iterator[str]:
    from hyperclova.corpus.documents import read_lines

    for path in (output / "train").glob("*.zst"):
        yield from (orjson.loads(line)["text"] for line in read_lines(path))
    if not (output / "train").exists():
        for path in output.glob("*.json"):
            yield from (orjson.loads(line)["text"] for line in path.read_bytes().splitlines())


def run(python: str, side: str, source: Path, output: Path, limit: float | None = None) -> float:
    """Seconds that one side takes; ``limit``: it and its workers are killed after so many."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [python, __file__, "--side", side, str(source), str(output)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src")},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    try:
        code = process.wait(limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return limit or 0.0
    if code:
        sys.exit(f"{side} failed with status {code}")
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--daft", help="Python of an environment with Daft")
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--side", nargs=3, metavar=("SIDE", "SOURCE", "OUTPUT"))
    arguments = parser.parse_args()
    if arguments.side:
        side, source, output = arguments.side
        {"daft": by_daft, "ours": by_us}[side](Path(source), Path(output))
        return
    from corpus import processor_seconds, sample  # needs more than Daft's environment has
    from hyperclova.corpus.documents import serialise

    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "in"
        source.mkdir()
        size = 0
        with (source / "documents.jsonl").open("wb") as file:
            for document in sample(arguments.megabytes):
                if document.source != "kin":  # of short answers we compare the question, too
                    file.write(serialise(document))
                    size += len(document.text.encode())
        print(f"{size / 1e6:.1f} MB of text")
        seconds, left = {}, {}
        for side, python in (("ours", sys.executable), ("daft", arguments.daft)):
            output = Path(scratch) / side
            before = processor_seconds()
            wall = run(python, side, source, output)
            seconds[side] = processor_seconds() - before
            left[side] = set(texts_of(output))
            print(f"{side}: {seconds[side]:.1f} s of processor, {wall:.1f} s")
            print(f"{side}: {len(left[side]):,} texts left")
            again = output.with_name(f"{side}-killed")
            run(python, side, source, again, wall / 2)
            second = run(python, side, source, again)
            same = set(texts_of(again)) == left[side]
            print(f"{side}, killed after {wall / 2:.1f} s: {second:.1f} s more, same texts: {same}")
        both = len(left["ours"] & left["daft"])
        print(f"texts left by both: {both:,}; by one alone: {len(left['ours'] ^ left['daft']):,}")
        print(f"ratio of processor time: {seconds['daft'] / seconds['ours']:.2f}")
        if abs(len(left["ours"]) - len(left["daft"])) > 0.005 * len(left["ours"]):
            sys.exit("not the same work")


if __name__ == "__main__":
    main()
