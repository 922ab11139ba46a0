"""What to compare documents by: runs of characters, words or morphemes.

    python benchmarks/shingle_kinds.py --data DIRECTORY

Two sets of pairs whose answer is known without anybody's judgement:

* copies: real documents and copies of them, changed as Korean copies differ: other spacing, other
  particles and endings, typing errors, replaced words, a sentence added at the end;
* different: encyclopedia pages of different titles, among which templates (stations, matches,
  medal tables, footballers) make pairs that look alike.

A kind is good if at the threshold at which it takes a given number of the different pages for
duplicates, it still finds most copies. Morphemes are those of the tokenizer's analyser.
"""

import argparse
import hashlib
import itertools
import random
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from hyperclova.corpus.documents import Document, read_documents
from hyperclova.corpus.duplicates import (
    MinHash,
    Shingles,
    candidate_pairs,
    exact_key,
    shingles,
    verify,
)
from hyperclova.tokenizer.morphemes import morphemes

LOWEST = 0.4
WORD = re.compile(r"\w+")
PARTICLES = {"은": "이", "는": "가", "이": "은", "가": "는", "을": "도", "를": "도", "에": "에서"}
ENDINGS = {"습니다": "어요", "한다": "했다", "이다": "였다", "했다": "한다", "된다": "됐다"}
Cut = Callable[[str], NDArray[np.uint64]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="directory of *.jsonl.zst")
    parser.add_argument("--copies", type=int, default=2_000)
    parser.add_argument("--pages", type=int, default=20_000)
    parser.add_argument("--different", type=int, nargs="+", default=[10, 100])
    arguments = parser.parse_args()
    rng = random.Random(0)
    originals = texts_to_copy(arguments.data, arguments.copies, rng)
    pages = short_pages(arguments.data, arguments.pages)
    edits = (spaced, inflected, mistyped, reworded, extended)
    copies = [[edit(text, rng) for text in originals] for edit in edits]
    allowed = arguments.different
    table = Table("shingles", "MB/s", "≥ 0.8: different")
    for edit in edits:
        table.add_column(edit.__name__)
    for number in allowed:
        table.add_column(f"{number} different: at ≥")
        table.add_column("copies")
    for name, cut in kinds().items():
        start = time.process_time()
        sets = [cut(text) for text in originals]
        seconds = time.process_time() - start
        megabytes = sum(len(text.encode()) for text in originals) / 1e6
        alike = np.sort(similarities_of_pages([cut(page) for page in pages]))[::-1]
        found = np.array(
            [
                [jaccard(left, cut(copy)) for left, copy in zip(sets, made, strict=True)]
                for made in copies
            ]
        )
        row = [name, f"{megabytes / seconds:.1f}", str(int((alike >= 0.8).sum()))]
        row += [f"{share:.0%}" for share in (found >= 0.8).mean(axis=1)]
        for number in allowed:
            threshold = alike[number] if len(alike) > number else LOWEST
            row += [f"{threshold:.2f}", f"{(found > threshold).mean():.0%}"]
        table.add_row(*row)
        print(*row, sep=" | ", flush=True)
    Console(width=140).print(table)


def jaccard(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> float:
    shared = len(np.intersect1d(left, right, assume_unique=True))
    return shared / max(len(left) + len(right) - shared, 1)


def kinds() -> dict[str, Cut]:
    """Every way of cutting, from a text to its set of hashes."""

    def characters(length: int) -> Cut:
        return lambda text: shingles(text, length)

    def words(length: int) -> Cut:
        return lambda text: hashed(WORD.findall(text.lower()), length)

    def of_morphemes(length: int) -> Cut:
        def cut(text: str) -> NDArray[np.uint64]:
            pieces = (letters(piece) for line in text.split("\n") for piece in morphemes(line))
            return hashed([piece for piece in pieces if piece], length)

        return cut

    return (
        {f"characters, {n}": characters(n) for n in (5, 3, 4, 7)}
        | {f"words, {n}": words(n) for n in (1, 2, 3)}
        | {f"morphemes, {n}": of_morphemes(n) for n in (3,)}
    )


def letters(text: str) -> str:
    """The package's fold, faster for single words."""
    return "".join(filter(str.isalnum, text.lower()))


def hashed(pieces: Sequence[str], length: int) -> NDArray[np.uint64]:
    runs = {"\x1f".join(pieces[i : i + length]) for i in range(max(len(pieces) - length + 1, 1))}
    values = (hashlib.blake2b(run.encode(), digest_size=8).digest() for run in runs)
    return np.unique(np.frombuffer(b"".join(values), dtype="<u8"))


def similarities_of_pages(sets: Sequence[NDArray[np.uint64]]) -> NDArray[np.float64]:
    """Of all pairs that are more alike than :data:`LOWEST` (all but a few: 50 bands of 4)."""
    starts = np.concatenate(([0], np.cumsum([len(one) for one in sets])))
    keys = MinHash(50, 4).sign(Shingles(np.concatenate(sets), starts))
    numbers = np.arange(len(sets), dtype=np.uint64)
    pairs = np.concatenate([candidate_pairs(band, numbers) for band in keys.T])
    return verify(np.unique(pairs, axis=0), lambda number: sets[number], LOWEST)[1]


def texts_to_copy(directory: Path, count: int, rng: random.Random) -> list[str]:
    """As many from each kind of file, of 80 to 3,000 characters."""
    texts: list[str] = []
    paths = sorted(directory.glob("*.jsonl.zst"))
    for path in paths:
        head = itertools.islice(read_documents([path]), 20_000)
        usable = [document.text for document in head if 80 <= len(document.text) <= 3_000]
        texts += rng.sample(usable, min(len(usable), count // len(paths)))
    return texts


def short_pages(directory: Path, count: int) -> list[str]:
    """Encyclopedia stubs of 80 to 400 characters, each title and each text once."""
    pages: dict[str, Document] = {}
    texts: set[bytes] = set()
    for document in read_documents([directory / "wiki.jsonl.zst"]):
        key = exact_key(document.text)
        if 80 <= len(document.text) <= 400 and document.title not in pages and key not in texts:
            pages[document.title] = document
            texts.add(key)
            if len(pages) == count:
                break
    return [document.text for document in pages.values()]


def spaced(text: str, rng: random.Random) -> str:
    """A fifth of the spaces go, as where people write words together."""
    return re.sub(" ", lambda _: "" if rng.random() < 0.2 else " ", text)


def inflected(text: str, rng: random.Random) -> str:
    """A tenth of the words get another particle or ending."""

    def change(word: str) -> str:
        for ending, other in (ENDINGS | PARTICLES).items():
            if len(word) > len(ending) and word.endswith(ending):
                return word[: -len(ending)] + other
        return word

    words = text.split(" ")
    return " ".join(change(word) if rng.random() < 0.1 else word for word in words)


def mistyped(text: str, rng: random.Random) -> str:
    """One character in a hundred is another of the text's."""
    return "".join(rng.choice(text) if rng.random() < 0.01 else c for c in text)


def reworded(text: str, rng: random.Random) -> str:
    """One word in twenty is another of the text's."""
    words = text.split(" ")
    return " ".join(rng.choice(words) if rng.random() < 0.05 else word for word in words)


def extended(text: str, rng: random.Random) -> str:
    """Something is said before and after, as where a text is passed on."""
    before = rng.choice(("퍼온 글입니다. ", "[공유] ", "다들 한번 읽어보세요. "))
    return before + text + rng.choice((" 출처: 어느 블로그", " 동의 부탁드립니다.", " ㅠㅠ"))


if __name__ == "__main__":
    main()
