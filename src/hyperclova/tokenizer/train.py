"""Training: texts → a :class:`Tokenizer`.

Three kinds (paper, section 3.3 and appendix E):

``morpheme``
    Byte-level BPE whose merges stay inside a morpheme: the tokenizer of the paper.
``byte``
    GPT-2's byte-level BPE, trained on everything: a baseline.
``character``
    BPE over characters with an ``<unk>`` for those it does not know: a baseline.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from hyperclova.errors import UserError
from hyperclova.tokenizer.cache import Cache
from hyperclova.tokenizer.morphemes import SEPARATOR, installed_analyser
from hyperclova.tokenizer.pretokenize import (
    UNITS,
    Unit,
    line_pieces,
    split_words,
    word_pieces,
)
from hyperclova.tokenizer.tokenizer import (
    END_OF_TEXT,
    KINDS,
    UNKNOWN,
    Description,
    Kind,
    Tokenizer,
)

DEFAULT_VOCABULARY_SIZE = 51_200

CHARACTER_COVERAGE = 0.9995
"""Share of the training characters that the alphabet of ``kind="character"`` covers.

SentencePiece's default. The rest, mostly rare Chinese characters, is out of vocabulary.
"""

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

# GPT-2's pre-tokenisation for the kind that does not go through ByteLevel.
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def train(
    texts: Iterable[str],
    vocabulary_size: int = DEFAULT_VOCABULARY_SIZE,
    kind: Kind = "morpheme",
    unit: Unit = "word",
    show_progress: bool = False,
) -> Tokenizer:
    """Train a tokenizer. The same texts in the same order give the same tokenizer.

    Args:
        texts: the training sample; read once.
        vocabulary_size: number of ids, the 256 bytes and the control tokens included. Fewer come
            out if the sample has fewer pairs to merge.
        kind: ``morpheme``, or one of the baselines ``byte`` and ``character``.
        unit: what the analyser sees at once; only for ``morpheme``.
        show_progress: show the library's progress bars on stderr.

    Raises:
        UserError: an unknown kind or unit, a vocabulary too small for the alphabet, or no text.
    """
    if kind not in KINDS:
        raise UserError(f"kind {kind!r} is unknown; choose one of {', '.join(KINDS)}")
    if unit not in UNITS:
        raise UserError(f"unit {unit!r} is unknown; choose one of {', '.join(UNITS)}")
    if kind != "character" and vocabulary_size < 257:
        raise UserError(
            f"vocabulary size {vocabulary_size} is too small: the 256 bytes and {END_OF_TEXT} "
            "need 257"
        )
    if kind == "character":
        backend = _train_characters(list(texts), vocabulary_size, show_progress)
    else:
        backend = _train_bytes(texts, vocabulary_size, kind, unit, show_progress)
    analysed = kind == "morpheme"
    return Tokenizer(
        backend.to_str(pretty=True),
        Description(
            kind=kind,
            unit=unit if analysed else None,
            analyser=installed_analyser() if analysed else None,
        ),
    )


def _train_bytes(
    texts: Iterable[str], vocabulary_size: int, kind: Kind, unit: Unit, show_progress: bool
) -> tokenizers.Tokenizer:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend = tokenizers.Tokenizer(models.BPE())
    backend.decoder = decoders.ByteLevel()
    if kind == "morpheme":
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(SEPARATOR, behavior="removed"), byte_level]
        )
        texts = korean_pieces(texts, unit)
    else:
        backend.pre_tokenizer = byte_level
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=show_progress,
    )
    backend.train_from_iterator(_some(texts), trainer)
    return backend


def korean_pieces(texts: Iterable[str], unit: Unit) -> Iterator[str]:
    """Each text as its Korean pieces joined by U+001F; the other pieces are left out."""

    def korean(pieces: list[str]) -> str:
        return SEPARATOR.join(piece for piece in pieces if _KOREAN.fullmatch(piece))

    words: Cache[str] = Cache(lambda word: korean(word_pieces(word)), capacity=262_144)
    for text in texts:
        if unit == "word":
            found = map(words.__getitem__, split_words(text))
            yield SEPARATOR.join(word for word in found if word)
        else:
            yield korean(line_pieces(text))


def _train_characters(
    texts: list[str], vocabulary_size: int, show_progress: bool
) -> tokenizers.Tokenizer:
    characters: Counter[str] = Counter()
    for text in texts:
        characters.update(text)
    wanted = CHARACTER_COVERAGE * characters.total()
    known: list[str] = []
    covered = 0
    for character, count in sorted(characters.items(), key=lambda item: (-item[1], item[0])):
        if covered >= wanted:
            break
        known.append(character)
        covered += count
    if vocabulary_size < len(known) + 2:
        raise UserError(
            f"vocabulary size {vocabulary_size} is too small: {len(known)} characters cover "
            f"{CHARACTER_COVERAGE:.2%} of the sample"
        )
    backend = tokenizers.Tokenizer(models.BPE(unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(_GPT2), behavior="isolated")
    backend.decoder = decoders.Fuse()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[END_OF_TEXT, UNKNOWN],
        initial_alphabet=known,
        limit_alphabet=len(known),
        show_progress=show_progress,
    )
    backend.train_from_iterator(_some(texts), trainer)
    return backend


def _some(texts: Iterable[str]) -> Iterator[str]:
    """``texts``, refusing to train on nothing."""
    empty = True
    for text in texts:
        empty = empty and not text
        yield text
    if empty:
        raise UserError("there is no text to train on: name files that hold some")
