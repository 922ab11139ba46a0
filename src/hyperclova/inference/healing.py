"""Prompts that end inside a word: the word is read again together with what follows it.

The ids of "대한민국의 수" end in a token for " 수". Where training texts go on with "도", they have
one token for " 수도" instead, so after the token " 수" the model has never seen "도". Healing takes
the open word off the prompt and lets the model write it again: the first new tokens must spell the
removed bytes, and the last of them may go beyond their end. After that, generation is free.

:func:`heal` cuts the prompt, :class:`Vocabulary` (one for each tokenizer) knows which ids spell
which bytes, and a :class:`Constraint` (one for each continuation) says which ids may come next::

    healed = heal(tokenizer, text)
    constraint = Constraint(vocabulary, healed.remainder)
    while ...:
        scores = model(ids)                       # ids: healed.ids and what was chosen since
        if constraint.allowed is not None:
            scores[everything but constraint.allowed] = -inf
        token = choose(scores)
        new = constraint.accept(token)            # False: the token only repeats the prompt

What a caller must see to:

* **Text.** The bytes chosen begin with the remainder, which the user has written himself. The
  remainder is whole characters, so its ``len(remainder.decode())`` characters are dropped from the
  front of the decoded text; of a token that goes beyond the remainder's end only the part after
  it is shown.
* **Stop strings** are looked for in the text after the remainder only.
* **Counting.** A token for which :meth:`Constraint.accept` gives False is one of the prompt: it
  does not count for ``max_tokens`` or among the completion tokens, its log-probability is not
  reported, and for the penalties it belongs to the prompt. A token that goes beyond the end counts
  as a whole. The prompt's own count is that of its text, ``tokenizer.count(text)``, as without
  healing.
* **Room.** The remainder takes ``len(remainder)`` tokens at most (single bytes). Where ``len(ids) +
  len(remainder) + max_tokens`` does not fit into the context, the prompt is not healed.
* **Log-probabilities** reported are the model's own, before ids are disallowed.
* **Pieces.** Of a prompt in pieces the last one is healed, and only if it is a text: ids are taken
  as they are, a soft prompt has no text. Healing never goes beyond the beginning of that piece. It
  may leave no ids at all; the model then starts as for an empty prompt.
* **Echo and scores.** A prompt that is written out, or scored, is not healed: its ids are wanted.
"""

import re
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hyperclova.tokenizer import Tokenizer
from hyperclova.tokenizer.pretokenize import split_words
from hyperclova.tokenizer.tokenizer import UNKNOWN

Ids = npt.NDArray[np.int64]

LONGEST = 96
"""Bytes of the longest remainder: 32 Hangul syllables. A longer "word" is an address, a rule of
dashes or the like; to write it again would cost more than the seam."""

# For tokenizers that cut as GPT-2's does: the last word with the space before it, or the white
# space at the end. (To Python U+001C to U+001F are white space, too.)
_LAST_WORD = re.compile(r" ?(?:\S|[\x1c-\x1f])+\Z|[^\S\x1c-\x1f]+\Z")


@dataclass(frozen=True, slots=True)
class Healed:
    """A prompt without the word that it leaves open."""

    ids: tuple[int, ...]
    """The stable part."""
    remainder: bytes
    """What the first new tokens must spell: whole characters, none if nothing is to be healed."""


