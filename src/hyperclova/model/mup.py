"""Width transfer: hyperparameters found on a narrow model, kept on a wide one (muP).

Source: Yang et al. 2022, "Tensor Programs V: tuning large neural networks via zero-shot
hyperparameter transfer" (arXiv:2203.03466), Table 8, for Adam and a tied embedding. With
``m = width / base width``, and compared with GPT-2's rules, which hold at the base:

========================  =========================  ======================
                          initial deviation          learning rate
========================  =========================  ======================
embeddings, biases,       as at the base             as at the base
LayerNorm
matrices in the blocks    ``/ sqrt(m)``              ``/ m``
========================  =========================  ======================

The head's logits are divided by ``m``, and attention's are ``query · key / head_width`` times the
square root of the base's head width. So every activation keeps its size, and moves by as much in
a step, whatever the width.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from hyperclova.model.shape import GPTConfig


@dataclass(frozen=True)
class BaseShape:
    """The narrow model whose hyperparameters a wider one takes over.

    Raises:
        ValueError: a size is not positive, or ``width`` is not a multiple of ``heads``.
    """

    width: int
    heads: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.heads < 1 or self.width % self.heads:
            raise ValueError(
                f"base width {self.width} is not a positive multiple of base heads {self.heads}"
            )

    @property
    def head_width(self) -> int:
        return self.width // self.heads


def rate_factor(name: str, dimensions: int, config: "GPTConfig", orthogonal: bool = False) -> float:
    """What the learning rate of a parameter is multiplied by.

    AdamW's update of a matrix is mostly of one direction: with entries of a given size, it moves
    the output by as much as the matrix is wide. An orthogonalised one (Muon) with entries of that
    size has equal singular values, which grow with the square root of the width only.

    Args:
        name: in :class:`~hyperclova.model.GPT`.
        dimensions: of the parameter; only matrices are concerned.
    """
    if dimensions < 2 or "blocks." not in name:
        return 1.0
    return config.width_factor**0.5 if orthogonal else config.width_factor


def folded(name: str, tensor: "Tensor", config: "GPTConfig") -> "Tensor":
    """A parameter with its multiplier taken in: the same model under GPT-2's rules.

    The head's goes into the last LayerNorm, attention's into the rows that make queries, or into
    the queries' LayerNorm if there is one. Exact if the multiplier is a power of two.
    """
    if name.startswith("final_norm.") and config.width_factor != 1.0:
        return tensor * config.width_factor
    scale = config.query_scale
    if scale == 1.0:
        return tensor
    if config.query_key_norm:
        return tensor * scale if ".query_norm." in name else tensor
    if ".query_key_value." in name:
        rows = tensor.clone()
        rows.view(config.heads, 3, config.head_width, -1)[:, 0] *= scale
        return rows
    return tensor
