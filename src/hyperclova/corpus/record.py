"""What a finished build left: ``build.json`` and documents."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperclova.corpus.documents import Document, read_documents
from hyperclova.corpus.tally import Tally
from hyperclova.errors import UserError

FORMAT = 1


@dataclass(frozen=True)
class Record:
    """A finished build."""

    name: str
    """Of the output directory."""
    config: dict[str, Any]
    """:class:`~hyperclova.corpus.config.CorpusConfig` as plain data."""
    versions: dict[str, str]
    inputs: tuple[dict[str, Any], ...]
    """``path``, ``bytes``, ``documents``, ``quarantined``."""
    tally: Tally
    order: tuple[str, ...]
    """Labels of the rules in order of application, the built-in ones too."""
    tokens: dict[str, Any] | None
    """``tokenizer`` and ``by_source``; None: not counted."""
    outputs: tuple[dict[str, Any], ...]
    """``path``, ``source``, ``documents``, ``bytes``."""

    @classmethod
    def load(cls, output: Path) -> "Record":
        """Read ``output/build.json``.

        Raises:
            UserError: it is missing, or not what this version writes.
        """
        path = output / "build.json"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(
                f"{path}: no such file: {output} holds no finished build; run `hyperclova corpus "
                "build` with its configuration"
            ) from None
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: can't be read as JSON: {error}; build again") from None
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            found = data.get("format") if isinstance(data, Mapping) else None
            raise UserError(
                f"{path}: format is {found!r}, and this version reads {FORMAT}; build again"
            )
        try:
            return cls(
                name=output.resolve().name,
                config=data["config"],
                versions=data["versions"],
                inputs=tuple(data["inputs"]),
                tally=Tally.from_mapping(data["tally"]),
                order=tuple(data["order"]),
                tokens=data["tokens"],
                outputs=tuple(data["outputs"]),
            )
        except KeyError as error:
            raise UserError(f"{path}: {error} is missing; build again") from None


def read_outputs(output: Path, split: str) -> Iterator[Document]:
    """The documents of a finished build's split, ``train`` or ``held-out``."""
    yield from read_documents(sorted((output / split).glob("*.jsonl.zst")))
