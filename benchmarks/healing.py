"""What healing an open word is worth: bits for the true continuation, by where the prompt ends.

    python benchmarks/healing.py --model models/hyperclova-small --cuts 150 --json healing.json

Held-out documents (of HYPERCLOVA_DATA, or the texts of tests/texts where it is not set) are cut at
random places, the same number of cuts for each kind of place. The continuation c is the next
``--characters`` characters up to the end of a word, so that its last word is whole.

Texts can be written in several tokens, and what is compared are texts. For each way of writing we
sum over the paths that have weight: those that follow the tokenizer's own ids for some beginning of
the open word r, and then the tokenizer's ids of what is left, r's rest and c as one text. Any
path left out makes a figure larger, never smaller.

* *as it is*: the probability of c after the ids of the prompt.
* *plain*: constrained sampling without look-ahead. At each step inside r the probabilities of the
  allowed ids are divided by their sum; after that they are the model's.
* *healed*: constrained sampling as :class:`Constraint` does it.
* *exact*: P(s r c) / P(s r) with s the stable part. The divisor sums over all token paths that
  cover r (Vieira et al. 2024, arXiv:2412.03719, "covering"), found best first; what is not yet
  explored is added to it whole.

Bits are divided by the UTF-8 bytes of c. Ranges are 95 % intervals of a paired bootstrap over cuts.
"""

import argparse
import json
import math
import os
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hyperclova import directories
from hyperclova.corpus.documents import read_documents
from hyperclova.corpus.split import is_held_out
from hyperclova.inference.healing import Constraint, Vocabulary, heal
from hyperclova.model import GPT
from hyperclova.model.directory import load_model
from hyperclova.tokenizer import Tokenizer
from hyperclova.tokenizer.pretokenize import split_pieces

Floats = npt.NDArray[np.float64]

KINDS = ("inside a morpheme", "morpheme boundary", "end of word", "after white space")
ENDINGS = ("space", "line end", "Hangul", "Latin letter", "digit", "anything else")
WAYS = ("as it is", "plain", "healed", "exact")
# Without kin: questions and answers are too short to be cut.
SOURCES = ("wiki", "others", "blog", "news", "comments", "cafe", "modu")
WINDOW = 1000
"""Characters of a document that a cut is drawn from."""
CONTEXT = 300
"""Characters of the prompt."""


@dataclass(frozen=True)
class Cut:
    kind: str
    source: str
    prompt: str
    continuation: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=directories.default_model())
    parser.add_argument("--cuts", type=int, default=50, help="of each kind")
    parser.add_argument("--characters", type=int, default=40, help="of the continuation, at least")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="every cut's bits, for other questions")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    tokenizer = Tokenizer.load(arguments.model)
    model, vocabulary = Model(arguments.model), Vocabulary(tokenizer)
    texts = held_out(texts_of_each_source=200)
    print(", ".join(f"{source} {len(found)}" for source, found in texts.items()), "texts")
    results = []
    for cut in draw_cuts(texts, arguments.cuts, arguments.characters, arguments.seed):
        bits = measure(cut, tokenizer, model, vocabulary)
        row = {"kind": cut.kind, "ending": ending_of(cut.prompt), "source": cut.source, **bits}
        results.append({**row, "bytes": len(cut.continuation.encode())})
        if arguments.json:
            arguments.json.write_text(json.dumps(results, ensure_ascii=False, indent=1))
    report("cut", [(kind, [row for row in results if row["kind"] == kind]) for kind in KINDS])
    endings = [(e, [row for row in results if row["ending"] == e]) for e in ENDINGS]
    report("prompt ends in", endings)


