"""Write the evaluation texts that training must not see: one file a set, one text a line.

For ``[decontamination]`` of a corpus build (configs/corpus/shared.toml) and for ``hyperclova
tokenize --keep-out``: NSMC test, KorQuAD dev, KLUE dev (YNAT, STS), KorSTS dev and test and the
Korean side of the Ko-En news, from the directory that HYPERCLOVA_DATA names, in the publishers'
own formats::

    python models/evaluation_texts.py runs/evaluation
"""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from hyperclova import directories


def nsmc(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        yield line.split("\t")[1]


def korquad(path: Path) -> Iterator[str]:
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            yield paragraph["context"]
            for question in paragraph["qas"]:
                yield question["question"]


def klue(path: Path) -> Iterator[str]:
    for row in json.loads(path.read_text(encoding="utf-8")):
        yield from (row[name] for name in ("title", "sentence1", "sentence2") if name in row)


def korsts(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield from (row["sentence1"], row["sentence2"])


def lines(path: Path) -> Iterator[str]:
    yield from path.read_text(encoding="utf-8").splitlines()


SETS = (
    ("nsmc", nsmc, ("nsmc/ratings_test.txt",)),
    ("korquad", korquad, ("korquad/KorQuAD_v1.0_dev.json",)),
    ("klue", klue, ("klue/ynat-v1.1_dev.json", "klue/klue-sts-v1.1_dev.json")),
    ("korsts", korsts, ("sts/sts-dev.tsv", "sts/sts-test.tsv")),
    ("koen", lines, ("koen/korean-english-park.dev.ko", "koen/korean-english-park.test.ko")),
)

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python models/evaluation_texts.py DIRECTORY")
    output = Path(sys.argv[1])
    output.mkdir(parents=True, exist_ok=True)
    for name, read, files in SETS:
        with (output / f"{name}.txt").open("w", encoding="utf-8") as file:
            for path in files:
                for text in read(directories.data() / path):
                    file.write(" ".join(text.split()) + "\n")
