"""NAVER movie reviews (NSMC) as few-shot prompts, for the benchmarks that need long shared ones.

The first part of a prompt, a line of instruction and the shots, is the same for all items of one
draw, as in the paper's evaluation; the last part is the review to be judged.
"""

import csv
import random
from dataclasses import dataclass
from pathlib import Path

from hyperclova import directories
from hyperclova.tokenizer import Tokenizer

LABELS = (" 부정", " 긍정")
"""What may follow a prompt: label 0, label 1."""
_INSTRUCTION = "다음 영화평이 긍정인지 부정인지 판단하세요.\n\n"
_LONGEST = 40
"""Characters of a review that becomes a shot: 70 of them shall fit into 2,048 tokens."""


@dataclass(frozen=True)
class Draw:
    """One draw of shots."""

    shots: int
    prefix: str
    """Instruction and shots."""
    prompts: tuple[str, ...]
    """The whole prompt of each item."""
    labels: tuple[int, ...]


def draw(tokenizer: Tokenizer, context: int, shots: int, items: int, seed: int) -> Draw:
    """As many of ``shots`` as fit, from NSMC's training part, and ``items`` of its test part.

    Reviews that would not fit behind the shots, with a label, are passed over.

    Raises:
        UserError: HYPERCLOVA_DATA names no data.
    """
    chance = random.Random(seed)
    train = [row for row in _read("ratings_train.txt") if 5 <= len(row[0]) <= _LONGEST]
    test = _read("ratings_test.txt")
    # What an item and its label may take.
    room, prefix, taken = context - 64, _INSTRUCTION, 0
    for review, label in chance.sample(train, shots):
        longer = prefix + _ask(review) + LABELS[label] + "\n\n"
        if len(tokenizer.encode(longer)) > room:
            break
        prefix, taken = longer, taken + 1
    prompts: list[str] = []
    labels: list[int] = []
    for review, label in chance.sample(test, len(test)):
        prompt = prefix + _ask(review)
        if len(tokenizer.encode(prompt)) <= context - 4:
            prompts.append(prompt)
            labels.append(label)
        if len(prompts) == items:
            break
    return Draw(taken, prefix, tuple(prompts), tuple(labels))


def _ask(review: str) -> str:
    return f"영화평: {review}\n판단:"


def _read(name: str) -> list[tuple[str, int]]:
    path: Path = directories.data() / "nsmc" / name
    with path.open(encoding="utf-8", newline="\n") as file:
        rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        next(rows)
        return [(text.strip(), int(label)) for _, text, label in rows if text.strip()]
