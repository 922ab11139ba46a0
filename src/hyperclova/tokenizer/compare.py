"""Several tokenizers on one text: how short, how complete, how fast.

Measures (all over the whole text, in Unicode characters and bytes of UTF-8):

* tokens per character, and bytes per token: fertility, and what a context window holds;
* out-of-vocabulary rate: unknown tokens / characters; 0 for everything byte-level;
* exact: the share of the documents that decode to themselves;
* 10⁶ bytes encoded per second of one thread's processor time, three times over: *cold*
  (everything, starting with empty caches), *new text* (every second document, after the others
  have warmed the caches up) and *repeated* (everything once more).

:func:`without_analyser` measures what is lost where a program has ``tokenizer.json`` but not the
analyser.
"""

import pickle
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple

from hyperclova.errors import UserError
from hyperclova.tokenizer.morphemes import SEPARATOR
from hyperclova.tokenizer.tokenizer import UNKNOWN, Tokenizer


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one tokenizer makes of a text."""

    name: str
    kind: str
    unit: str | None
    vocabulary_size: int
    documents: int
    characters: int
    bytes: int
    tokens: int
    unknown: int
    exact_documents: int
    cold_seconds: float
    new_text_bytes: int
    new_text_seconds: float
    repeated_seconds: float

    @property
    def tokens_per_character(self) -> float:
        """Fertility; fewer is shorter."""
        return self.tokens / self.characters

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes that a token stands for; more is shorter."""
        return self.bytes / self.tokens

    @property
    def unknown_rate(self) -> float:
        """Unknown tokens per character."""
        return self.unknown / self.characters

    @property
    def exact(self) -> float:
        """Share of the documents that decode to themselves."""
        return self.exact_documents / self.documents

    @property
    def cold_rate(self) -> float:
        """10⁶ bytes per second, starting with empty caches."""
        return self.bytes / 1e6 / self.cold_seconds

    @property
    def new_text_rate(self) -> float | None:
        """10⁶ bytes per second on unseen text with warm caches; None for a single document."""
        if not self.new_text_bytes:
            return None
        return self.new_text_bytes / 1e6 / self.new_text_seconds

    @property
    def repeated_rate(self) -> float:
        """10⁶ bytes per second on text that has just been encoded."""
        return self.bytes / 1e6 / self.repeated_seconds

    def to_mapping(self) -> dict[str, object]:
        """Everything counted and everything derived from it, ready for JSON."""
        derived = (
            "tokens_per_character",
            "bytes_per_token",
            "unknown_rate",
            "exact",
            "cold_rate",
            "new_text_rate",
            "repeated_rate",
        )
        return {**asdict(self), **{name: getattr(self, name) for name in derived}}


def measure(tokenizer: Tokenizer, texts: Sequence[str], name: str) -> Measurement:
    """Measure ``tokenizer`` on ``texts``, checking what it encodes before reporting how fast.

    Raises:
        UserError: the texts are empty, or a tokenizer that must be lossless is not.
    """
    texts = [text for text in texts if text]
    if not texts:
        raise UserError("there is no text to compare on: name files that hold some")
    # A fresh copy, so that nothing is cached.
    fresh: Tokenizer = pickle.loads(pickle.dumps(tokenizer))
    fresh.encode("가")  # the analyser maps its dictionary at its first use
    first, second = texts[0::2], texts[1::2]
    first_ids, first_seconds = _timed(fresh, first)
    second_ids, second_seconds = _timed(fresh, second)
    _, repeated_seconds = _timed(fresh, texts)
    encoded = list(zip(first + second, first_ids + second_ids, strict=True))
    exact = sum(fresh.decode(ids) == text for text, ids in encoded)
    if fresh.kind != "character" and exact != len(texts):
        raise UserError(f"{name}: {len(texts) - exact} documents do not decode to themselves")
    unknown = fresh.token_id(UNKNOWN) if fresh.kind == "character" else None
    return Measurement(
        name=name,
        kind=fresh.kind,
        unit=fresh.unit,
        vocabulary_size=fresh.vocabulary_size,
        documents=len(texts),
        characters=sum(map(len, texts)),
        bytes=_size(texts),
        tokens=sum(len(ids) for _, ids in encoded),
        unknown=sum(ids.count(unknown) for _, ids in encoded) if unknown is not None else 0,
        exact_documents=exact,
        cold_seconds=first_seconds + second_seconds,
        new_text_bytes=_size(second),
        new_text_seconds=second_seconds,
        repeated_seconds=repeated_seconds,
    )


