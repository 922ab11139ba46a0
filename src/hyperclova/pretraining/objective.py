"""What a model is trained for: cross-entropy, and a z-loss if asked for."""

import torch
import torch.distributed as dist
from torch import Tensor

from hyperclova.pretraining.loss import IGNORED, linear_cross_entropy, with_z_loss


class CrossEntropy:
    """Cross-entropy in nats, summed over the targets that are not ignored.

    An :data:`hyperclova.parallel.part.Objective`. In training, z-losses are part of the gradient
    and are added up here for the record.

    Args:
        dtype: of the head's matrix products.
        z_loss: weight, see :func:`hyperclova.pretraining.loss.with_z_loss`.
    """

    def __init__(self, dtype: torch.dtype, z_loss: float = 0.0) -> None:
        self._dtype, self._z_loss = dtype, z_loss
        self._sums: Tensor | None = None

    def __call__(
        self, states: Tensor, head: Tensor, targets: Tensor, group: dist.ProcessGroup | None
    ) -> Tensor:
        hidden, wanted = states.flatten(0, 1), targets.flatten()
        if not self._z_loss or not torch.is_grad_enabled():
            return linear_cross_entropy(hidden, head, wanted, self._dtype, group)
        loss, z_loss = with_z_loss(hidden, head, wanted, self._z_loss, self._dtype, group)
        sums = torch.stack([z_loss, (wanted != IGNORED).sum().to(z_loss.dtype)])
        sums = sums.where(z_loss.isfinite(), 0.0)  # a step that is going to be skipped
        self._sums = sums if self._sums is None else self._sums + sums
        return loss

    def take(self, device: torch.device) -> Tensor:
        """``(2,)``: the z-losses here since the last call, and the number of targets they are
        of; :meth:`Placed.sum` makes them the whole run's."""
        sums = torch.zeros(2, device=device) if self._sums is None else self._sums
        self._sums = None
        return sums
