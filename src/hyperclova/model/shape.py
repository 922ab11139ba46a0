"""The shape of a decoder, as plain data: no torch, so that a planner can start at once."""

import math
from dataclasses import dataclass

from hyperclova.configuration import at_least
from hyperclova.model.mup import BaseShape


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a decoder.

    Raises:
        ValueError: a size is not positive, or ``width`` is not a multiple of ``heads``.
    """

    vocab_size: int
    context_length: int = 2048
    layers: int = 12
    width: int = 768
    heads: int = 12
    dropout: float = 0.0
    layer_norm_epsilon: float = 1e-5
    query_key_norm: bool = False
    """LayerNorm over each head's query and key (Dehghani et al. 2023, arXiv:2302.05442, §2)."""
    base: BaseShape | None = None
    """The narrow model whose hyperparameters this one takes over; None: GPT-2's rules."""

    def __post_init__(self) -> None:
        at_least(self, 1, "vocab_size", "context_length", "layers", "width", "heads")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is {self.dropout}; it must be in [0, 1)")

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def width_factor(self) -> float:
        """Multiplier of the logits: base width over width."""
        return self.base.width / self.width if self.base else 1.0

    @property
    def matrix_factor(self) -> float:
        """Multiplier of the initial deviation of the blocks' matrices."""
        return math.sqrt(self.width_factor)

    @property
    def query_scale(self) -> float:
        """Multiplier of the queries: turns ``1 / sqrt(head_width)`` into ``1 / head_width``."""
        return math.sqrt(self.base.head_width / self.head_width) if self.base else 1.0
