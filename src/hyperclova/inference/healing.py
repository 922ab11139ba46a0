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
        scores = model(ids)             # ids: healed.ids and what was chosen since
        constraint.apply(scores)        # or by hand, with constraint.allowed and constraint.bias
        token = choose(scores)
        new = constraint.accept(token)  # False: the token only repeats the prompt

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
* **Order.** The constraint comes after penalties and the request's own bias and before temperature,
  top-k and top-p. Until ``allowed`` is None the text may not end: no control token is allowed.
* **Log-probabilities** reported are the model's own, before the constraint.
* **Pieces.** Of a prompt in pieces the last one is healed, and only if it is a text: ids are taken
  as they are, a soft prompt has no text. Healing never goes beyond the beginning of that piece. It
  may leave no ids at all; the model then starts as for an empty prompt.
* **Echo and scores.** A prompt that is written out, or scored, is not healed: its ids are wanted.
"""

import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hyperclova.tokenizer import Tokenizer
from hyperclova.tokenizer.pretokenize import split_words
from hyperclova.tokenizer.tokenizer import UNKNOWN

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LONGEST = 96
"""Bytes of the longest remainder: 32 Hangul syllables. A longer "word" is an address, a rule of
dashes or the like; to write it again would cost more than the seam."""

# For tokenizers that cut as GPT-2's does: the last word with the space before it, or the white
# space at the end. (To Python U+001C to U+001F are white space, too.)
_LAST_WORD = re.compile(r" ?(?:\S|[\x1c-\x1f])+\Z|[^\S\x1c-\x1f]+\Z")

_ZIPF_OFFSET = 30.0  # keeps the first ranks from taking most of the frequency; not tuned

_GAINS = re.compile(r"[\s가-힣\u1100-\u11ff\u3131-\u318e\ua960-\ua97f\ud7b0-\ud7ff]\Z")


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
    unknown = tokenizer.token_id(UNKNOWN) if tokenizer.kind == "character" else None
    begin, remainder = len(ids), b""
    while len(remainder) < size:
        begin -= 1
        if ids[begin] == unknown:
            return Healed(tuple(ids), b"")
        remainder = tokenizer.token_bytes(ids[begin]) + remainder
    return Healed(tuple(ids[:begin]), remainder)


def helps(text: str) -> bool:
    """Whether to heal a prompt that ends so, where the client does not say: it is healed after
    white space and after Hangul, syllables or jamo.

    Measured (docs/healing.md): there the true continuation becomes likelier, and by far. After
    digits, Latin letters and punctuation, which mostly have a token for each character, no
    difference could be shown, and a prompt that is not healed needs no more tokens.
    """
    return bool(_GAINS.search(text))


def _last_word(tokenizer: Tokenizer, text: str) -> str:
    if tokenizer.kind == "morpheme":
        return split_words(text)[-1]
    found = _LAST_WORD.search(text)
    assert found is not None
    return found[0]


class Vocabulary:
    """The ids of a tokenizer in the order of their bytes, to look up beginnings.

    Control tokens are not in it, nor the unknown token of a ``character`` tokenizer. It is built
    once (a tenth of a second and 6 MB for 51,200 ids) and never changes: threads may share it.
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
        # Merges are learnt from the most frequent on, so an id is a rank, and by Zipf's law
        # (Mandelbrot's form) a frequency.
        shares = 1.0 / (np.arange(tokenizer.vocabulary_size) + _ZIPF_OFFSET)
        shares /= shares[self._ids].sum()
        self._log_shares = np.log(shares)
        self._sums = np.concatenate([[0.0], np.cumsum(shares[self._ids])])
        self.token_bytes = tokenizer.token_bytes

    def beginning_with(self, data: bytes) -> Ids:
        """Ids whose bytes begin with ``data``, ascending."""
        begin, end = self._range(data)
        return np.sort(self._ids[begin:end])

    def prefixes_of(self, data: bytes) -> Ids:
        """Ids whose bytes are a beginning of ``data``, but not all of it, shortest first."""
        lengths = range(1, min(len(data), self._longest + 1))
        found = [self._of[data[:length]] for length in lengths if data[:length] in self._of]
        return np.array(found, dtype=np.int64)

    def log_chances(self, data: bytes) -> Floats:
        """``(len(data) + 1,)``: for each place, the natural logarithm of how likely tokens, drawn
        one by one by their frequency alone, are to write ``data[place:]`` and perhaps more; -inf
        where none can."""
        result = np.full(len(data) + 1, -np.inf)
        result[-1] = 0.0
        for place in range(len(data) - 1, -1, -1):
            begin, end = self._range(data[place:])
            terms = [np.log(self._sums[end] - self._sums[begin])] if end > begin else []
            for token in self.prefixes_of(data[place:]).tolist():
                follows = result[place + len(self.token_bytes(token))]
                terms.append(self._log_shares[token] + follows)
            result[place] = np.logaddexp.reduce(terms, initial=-np.inf)
        return result

    def _range(self, data: bytes) -> tuple[int, int]:
        # Bytes that begin with `data` are those from it up to it with a last byte one higher.
        bound = data.rstrip(b"\xff")
        following = bound[:-1] + bytes([bound[-1] + 1]) if bound else None
        begin = bisect_left(self._bytes, data)
        end = bisect_left(self._bytes, following) if following else len(self._bytes)
        return begin, end


