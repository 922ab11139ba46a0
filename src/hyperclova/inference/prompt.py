"""A prompt as the engine reads it: one symbol a position."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import index
from types import MappingProxyType

import numpy as np

from hyperclova.inference.prefix import Symbol
from hyperclova.inference.protocol import Floats, Prompt
from hyperclova.inference.soft_prompt import SoftPrompt


@dataclass(frozen=True, eq=False)
class Symbols:
    """Token ids and rows of soft prompts, in order; at least one."""

    sequence: tuple[Symbol, ...]
    soft: Mapping[str, SoftPrompt] = field(default_factory=lambda: MappingProxyType({}))
    """By fingerprint, all that ``sequence`` names."""
    added: int = 0
    """Tokens at the beginning that the engine put there: not counted or echoed."""

    def __len__(self) -> int:
        return len(self.sequence)

    @property
    def tokens(self) -> tuple[int, ...]:
        """The token ids among the symbols."""
        return tuple(symbol for symbol in self.sequence if isinstance(symbol, int))

    def tail(self) -> tuple[int, ...]:
        """The token ids behind the last soft prompt."""
        ids: list[int] = []
        for symbol in reversed(self.sequence):
            if not isinstance(symbol, int):
                break
            ids.append(symbol)
        return tuple(reversed(ids))

    def ids(self, begin: int, end: int) -> list[int]:
        """A token id for each position; 0 where a soft prompt stands."""
        return [each if isinstance(each, int) else 0 for each in self.sequence[begin:end]]

    def rows(self, begin: int, end: int) -> tuple[list[int], Floats] | None:
        """Places relative to ``begin`` where soft prompts stand, and their embeddings."""
        if not self.soft:
            return None
        places = [
            place
            for place, symbol in enumerate(self.sequence[begin:end])
            if not isinstance(symbol, int)
        ]
        if not places:
            return None
        named = [symbol for symbol in self.sequence[begin:end] if not isinstance(symbol, int)]
        return places, np.stack([self.soft[name].table[row] for name, row in named])


def symbols_of(prompt: Prompt, encode: Callable[[str], Sequence[int]], end_of_text: int) -> Symbols:
    """Read a prompt's pieces.

    Nothing can be predicted from nothing: an empty prompt begins a document, behind an
    end-of-text token.
    """
    sequence: list[Symbol] = []
    soft: dict[str, SoftPrompt] = {}
    for piece in (prompt,) if isinstance(prompt, str) else prompt:
        if isinstance(piece, str):
            sequence += encode(piece)
        elif isinstance(piece, SoftPrompt):
            soft[piece.fingerprint] = piece
            sequence += [(piece.fingerprint, row) for row in range(len(piece))]
        else:
            sequence.append(index(piece))  # NumPy's integers, too, are token ids
    if not sequence:
        return Symbols((end_of_text,), added=1)
    return Symbols(tuple(sequence), soft)
