"""Muon: momentum whose direction is orthogonalised, for the matrices inside the decoder.

Source: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024), with
the update scaled to AdamW's usual size (Liu et al. 2025, "Muon is scalable for LLM training",
arXiv:2502.16982, eq. 4), so that one learning rate and one weight decay serve both kinds of
parameter.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

_STEPS = 5
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_RMS = 0.2
"""Root mean square of an AdamW update in practice, in units of the learning rate."""


def orthogonalised(matrices: Tensor) -> Tensor:
    """About ``U Vᵀ`` of each matrix ``U S Vᵀ``, by five Newton-Schulz steps of fifth degree.

    A singular value of at least 0.002 of its matrix's Frobenius norm ends between 0.68 and 1.21:
    near enough to one, as Jordan et al. found, and far cheaper than a decomposition. Smaller ones
    grow by 485 or less, so what is hardly there stays small; a matrix of zeros stays zero.

    Args:
        matrices: ``(count, rows, columns)``.

    Returns:
        As many matrices of the same shape.
    """
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x: Tensor = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.AdamW):
    """AdamW, except in groups with ``orthogonal=True``, whose matrices take Muon's step.

    Both kinds keep the same state, so that a checkpoint of one loads into the other: a Muon
    matrix has its momentum in ``exp_avg`` and leaves ``exp_avg_sq`` at zero. A group's
    ``heads`` tells for each of its matrices whether it is a fused query-key-value projection
    (rows head by head, ``(heads, 3, head_width)``), and of how many heads, or 0: the three
    projections are orthogonalised each by itself.

    A matrix that is spread over devices is gathered for its step, which every device that holds
    a part of it computes alike.

    As with PyTorch's fused optimisers, an attribute ``found_inf``, a scalar tensor, makes a step
    change nothing if it is 1.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both kinds; parameters without a gradient are left alone."""
        groups = self.param_groups
        plain = [group for group in groups if not group.get("orthogonal")]
        special = [group for group in groups if group.get("orthogonal")]
        self.param_groups = plain  # all that AdamW shall see
        try:
            loss = super().step(closure)
        finally:
            self.param_groups = groups
        for group in special:
            self._orthogonal_step(group)
        return loss

    def _orthogonal_step(self, group: dict[str, Any]) -> None:
        momentum, rate = group["betas"][0], group["lr"]
        found_inf: Tensor | None = getattr(self, "found_inf", None)
        skip = None if found_inf is None else found_inf.bool()
        alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        changes: list[tuple[Tensor, Tensor]] = []  # parameter, its update
        for parameter, heads in zip(group["params"], group["heads"], strict=True):
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
            state["step"] += 1 if skip is None else ~skip
            average = state["exp_avg"].lerp(parameter.grad, 1 - momentum)
            _replace(state["exp_avg"], average, skip)
            # Nesterov: look ahead along the momentum.
            direction = parameter.grad.lerp(average, momentum)
            if isinstance(direction, DTensor):
                direction = direction.full_tensor()
            update = torch.empty_like(direction)
            changes.append((parameter, update))
            for source, target in zip(_parts(direction, heads), _parts(update, heads), strict=True):
                alike[source.flatten(0, -2).shape].append((source, target))
        for shape, pairs in alike.items():
            updates = orthogonalised(torch.stack([part.flatten(0, -2) for part, _ in pairs]))
            for (_, target), update in zip(pairs, updates, strict=True):
                target.copy_(update.view(target.shape).mul_(_RMS * max(shape) ** 0.5))
        for parameter, update in changes:
            if isinstance(parameter, DTensor):
                update = distribute_tensor(
                    update, parameter.device_mesh, parameter.placements, src_data_rank=None
                )
            decayed = parameter * (1 - rate * group["weight_decay"])
            _replace(parameter, decayed.add_(update, alpha=-rate), skip)


def _replace(tensor: Tensor, value: Tensor, skip: Tensor | None) -> None:
    tensor.copy_(value if skip is None else torch.where(skip, tensor, value))


def _parts(matrix: Tensor, heads: int) -> tuple[Tensor, ...]:
    """Views of what is orthogonalised by itself: the matrix, or ``(heads, head_width, width)``
    for query, key and value."""
    return matrix.view(heads, 3, -1, matrix.shape[-1]).unbind(1) if heads else (matrix,)