class Constraint:
    """Which ids may come next, so that what is written begins with ``remainder``.

    Probabilities of allowed ids are not simply scaled up to one. An id that writes only a part of
    the remainder is worth the model's probability for it *times* the chance that the rest of the
    remainder will follow, and that chance is often tiny: the token for a space alone is frequent,
    but what follows it is a digit or a Latin letter, never the syllable asked for. The exact chance
    would take the model's word on every way to write the rest (Vieira et al. 2024,
    arXiv:2412.03719). It is replaced by the frequencies of tokens (:meth:`Vocabulary.log_chances`),
    which costs nothing and loses almost nothing: see docs/healing.md. The result is still not
    exactly the model's distribution given the prompt's text, only close to it.
    """

    def __init__(self, vocabulary: Vocabulary, remainder: bytes) -> None:
        """
        Args:
            remainder: of :func:`heal`; with none, everything is free from the start.

        Raises:
            ValueError: the vocabulary cannot spell ``remainder``; it can spell that of
                :func:`heal`.
        """
        self._vocabulary = vocabulary
        self._remainder = remainder
        self._place = 0
        self._chances = vocabulary.log_chances(remainder)
        if self._chances[0] == -np.inf:
            raise ValueError(f"no tokens spell {remainder!r}")
        self._find()

    @property
    def allowed(self) -> Ids | None:
        """Ids that may come next, ascending and at least one; None: the remainder is written."""
        return self._allowed

    @property
    def bias(self) -> Floats:
        """For each allowed id, what is added to its logit: the logarithm of the chance that the
        rest of the remainder follows it, 0 for an id that writes all of it."""
        return self._bias

    def apply(self, scores: npt.NDArray[np.floating[Any]]) -> None:
        """Constrain ``scores``, the logits ``(vocabulary,)`` of the next token, in place.

        After penalties and the request's own bias, before temperature, top-k and top-p.
        """
        if self._allowed is None:
            return
        kept = scores[self._allowed] + self._bias
        scores.fill(-np.inf)
        scores[self._allowed] = kept

    def accept(self, token: int) -> bool:
        """Note the chosen token; whether it writes anything beyond the remainder.

        Raises:
            ValueError: the token is not allowed.
        """
        if self._allowed is None:
            return True
        if token not in self._allowed:
            raise ValueError(f"token {token} does not spell the open word of the prompt")
        self._place += len(self._vocabulary.token_bytes(token))
        beyond = self._place > len(self._remainder)
        self._find()
        return beyond

    def _find(self) -> None:
        rest = self._remainder[self._place :]
        self._allowed: Ids | None = None
        self._bias: Floats = np.zeros(0)
        if not rest:
            return
        whole = self._vocabulary.beginning_with(rest)
        parts = self._vocabulary.prefixes_of(rest)
        sizes = [len(self._vocabulary.token_bytes(token)) for token in parts.tolist()]
        chances = self._chances[self._place + np.array(sizes, dtype=np.int64)]
        possible = chances > -np.inf
        ids = np.concatenate([whole, parts[possible]])
        bias = np.concatenate([np.zeros(whole.size), chances[possible]])
        order = np.argsort(ids)
        self._allowed, self._bias = ids[order], bias[order]
