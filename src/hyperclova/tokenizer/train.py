"""Training: texts → a :class:`Tokenizer`.

Three kinds (paper, section 3.3 and appendix E):

``morpheme``
    Byte-level BPE whose merges stay inside a morpheme: the tokenizer of the paper.
``byte``
    GPT-2's byte-level BPE, trained on everything: a baseline.
``character``
    BPE over characters with an ``<unk>`` for those it does not know: a baseline.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from hyperclova.errors import UserError
from hyperclova.tokenizer.counting import count_korean_pieces
from hyperclova.tokenizer.morphemes import SEPARATOR, installed_analyser
from hyperclova.tokenizer.pretokenize import UNITS, Unit
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

# GPT-2's pre-tokenisation for the kind that does not go through ByteLevel.
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

_BLOCK = 16_384
"""Characters handed to the library at once."""


def train(
    texts: Iterable[str],
    vocabulary_size: int = DEFAULT_VOCABULARY_SIZE,
    kind: Kind = "morpheme",
    unit: Unit = "word",
    show_progress: bool = False,
    workers: int = 1,
) -> Tokenizer:
    """Train a tokenizer. The same texts in the same order give the same tokenizer.

    Args:
        texts: the training sample; read once.
        vocabulary_size: number of ids, the 256 bytes and the control tokens included. Fewer come
            out if the sample has fewer pairs to merge.
        kind: ``morpheme``, or one of the baselines ``byte`` and ``character``.
        unit: what the analyser sees at once; only for ``morpheme``.
        show_progress: show the library's progress bars on stderr.
        workers: processes that analyse morphemes; the tokenizer is the same for any number. With
            one, this process does.

    Raises:
        UserError: an unknown kind or unit, a vocabulary too small for the alphabet, no text, or a
            worker died.
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
    if kind == "morpheme":
        backend = _train_morphemes(texts, vocabulary_size, unit, show_progress, workers)
    elif kind == "byte":
        backend = _train_bytes(texts, vocabulary_size, show_progress)
    else:
        backend = _train_characters(list(texts), vocabulary_size, show_progress)
    analysed = kind == "morpheme"
    return Tokenizer(
        backend.to_str(pretty=True),
        Description(
            kind=kind,
            unit=unit if analysed else None,
            analyser=installed_analyser() if analysed else None,
        ),
    )


def _train_morphemes(
    texts: Iterable[str], vocabulary_size: int, unit: Unit, show_progress: bool, workers: int
) -> tokenizers.Tokenizer:
    pieces = count_korean_pieces(_some(texts), unit, workers)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    words: Counter[str] = Counter()
    for piece, count in pieces.items():
        for word, _ in byte_level.pre_tokenize_str(piece):
            words[word] += count
    backend = tokenizers.Tokenizer(models.BPE())
    # The library counts words itself and can't be told counts. Words that have gone through the
    # pre-tokenizer already are counted again ten times as fast.
    backend.pre_tokenizer = pre_tokenizers.CharDelimiterSplit(SEPARATOR)
    trainer = _byte_trainer(vocabulary_size, show_progress)
    backend.train_from_iterator(_repeated(words), trainer)
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(SEPARATOR, behavior="removed"), byte_level]
    )
    backend.decoder = decoders.ByteLevel()
    return backend


def _train_bytes(
    texts: Iterable[str], vocabulary_size: int, show_progress: bool
) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(_some(texts), _byte_trainer(vocabulary_size, show_progress))
    return backend


def _byte_trainer(vocabulary_size: int, show_progress: bool) -> trainers.BpeTrainer:
    return trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=show_progress,
    )


def _repeated(words: Mapping[str, int]) -> Iterator[str]:
    """Each word as often as it was counted, U+001F after each, in blocks."""
    block: list[str] = []
    size = 0
    for word, count in words.items():
        ended = word + SEPARATOR
        most = max(1, _BLOCK // len(ended))
        while count > 0:
            times = min(count, most)
            block.append(ended * times)
            size += len(ended) * times
            count -= times
            if size >= _BLOCK:
                yield "".join(block)
                block, size = [], 0
    yield "".join(block)


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
