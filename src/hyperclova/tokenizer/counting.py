"""Texts → how often each of their Korean pieces occurs, on all cores.

That is all BPE wants to know of its training text, and it is small: the pieces are morphemes.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future

from hyperclova.processes import in_order, worker_pool
from hyperclova.tokenizer.cache import Cache
from hyperclova.tokenizer.morphemes import SEPARATOR
from hyperclova.tokenizer.pretokenize import Unit, line_pieces, split_words, word_pieces

# The paper leaves most text that is not Korean out of tokenizer training, so that it falls to
# single bytes. A piece takes part in training if it is made of nothing but Hangul, ASCII
# punctuation, white space and the typographic marks of Korean texts. Latin letters, digits,
# Chinese characters, kana and emoji therefore take one token a byte.
_KOREAN = re.compile(
    "["
    "가-힣"  # syllables
    "\u1100-\u11ff\u3131-\u318e\ua960-\ua97f\ud7b0-\ud7ff"  # jamo: combining and loose
    r"\s!-/:-@\[-`{-~"  # white space and ASCII punctuation
    "‘’“”‥…·・–—―※○●◎◇◆□■△▲▽▼→←↑↓★☆♡♥「」『』【】〈〉《》〔〕、。ㆍ"  # marks of Korean typography
    "]+"
)

# Long enough that most words of a job are repetitions, short enough for a worker to be done with
# it in a fraction of a second.
_CHARACTERS_PER_JOB = 1 << 18
_CACHED_WORDS = 262_144


def count_korean_pieces(texts: Iterable[str], unit: Unit, workers: int = 1) -> Counter[str]:
    """How often each Korean piece occurs in ``texts``; the other pieces are left out.

    Counts and their order are the same for any number of workers. Memory grows with the number
    of different pieces, not with the texts.

    Args:
        texts: read once, a few million characters ahead of the workers.
        unit: what the analyser sees at once.
        workers: processes that analyse; with one, this process does.

    Raises:
        UserError: a worker died.
    """
    total: Counter[str] = Counter()
    if workers == 1:
        analysis = _Analysis(unit)
        for group in _groups(texts):
            total.update(analysis.count(group))
        return total
    with worker_pool(workers, _start_worker, unit) as pool:

        def submitted() -> Iterator[tuple[None, Future[Counter[str]]]]:
            for group in _groups(texts):
                yield None, pool.submit(_count, group)

        for _, counts in in_order(submitted(), 3 * workers):
            total.update(counts)
    return total


def _groups(texts: Iterable[str]) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for text in texts:
        group.append(text)
        size += len(text)
        if size >= _CHARACTERS_PER_JOB:
            yield group
            group, size = [], 0
    if group:
        yield group


class _Analysis:
    """Counts the pieces of texts, and remembers those of common words."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        # Joined, because a string for each piece would take three times the memory.
        self._words: Cache[str] = Cache(
            lambda word: SEPARATOR.join(_korean(word_pieces(word))), _CACHED_WORDS
        )

    def count(self, texts: Sequence[str]) -> Counter[str]:
        pieces: Counter[str] = Counter()
        if self._unit == "sentence":
            for text in texts:
                pieces.update(_korean(line_pieces(text)))
            return pieces
        words: Counter[str] = Counter()
        for text in texts:
            words.update(split_words(text))
        for word, count in words.items():
            joined = self._words[word]
            if joined:
                for piece in joined.split(SEPARATOR):
                    pieces[piece] += count
        return pieces


def _korean(pieces: Iterable[str]) -> list[str]:
    return [piece for piece in pieces if _KOREAN.fullmatch(piece) and piece != SEPARATOR]


class _Worker:
    """The analysis of one worker process, with the words it remembers."""

    analysis: _Analysis


def _start_worker(unit: Unit) -> None:
    _Worker.analysis = _Analysis(unit)


def _count(texts: Sequence[str]) -> Counter[str]:
    return _Worker.analysis.count(texts)