def heal(tokenizer: Tokenizer, text: str) -> Healed:
    """Cut ``text`` at its last stable place.

    With the unit ``word`` this is exact: whatever text follows, its ids begin with ``ids``. The
    analyser sees one eojeol (with the one space before it) at a time, so all ids before the last
    one stay; inside it any boundary may move, whether it ends in a syllable, in decomposed jamo
    or before a combining mark. White space at the end goes as a whole, as its last space may
    become the beginning of a word and the rest another run. The same holds for the baselines that
    use no analyser. With the unit ``sentence`` a following word can now and then change how the
    analyser cuts those before it in the line; the cut is at the last eojeol all the same.

    Not healed are an open word of more than :data:`LONGEST` bytes, and one with a character that
    the vocabulary of a ``character`` tokenizer lacks.

    Raises:
        TextError: ``text`` holds a lone surrogate.
    """
    ids = tokenizer.encode(text)
    if not ids:
        return Healed((), b"")
    size = len(_last_word(tokenizer, text).encode())
    if size > LONGEST:
        return Healed(tuple(ids), b"")
    begin, remainder = len(ids), b""
    while len(remainder) < size:
        begin -= 1
        remainder = tokenizer.token_bytes(ids[begin]) + remainder
    unknown = tokenizer.token_id(UNKNOWN) if tokenizer.kind == "character" else None
    if unknown in ids[begin:]:
        return Healed(tuple(ids), b"")
    return Healed(tuple(ids[:begin]), remainder)


def _last_word(tokenizer: Tokenizer, text: str) -> str:
    if tokenizer.kind == "morpheme":
        return split_words(text)[-1]
    found = _LAST_WORD.search(text)
    assert found is not None
    return found[0]


class Vocabulary:
    """The ids of a tokenizer in the order of their bytes, to look up beginnings.

    Control tokens are not in it, nor the unknown token of a ``character`` tokenizer. It is built
    once (some hundredths of a second for 51,200 ids) and never changes: threads may share it.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        unknown = tokenizer.token_id(UNKNOWN) if tokenizer.kind == "character" else None
        pairs = sorted(
            (data, token)
            for token in range(tokenizer.vocabulary_size)
            if (data := tokenizer.token_bytes(token)) and token != unknown
        )
        self._bytes = [data for data, _ in pairs]
        self._ids = np.array([token for _, token in pairs], dtype=np.int64)
        self._of = dict(pairs)
        self._longest = max(map(len, self._bytes))
        self.token_bytes = tokenizer.token_bytes

    def beginning_with(self, data: bytes) -> Ids:
        """Ids whose bytes begin with ``data``, ascending."""
        begin = bisect_left(self._bytes, data)
        # Bytes that begin with `data` are those from it up to it with a last byte one higher.
        end = len(self._bytes)
        bound = data.rstrip(b"\xff")
        if bound:
            end = bisect_left(self._bytes, bound[:-1] + bytes([bound[-1] + 1]))
        return np.sort(self._ids[begin:end])

    def prefixes_of(self, data: bytes) -> Ids:
        """Ids whose bytes are a beginning of ``data``, but not all of it, shortest first."""
        lengths = range(1, min(len(data), self._longest + 1))
        found = [self._of[data[:length]] for length in lengths if data[:length] in self._of]
        return np.array(found, dtype=np.int64)


class Constraint:
    """Which ids may come next, so that what is written begins with ``remainder``."""

    def __init__(self, vocabulary: Vocabulary, remainder: bytes) -> None:
        """
        Args:
            remainder: of :func:`heal`; with none, everything is free from the start.
        """
        self._vocabulary = vocabulary
        self._remainder = remainder
        self._allowed = self._find()

    @property
    def allowed(self) -> Ids | None:
        """Ids that may come next, ascending and at least one; None: the remainder is written."""
        return self._allowed

    def accept(self, token: int) -> bool:
        """Note the chosen token; whether it writes anything beyond the remainder.

        Raises:
            ValueError: the token is not allowed.
        """
        if self._allowed is None:
            return True
        data = self._vocabulary.token_bytes(token)
        rest = self._remainder
        if not data or not (rest.startswith(data) or data.startswith(rest)):
            raise ValueError(f"token {token} does not spell the open word of the prompt")
        self._remainder = rest[len(data) :]
        self._allowed = self._find()
        return len(data) > len(rest)

    def _find(self) -> Ids | None:
        if not self._remainder:
            return None
        covering = self._vocabulary.beginning_with(self._remainder)
        allowed = np.union1d(covering, self._vocabulary.prefixes_of(self._remainder))
        if not allowed.size:
            raise ValueError(f"no token spells {self._remainder!r}")
        return allowed
