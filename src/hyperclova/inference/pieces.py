"""What attention takes up at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

from hyperclova.inference.cache import Chunk


@dataclass(frozen=True)
class Piece:
    """Neighbouring positions of one sequence within one block; a single one, if it is written."""

    token: int
    """Where the first one stands among all the tokens of this pass."""
    tokens: int
    chunks: Sequence[Chunk]
    """The sequence's, up to the one that they lie in."""
    place: int
    """The first one's place in the last of ``chunks``."""
