"""Clean documents -> token shards, on all cores, resumable.

Each input file becomes shards of its own, one series per split and source; a file that is done
has a receipt, and the next run skips it. The result does not depend on the number of workers:
documents are encoded in parallel and written in the order in which they stand in the file.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperclova.corpus.contamination import Contamination
from hyperclova.corpus.documents import Document, read_documents
from hyperclova.corpus.split import HELD_OUT, TRAIN, is_held_out
from hyperclova.durable import write_json
from hyperclova.errors import UserError
from hyperclova.processes import in_order, worker_pool
from hyperclova.tokenizer import Tokenizer
from hyperclova.tokens.shards import ShardIndex, token_type, write_shard

_DOCUMENTS_PER_JOB = 256
_SHARD_TOKENS = 1 << 25


@dataclass(frozen=True)
class Job:
    """What to tokenize, and how.

    Args:
        inputs: files of documents (``.jsonl``, ``.jsonl.gz``, ``.jsonl.zst``).
        tokenizer: a tokenizer directory.
        output: gets ``train/`` and ``held-out/``.
        held_out: share of documents held out, chosen by a hash of their id.
        keep_out: text files of evaluation examples, one a line; documents that share a run of
            words with one of them are left out (:mod:`hyperclova.corpus.contamination`).
        title: write the title on a line of its own before the text.
        shard_tokens: size at which a shard is closed.
        workers: processes that encode.
    """

    inputs: tuple[Path, ...]
    tokenizer: Path
    output: Path
    held_out: float = 0.01
    keep_out: tuple[Path, ...] = ()
    title: bool = True
    shard_tokens: int = _SHARD_TOKENS
    workers: int = 2

    def __post_init__(self) -> None:
        if not 0.0 <= self.held_out < 1.0:
            raise UserError(f"held-out share is {self.held_out}; it must be in [0, 1)")
        stems = [_stem(path) for path in self.inputs]
        for stem in stems:
            if stems.count(stem) > 1:
                raise UserError(f"two input files are called {stem}; rename one")


@dataclass
class Receipt:
    """What became of one input file."""

    input: str
    input_bytes: int
    documents: dict[str, int] = field(default_factory=dict)
    """By split."""
    tokens: dict[str, int] = field(default_factory=dict)
    text_bytes: dict[str, int] = field(default_factory=dict)
    contaminated: int = 0
    """Documents left out because they hold evaluation text."""
    empty: int = 0


Progress = Callable[[Path, int, int], None]
"""Called with the input file, documents and bytes of text done so far in it."""


def tokenize(job: Job, progress: Progress | None = None) -> list[Receipt]:
    """Run ``job``; return one receipt per input file, also of those done in an earlier run.

    Raises:
        UserError: an input can't be read, the output holds shards of another tokenizer,
            another split or other inputs of the same name, or a worker died.
    """
    tokenizer = Tokenizer.load(job.tokenizer)
    plan = {
        "tokenizer_fingerprint": tokenizer.fingerprint,
        "held_out": job.held_out,
        "title": job.title,
        "shard_tokens": job.shard_tokens,
        "keep_out": [hashlib.sha256(path.read_bytes()).hexdigest() for path in job.keep_out],
    }
    receipts_directory = job.output / "receipts"
    receipts_directory.mkdir(parents=True, exist_ok=True)
    _check_plan(job.output / "plan.json", plan)
    contamination = Contamination.from_files(job.keep_out)
    receipts = []
    with worker_pool(job.workers, _start_worker, str(job.tokenizer)) as pool:
        for path in job.inputs:
            receipt_path = receipts_directory / f"{_stem(path)}.json"
            if receipt_path.exists():
                receipts.append(_earlier(receipt_path, path))
                continue
            receipt = _tokenize_file(path, job, tokenizer, contamination, pool, progress)
            write_json(receipt_path, asdict(receipt))
            receipts.append(receipt)
    return receipts


def _stem(path: Path) -> str:
    return path.name.partition(".jsonl")[0]


def _check_plan(path: Path, plan: dict[str, object]) -> None:
    if not path.exists():
        write_json(path, plan)
        return
    earlier = json.loads(path.read_text(encoding="utf-8"))
    for name, value in plan.items():
        if earlier.get(name) != value:
            raise UserError(
                f"{path.parent}: was begun with another {name.replace('_', ' ')}; "
                "choose another output directory or delete this one"
            )


def _earlier(receipt_path: Path, path: Path) -> Receipt:
    receipt = Receipt(**json.loads(receipt_path.read_text(encoding="utf-8")))
    if receipt.input_bytes != path.stat().st_size:
        raise UserError(
            f"{path}: has changed since {receipt_path} was written; "
            "choose another output directory or delete that one"
        )
    return receipt


_Encoded = list[NDArray[np.unsignedinteger]]


def _tokenize_file(
    path: Path,
    job: Job,
    tokenizer: Tokenizer,
    contamination: Contamination,
    pool: ProcessPoolExecutor,
    progress: Progress | None,
) -> Receipt:
    receipt = Receipt(str(path), path.stat().st_size)
    writers: dict[tuple[str, str], _ShardWriter] = {}
    done_documents = done_bytes = 0

    def submitted() -> Iterator[tuple[list[tuple[str, str, int]], Future[_Encoded]]]:
        for group in _groups(read_documents([path])):
            places, texts = [], []
            for document in group:
                text = document_text(document, job.title)
                if not text.strip():
                    receipt.empty += 1
                elif contamination.found_in(text):
                    receipt.contaminated += 1
                else:
                    split = HELD_OUT if is_held_out(document.id, job.held_out) else TRAIN
                    places.append((split, document.source, len(text.encode())))
                    texts.append(text)
            yield places, pool.submit(_encode, texts)

    # Three jobs a worker keep every worker busy.
    for places, encoded in in_order(submitted(), 3 * job.workers):
        for (split, source, text_bytes), tokens in zip(places, encoded, strict=True):
            writer = writers.setdefault(
                (split, source),
                _ShardWriter(job, split, f"{_stem(path)}-{source}", source, tokenizer),
            )
            writer.add(tokens, text_bytes)
            receipt.documents[split] = receipt.documents.get(split, 0) + 1
            receipt.tokens[split] = receipt.tokens.get(split, 0) + len(tokens)
            receipt.text_bytes[split] = receipt.text_bytes.get(split, 0) + text_bytes
            done_documents += 1
            done_bytes += text_bytes
        if progress:
            progress(path, done_documents, done_bytes)
    for writer in writers.values():
        writer.close()
    return receipt


def document_text(document: Document, title: bool) -> str:
    """What of a document is tokenized: its text, after its title unless it begins with it."""
    text = document.text.strip()
    heading = (document.title or "").strip()
    if title and heading and not text.startswith(heading):
        return f"{heading}\n{text}"
    return text


def _groups(documents: Iterator[Document]) -> Iterator[list[Document]]:
    group: list[Document] = []
    for document in documents:
        group.append(document)
        if len(group) == _DOCUMENTS_PER_JOB:
            yield group
            group = []
    if group:
        yield group


class _ShardWriter:
    """Collects the documents of one split and source and writes a shard when there are enough."""

    def __init__(self, job: Job, split: str, stem: str, source: str, tokenizer: Tokenizer) -> None:
        self._directory, self._stem = job.output / split, stem
        self._source, self._tokenizer, self._limit = source, tokenizer, job.shard_tokens
        self._number = 0
        self._start()

    def _start(self) -> None:
        self._documents: _Encoded = []
        self._tokens = self._text_bytes = 0

    def add(self, tokens: NDArray[np.unsignedinteger], text_bytes: int) -> None:
        if self._documents and self._tokens + len(tokens) > self._limit:
            self.close()
        self._documents.append(tokens)
        self._tokens += len(tokens)
        self._text_bytes += text_bytes

    def close(self) -> None:
        index = ShardIndex(
            source=self._source,
            documents=len(self._documents),
            tokens=self._tokens,
            text_bytes=self._text_bytes,
            vocabulary_size=self._tokenizer.vocabulary_size,
            tokenizer_fingerprint=self._tokenizer.fingerprint,
        )
        write_shard(self._directory, f"{self._stem}-{self._number:05}", self._documents, index)
        self._number += 1
        self._start()


class _Worker:
    """The tokenizer of one worker process; analysers can't be shared between processes."""

    tokenizer: Tokenizer


def _start_worker(directory: str) -> None:
    _Worker.tokenizer = Tokenizer.load(directory)


def _encode(texts: Sequence[str]) -> _Encoded:
    tokenizer = _Worker.tokenizer
    kind = token_type(tokenizer.vocabulary_size)
    end = [tokenizer.end_of_text_id]
    return [np.array(ids + end, kind) for ids in tokenizer.encode_batch(texts)]
