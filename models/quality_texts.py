"""Write the texts that the shipped quality classifier is trained and judged on: one file a kind.

For ``hyperclova corpus train-quality``, from the directory that HYPERCLOVA_DATA names::

    python models/quality_texts.py runs/quality

A kind is what a document's id begins with. Kinds that are related (documentation of five projects,
tales and novels) are one, so that none of them is judged by a classifier that has seen the others.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import orjson

from hyperclova import directories
from hyperclova.corpus.documents import read_lines
from hyperclova.corpus.hashing import unit

KINDS = {
    "good/encyclopedia": ("wiki", "wiki"),
    "good/documentation": ("others", "MicrosoftDoc", "ms", "tf", "rust", "reactjs"),
    "good/statutes": ("others", "law"),
    "good/stories": ("modu", "tale", "novel"),
    "good/wikinews": ("news", "wikinews"),
    "crawled/film-reviews": ("comments", "review"),
    "crawled/petitions": ("cafe", "petitions"),
    "crawled/headlines": ("news", "newstitle"),
    "crawled/news-comments": ("comments", "newscomment"),
    "crawled/questions": ("kin", "qna", "qp"),
    "crawled/book-posts": ("blog", "book_review02"),
    "unlabelled/technical-posts": ("blog", "johngrib", "yceffort", "devHudi"),
    "unlabelled/library-reviews": ("blog", "book_review01"),
}
MEGABYTES = 8
"""Of each kind; of larger ones a random sample."""


def lines(source: str, prefixes: tuple[str, ...]) -> Iterator[bytes]:
    path = directories.data() / "pretrain" / f"{source}.jsonl.zst"
    share = min(1.0, MEGABYTES * 1e6 / (4.5 * path.stat().st_size))  # zstd's usual ratio
    for line in read_lines(path):
        identifier = orjson.loads(line)["id"]
        if identifier.startswith(prefixes) and unit("quality text", identifier) < share:
            yield line.rstrip() + b"\n"


def main(directory: Path) -> None:
    for name, (source, *prefixes) in KINDS.items():
        path = directory / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.writelines(lines(source, tuple(prefixes)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