def report(title: str, groups: list[tuple[str, list[dict[str, Any]]]]) -> None:
    """A Markdown table: bits per byte of each way, and the bits that healing saves a prompt."""
    print(f"\n| {title} | cuts | {' | '.join(WAYS)} | healed − as it is, bits a prompt |")
    print("|---" * (len(WAYS) + 3) + "|")
    for name, rows in groups:
        if len(rows) < 2:
            continue
        size = sum(row["bytes"] for row in rows)
        rates = " | ".join(f"{sum(row[way] for row in rows) / size:.3f}" for way in WAYS)
        difference = np.array([row["healed"] - row["as it is"] for row in rows])
        drawn = np.random.default_rng(0).choice(difference, (10_000, len(rows))).mean(axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        mean = difference.mean()
        print(f"| {name} | {len(rows)} | {rates} | {mean:+.2f} ({low:+.2f} to {high:+.2f}) |")


def held_out(texts_of_each_source: int) -> dict[str, list[str]]:
    """Texts by source; the model has not been trained on them."""
    texts: dict[str, list[str]] = defaultdict(list)
    if "HYPERCLOVA_DATA" not in os.environ:
        for path in sorted((Path(__file__).parents[1] / "tests" / "texts").glob("*.txt")):
            texts[path.stem].append(path.read_text(encoding="utf-8"))
        return texts
    for source in SOURCES:
        for document in read_documents([directories.data() / "pretrain" / f"{source}.jsonl.zst"]):
            if len(document.text) > 80 and is_held_out(document.id, 0.01):
                texts[source].append(document.text)
                if len(texts[source]) >= texts_of_each_source:
                    break
    return texts


def draw_cuts(texts: dict[str, list[str]], count: int, characters: int, seed: int) -> Iterator[Cut]:
    """``count`` cuts of each kind, sources in turn."""
    chance = random.Random(seed)
    wanted = dict.fromkeys(KINDS, count)
    sources = sorted(texts)
    while any(wanted.values()):
        for source in sources:
            text = chance.choice(texts[source])
            start = chance.randrange(max(1, len(text) - WINDOW))
            text = text[start : start + WINDOW].partition(" ")[2] if start else text[:WINDOW]
            boundaries = set(accumulate(map(len, split_pieces(text, "word"))))
            kind = chance.choice([kind for kind, left in wanted.items() if left] or KINDS)
            places = [
                place
                for place in range(20, len(text) - characters)
                if kind_of(text, place, boundaries) == kind
            ]
            if not places or not wanted[kind]:
                continue
            place = chance.choice(places)
            end = place + characters
            while end < len(text) and not text[end].isspace():
                end += 1
            begin = max(0, place - CONTEXT)
            while begin and not text[begin - 1].isspace():
                begin += 1
            if end - place > 3 * characters or begin >= place:
                continue
            wanted[kind] -= 1
            yield Cut(kind, source, text[begin:place], text[place:end])


def kind_of(text: str, place: int, boundaries: set[int]) -> str:
    if text[place - 1].isspace():
        return KINDS[3]
    if text[place].isspace():
        return KINDS[2]
    return KINDS[1] if place in boundaries else KINDS[0]


class Model:
    """Log-probabilities of paths of tokens."""

    def __init__(self, directory: Path) -> None:
        self._model: GPT = load_model(directory)

    @torch.inference_mode()
    def following(self, before: list[int], paths: list[list[int]]) -> list[Floats]:
        """For each path after ``before`` (at least one token): log-probabilities ``(1 + length,
        vocabulary)`` of what may stand at each of its places and behind it."""
        width = max(map(len, paths))
        rows = [before + path + [0] * (width - len(path)) for path in paths]
        hidden = self._model.hidden(torch.tensor(rows))[:, len(before) - 1 :]
        logits = self._model.project(hidden).double().log_softmax(-1).numpy()
        return [row[: len(path) + 1] for row, path in zip(logits, paths, strict=True)]


def paths_of(tokenizer: Tokenizer, remainder: str, continuation: str) -> list[list[int]]:
    """Ways to write remainder and continuation: the tokenizer's own ids of a beginning of the
    remainder, then its ids of what is left."""
    found = {}
    for place in range(len(remainder) + 1):
        path = tokenizer.encode(remainder[:place])
        path += tokenizer.encode(remainder[place:] + continuation)
        found[tuple(path)] = path
    return list(found.values())


def log_sum(values: list[float] | Floats) -> float:
    return float(np.logaddexp.reduce(values, initial=-math.inf))


def log_probability(path: list[int], logs: Floats) -> float:
    return float(logs[np.arange(len(path)), path].sum())


def constrained(path: list[int], logs: Floats, constraint: Constraint, look_ahead: bool) -> float:
    """Log-probability that sampling under the constraint writes ``path``."""
    total = 0.0
    for token, row in zip(path, logs, strict=False):
        if constraint.allowed is None:
            total += float(row[token])
            continue
        scores = row[constraint.allowed] + look_ahead * constraint.bias
        place = np.flatnonzero(constraint.allowed == token)
        if not place.size:
            return -math.inf
        total += float(scores[place[0]]) - log_sum(scores)
        constraint.accept(token)
    return total


def covering(model: Model, vocabulary: Vocabulary, before: list[int], remainder: bytes) -> float:
    """Log-probability of all token paths that write ``remainder`` and perhaps more.

    From its first byte to its last, the paths that end before a byte are continued by every token
    that fits; of those that end at the same byte the ones below 1e-4 of the best are dropped.
    """
    waiting: dict[int, list[tuple[float, list[int]]]] = {0: [(0.0, [])]}
    covered = [-math.inf]
    for place in range(len(remainder)):
        found = sorted(waiting.pop(place, []), reverse=True)
        found = [(value, path) for value, path in found if value > found[0][0] - math.log(1e4)]
        if not found:
            continue
        rest = remainder[place:]
        paths = [path for _, path in found]
        for (value, path), logs in zip(found, model.following(before, paths), strict=True):
            row = logs[-1]
            covered.append(value + log_sum(row[vocabulary.beginning_with(rest)]))
            for token in vocabulary.prefixes_of(rest).tolist():
                end = place + len(vocabulary.token_bytes(token))
                waiting.setdefault(end, []).append((value + float(row[token]), [*path, token]))
    return log_sum(covered)


def measure(
    cut: Cut, tokenizer: Tokenizer, model: Model, vocabulary: Vocabulary
) -> dict[str, float]:
    """Bits for the continuation, one figure for each of WAYS."""
    healed = heal(tokenizer, cut.prompt)
    before = [tokenizer.end_of_text_id, *healed.ids]
    remainder = healed.remainder.decode()
    paths = paths_of(tokenizer, remainder, cut.continuation)
    logs = model.following(before, paths)
    pairs = list(zip(paths, logs, strict=True))
    prompt = tokenizer.encode(remainder)
    after = [
        log_probability(path, rows) - log_probability(prompt, rows)
        for path, rows in pairs
        if path[: len(prompt)] == prompt
    ]
    bits = {"as it is": log_sum(after)}
    for way, look_ahead in (("plain", False), ("healed", True)):
        written = [
            constrained(path, rows, Constraint(vocabulary, healed.remainder), look_ahead)
            for path, rows in pairs
        ]
        bits[way] = log_sum(written)
    joint = log_sum([log_probability(path, rows) for path, rows in pairs])
    bits["exact"] = joint - covering(model, vocabulary, before, healed.remainder)
    return {way: -value / math.log(2) for way, value in bits.items()}


def ending_of(prompt: str) -> str:
    last = prompt[-1]
    if last.isspace():
        return "line end" if last == "\n" else "space"
    if "가" <= last <= "힣":
        return "Hangul"
    if last.isascii() and last.isalnum():
        return "digit" if last.isdigit() else "Latin letter"
    return "anything else"


if __name__ == "__main__":
    main()
