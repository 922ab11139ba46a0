"""Cross-entropy over a large vocabulary without ever holding all its logits.

At 51,200 tokens of vocabulary, the logits of one 2,048-token sequence and their gradient are
larger than all other activations of the 137M model together. So logits are made for a few
hundred positions at a time, turned into loss and gradients in place, and forgotten: the backward
pass only scales what the forward pass already has, with no product computed twice.
"""

from typing import Any

import torch
from torch import Tensor

IGNORED = -100
"""Target of positions that do not count, as in ``torch.nn.functional.cross_entropy``."""


def chunk_rows(vocabulary_size: int) -> int:
    """Positions per chunk: logits of about 16 MiB in float32, which a last-level cache holds."""
    return max(64, (16 << 20) // (4 * vocabulary_size))


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype
    ) -> Tensor:
        rows, vocabulary = hidden.shape[0], weight.shape[0]
        wanted = hidden.requires_grad or weight.requires_grad
        head = weight.to(dtype)
        losses = hidden.new_empty(rows, dtype=torch.float32)
        hidden_gradient = torch.empty_like(hidden) if wanted else None
        weight_gradient = torch.zeros_like(weight, dtype=torch.float32) if wanted else None
        size = chunk_rows(vocabulary)
        for start in range(0, rows, size):
            part = slice(start, start + size)
            states, target = hidden[part].to(dtype), targets[part]
            logits = (states @ head.t()).float()
            counted = target != IGNORED
            target = target.where(counted, 0).unsqueeze(1)
            target_logits = logits.gather(1, target)
            largest, at = logits.max(dim=1, keepdim=True)
            probabilities = torch.softmax(logits, dim=1, out=logits)
            # The largest probability is never small, so this logarithm is always exact enough.
            log_normaliser = largest - probabilities.gather(1, at).log()
            losses[part] = (log_normaliser - target_logits).squeeze(1) * counted
            if hidden_gradient is None or weight_gradient is None:
                continue
            probabilities.scatter_add_(1, target, torch.full_like(target_logits, -1.0))
            if not bool(counted.all()):
                probabilities *= counted.unsqueeze(1)
            gradient = probabilities.to(dtype)
            hidden_gradient[part] = gradient @ head
            if dtype == torch.float32:
                weight_gradient.addmm_(gradient.t(), states)
            else:
                weight_gradient += gradient.t() @ states
        if wanted:
            ctx.save_for_backward(hidden_gradient, weight_gradient)
        return losses.sum()

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor, None, None]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        scale = outputs[0]
        return hidden_gradient * scale, weight_gradient * scale, None, None


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Sum over positions of the cross-entropy of ``hidden @ weight.T``, in nats.

    Args:
        hidden: ``(positions, width)``.
        weight: ``(vocabulary, width)``, the output head.
        targets: ``(positions,)`` int64; :data:`IGNORED` where a position does not count.
        dtype: of the matrix products; softmax and sums are in float32 whatever it is.

    Returns:
        A scalar, float32; 0 if no position counts. Differentiable in ``hidden`` and ``weight``.
    """
    loss: Tensor = _LinearCrossEntropy.apply(hidden, weight, targets, dtype)  # type: ignore[no-untyped-call]
    return loss