class Agreement(NamedTuple):
    """How far the ids of raw text without the analyser are those with it."""

    lines: float
    """Share of the lines with the same ids."""
    spans: float
    """F1 of the token spans: 2 × shared / (with + without)."""


def without_analyser(tokenizer: Tokenizer, texts: Iterable[str]) -> Agreement:
    """Compare the ids of every line with those that ``tokenizer.json`` alone gives it.

    Lines that hold the separator U+001F are left out: without the analyser it is lost.
    """
    lines = same = shared = total = 0
    for text in texts:
        for line in text.splitlines():
            if not line or SEPARATOR in line:
                continue
            ours, theirs = tokenizer.encode(line), tokenizer.encode_without_analyser(line)
            lines += 1
            same += ours == theirs
            shared += len(_spans(tokenizer, ours) & _spans(tokenizer, theirs))
            total += len(ours) + len(theirs)
    return Agreement(same / lines, 2 * shared / total) if lines else Agreement(1.0, 1.0)


def _spans(tokenizer: Tokenizer, ids: list[int]) -> set[tuple[int, int]]:
    ends = accumulate((len(tokenizer.token_bytes(token)) for token in ids), initial=0)
    return set(pairwise(ends))


def _timed(tokenizer: Tokenizer, texts: Iterable[str]) -> tuple[list[list[int]], float]:
    start = time.process_time()
    # One by one: the library's batches would use every core. Processor time, so that a neighbour
    # on the machine does not count.
    ids = [tokenizer.encode(text) for text in texts]
    return ids, time.process_time() - start


def _size(texts: Iterable[str]) -> int:
    return sum(len(text.encode("utf-8")) for text in texts)


def draw(measurements: Sequence[Measurement], path: Path) -> None:
    """Write the comparison as a picture (the format follows the suffix).

    Raises:
        ModuleNotFoundError: the extra ``report`` is not installed.
    """
    from hyperclova.style import ACCENT, INK, LINE, MUTED, chart

    labels = [f"{m.name}\n{m.vocabulary_size:,} ids" for m in measurements]
    panels = (
        ("Bytes per token", [m.bytes_per_token for m in measurements], "{:.2f}"),
        (
            "Out of vocabulary, % of characters",
            [100 * m.unknown_rate for m in measurements],
            "{:.2f}",
        ),
        (
            "MB/s, new text, one thread",
            [m.new_text_rate or m.cold_rate for m in measurements],
            "{:.2f}",
        ),
    )
    with chart(9, 1.1 + 0.55 * len(measurements), columns=len(panels)) as (figure, axes):
        for index, (axis, (title, values, form)) in enumerate(zip(axes, panels, strict=True)):
            places = range(len(values))
            colours = [ACCENT if m.kind == "morpheme" else MUTED for m in measurements]
            axis.barh(places, values, height=0.5, color=colours)
            for place, value in zip(places, values, strict=True):
                axis.annotate(
                    form.format(value),
                    (value, place),
                    xytext=(4, 0),
                    textcoords="offset points",
                    va="center",
                    color=INK,
                )
            axis.set_title(title)
            axis.set_yticks(places, labels if index == 0 else [""] * len(labels))
            axis.set_xlim(0, 1.25 * max([*values, 1e-9]) if max(values) > 0 else 1)
            axis.set_xticks([])
            axis.invert_yaxis()
            axis.tick_params(length=0)
            axis.spines["bottom"].set_visible(False)
            axis.spines["left"].set_color(LINE)
        figure.savefig(path)
