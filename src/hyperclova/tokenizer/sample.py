"""An even, repeatable sample of the training text.

A vocabulary from one per cent of a corpus is nearly that of the whole, and the memory of BPE
training grows with the distinct pieces, so tokenizers are trained on a sample.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from hyperclova.corpus.documents import Document, read_documents, read_lines
from hyperclova.errors import UserError

_TEXT_SUFFIXES = (".txt", ".txt.gz", ".txt.zst")
_BLOCK = 16_384


def read_training_texts(paths: Iterable[Path | str]) -> Iterator[Document]:
    """Documents of ``.jsonl`` files, and plain ``.txt`` files in blocks of whole lines.

    A plain text has no documents to sample from, so it is read in blocks of about 16,384
    characters, each a document named ``FILE:NUMBER`` whose source is the file.

    Raises:
        UserError: as :func:`~hyperclova.corpus.documents.read_documents`.
    """
    for path in map(Path, paths):
        if path.name.endswith(_TEXT_SUFFIXES):
            yield from _read_blocks(path)
        else:
            yield from read_documents([path])


def sample_texts(
    paths: Sequence[Path | str], megabytes: float | None, seed: int = 0, balance: bool = False
) -> Iterator[str]:
    """The texts of a sample of the documents in ``paths``, in their order.

    Whether a document is taken depends on its id, the seed and its source's rate alone, so the
    sample does not depend on the order of the files. Two passes: the first adds up the bytes of
    each source.

    Args:
        paths: files as for :func:`read_training_texts`.
        megabytes: about how much to take, in 10⁶ bytes of UTF-8; None takes everything.
        seed: another seed takes other documents.
        balance: give every source the same share (what a small source cannot fill goes to the
            others) instead of shares in proportion to their sizes.

    Raises:
        UserError: ``megabytes`` is not positive, or a file cannot be read.
    """
    if megabytes is None:
        for document in read_training_texts(paths):
            yield document.text
        return
    if megabytes <= 0:
        raise UserError(f"a sample of {megabytes} MB is empty: choose more than 0")
    sizes: Counter[str] = Counter()
    for document in read_training_texts(paths):
        sizes[document.source] += len(document.text.encode("utf-8"))
    rates = sampling_rates(sizes, megabytes * 1e6, balance)
    for document in read_training_texts(paths):
        if _position(document.id, seed) < rates[document.source]:
            yield document.text


def sampling_rates(
    sizes: Mapping[str, int], wanted: float, balance: bool = False
) -> dict[str, float]:
    """The share of each source (0 to 1) that together make up ``wanted`` bytes."""
    if not balance:
        rate = min(1.0, wanted / max(1, sum(sizes.values())))
        return dict.fromkeys(sizes, rate)
    rates: dict[str, float] = {}
    # Smallest source first: what it cannot fill is shared by those that are left.
    for index, (source, size) in enumerate(sorted(sizes.items(), key=lambda item: item[1])):
        share = wanted / (len(sizes) - index)
        taken = min(float(size), share)
        rates[source] = taken / size if size else 0.0
        wanted -= taken
    return rates


def _position(identifier: str, seed: int) -> float:
    """A document's place in [0, 1): uniform, the same everywhere."""
    digest = hashlib.blake2b(f"{seed}:{identifier}".encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big") / 2**64


def _read_blocks(path: Path) -> Iterator[Document]:
    block: list[str] = []
    size = number = 0
    for line_number, line in enumerate(read_lines(path), start=1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path}, line {line_number}: not UTF-8: {error.reason} at byte {error.start}"
            ) from None
        block.append(text)
        size += len(text)
        if size >= _BLOCK:
            number += 1
            yield Document(f"{path.name}:{number}", path.name, "", "".join(block))
            block, size = [], 0
    if block:
        yield Document(f"{path.name}:{number + 1}", path.name, "", "".join(block))
