"""Cross-entropy over a large vocabulary without ever holding all its logits.

At 51,200 tokens of vocabulary, the logits of one 2,048-token sequence and their gradient are
larger than all other activations of the 137M model together. So logits are made for a few
hundred positions at a time, turned into loss and gradients in place, and forgotten: the backward
pass only scales what the forward pass already has, with no product computed twice.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

IGNORED = -100
"""Target of positions that do not count, as in ``torch.nn.functional.cross_entropy``."""


def chunk_rows(vocabulary_size: int, device_type: str = "cpu") -> int:
    """Positions per chunk: logits that would take 128 MiB in float32, on accelerators 256 MiB.

    Every chunk reads the head and adds to its gradient, which with few rows takes longer than the
    products.
    """
    budget = 128 << 20 if device_type == "cpu" else 256 << 20
    return max(64, budget // (4 * vocabulary_size))


def _piece_rows(vocabulary_size: int, device_type: str) -> int:
    """Positions of a chunk that go through the softmax at a time.

    On a CPU 4 MiB in float32: the softmax passes over them several times, and that much stays in
    the caches. Accelerators are better served by few large kernels.
    """
    if device_type != "cpu":
        return chunk_rows(vocabulary_size, device_type)
    return max(1, (4 << 20) // (4 * vocabulary_size))


_ADDED_ROWS = 4096
"""Rows of the head's gradient that are added at a time: a sum of two types begins on a CPU with a
converted copy of one, which so fits into the caches too."""


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        dtype: torch.dtype,
        group: dist.ProcessGroup | None,
        z_weight: float,
    ) -> tuple[Tensor, Tensor]:
        rows, vocabulary = hidden.shape[0], weight.shape[0]
        wanted = hidden.requires_grad or weight.requires_grad
        head = weight.to(dtype)
        exact = torch.promote_types(dtype, torch.float32)
        losses = hidden.new_empty(rows, dtype=exact)
        squares = losses.new_zeros(())
        hidden_gradient = torch.empty_like(hidden) if wanted else None
        weight_gradient = torch.zeros_like(weight, dtype=exact) if wanted else None
        size = min(rows, chunk_rows(vocabulary, hidden.device.type))
        # What every chunk fills again: on a CPU, pages that are new cost more than what they hold.
        workspace = head.new_empty(size, vocabulary)
        product = torch.empty_like(head) if wanted and dtype != exact else None
        softmax = _Softmax(vocabulary, size, hidden.device, dtype, group, z_weight)
        for start in range(0, rows, max(1, size)):
            part = slice(start, start + size)
            states, target = hidden[part].to(dtype), targets[part]
            logits = torch.mm(states, head.t(), out=workspace[: len(states)])
            squares += softmax.turn(logits, target, losses[part], wanted)
            if hidden_gradient is None or weight_gradient is None:
                continue
            # Rows that don't count are taken out where they are short, not where they are long.
            keep = (target != IGNORED).unsqueeze(1)
            hidden_gradient[part] = (logits @ head) * keep
            if product is None:
                weight_gradient.addmm_(logits.t(), states * keep)
                continue
            torch.mm(logits.t(), states * keep, out=product)
            for first in range(0, vocabulary, _ADDED_ROWS):
                added = slice(first, first + _ADDED_ROWS)
                weight_gradient[added] += product[added]
        if wanted:
            ctx.save_for_backward(hidden_gradient, weight_gradient)
        squares *= z_weight
        ctx.mark_non_differentiable(squares)
        return losses.sum(), squares

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        scale = outputs[0]
        return hidden_gradient * scale, weight_gradient * scale, None, None, None, None


class _Softmax:
    """Turns logits into losses and gradients, in float32 at least.

    Args:
        vocabulary: columns of the logits here.
        rows: most that it is given at a time.
        dtype: of the logits.
    """

    def __init__(
        self,
        vocabulary: int,
        rows: int,
        device: torch.device,
        dtype: torch.dtype,
        group: dist.ProcessGroup | None,
        z_weight: float,
    ) -> None:
        self._group, self._z_weight = group, z_weight
        self._first = dist.get_rank(group) * vocabulary if group is not None else 0
        # Processes wait for each other in every piece: there, a chunk is one.
        self._rows = rows if group is not None else _piece_rows(vocabulary, device.type)
        exact = torch.promote_types(dtype, torch.float32)
        self._wide: Tensor | None = None
        if dtype != exact:
            size = (min(rows, self._rows), vocabulary)
            self._wide = torch.empty(size, dtype=exact, device=device)

    def turn(self, logits: Tensor, targets: Tensor, losses: Tensor, gradient: bool) -> Tensor:
        """Write the rows' losses, and their gradients in the place of ``logits`` if wanted.

        Args:
            logits: ``(rows, vocabulary)``, lost.
            targets: ``(rows,)``. Rows whose target is ignored have a loss of 0 and a gradient
                that means nothing.
            losses: ``(rows,)``, written.

        Returns:
            The sum of squared logarithms of the normaliser, if there is a z-loss, else 0.
        """
        squares = losses.new_zeros(())
        for start in range(0, len(logits), max(1, self._rows)):
            part = slice(start, start + self._rows)
            narrow, target = logits[part], targets[part]
            exact = narrow if self._wide is None else self._wide[: len(narrow)].copy_(narrow)
            counted = target != IGNORED
            # Which column of this process's rows of the head each target is, if any.
            column = (target - self._first).unsqueeze(1)
            here = (column >= 0) & (column < logits.shape[1]) & counted.unsqueeze(1)
            column = column.where(here, 0)
            if self._group is None:
                loss, normaliser, probabilities = _softmax_loss(exact, column)
            else:
                loss, normaliser, probabilities = _divided_softmax_loss(
                    exact, column, here, self._group
                )
            losses[part] = loss.squeeze(1) * counted
            if self._z_weight:
                squares += (normaliser.square().squeeze(1) * counted).sum()
            if not gradient:
                continue
            if self._z_weight:  # d(w z²) = 2 w z dz, and dz is the probabilities
                probabilities *= 1 + 2 * self._z_weight * normaliser
            probabilities.scatter_add_(1, column, -here.to(probabilities.dtype))
            if self._wide is not None:
                narrow.copy_(probabilities)
        return squares


def _softmax_loss(logits: Tensor, column: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy, logarithm of the normaliser, and probabilities in the place of ``logits``.

    All have the rows of ``logits``, ``(rows, vocabulary)``, and the first two one column.
    """
    target_logits, largest = logits.gather(1, column), logits.amax(dim=1, keepdim=True)
    probabilities = torch.softmax(logits, dim=1, out=logits)
    # The largest probability is never small, so this logarithm is always exact enough.
    log_normaliser = largest - probabilities.amax(dim=1, keepdim=True).log()
    return log_normaliser - target_logits, log_normaliser, probabilities


def _divided_softmax_loss(
    logits: Tensor, column: Tensor, here: Tensor, group: dist.ProcessGroup
) -> tuple[Tensor, Tensor, Tensor]:
    """The same where each process of ``group`` has a part of the vocabulary's columns."""
    largest = logits.amax(dim=1, keepdim=True)
    dist.all_reduce(largest, dist.ReduceOp.MAX, group)
    logits -= largest
    target_logits = logits.gather(1, column) * here
    exponentials = logits.exp_()
    sums = torch.cat([exponentials.sum(dim=1, keepdim=True), target_logits], dim=1)
    dist.all_reduce(sums, group=group)
    normaliser, target_logits = sums[:, :1], sums[:, 1:]
    shifted = normaliser.log()
    return shifted - target_logits, shifted + largest, exponentials.div_(normaliser)


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    dtype: torch.dtype = torch.float32,
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Sum over positions of the cross-entropy of ``hidden @ weight.T``, in nats.

    Args:
        hidden: ``(positions, width)``.
        weight: ``(vocabulary, width)``, the output head, or this process's rows of it.
        targets: ``(positions,)`` int64; :data:`IGNORED` where a position does not count.
        dtype: of the matrix products; softmax and sums are in float32 at least.
        group: the processes that hold the other rows of the head, equally many each, in order.
            All call this with the same ``hidden`` and ``targets``.

    Returns:
        A scalar, float32 (or ``dtype``, if that is wider), the same on every process; 0 if no
        position counts. Differentiable in ``hidden`` and ``weight``; of ``hidden``, each process
        has its columns' share of the gradient, to be summed over the group.
    """
    return with_z_loss(hidden, weight, targets, 0.0, dtype, group)[0]


def with_z_loss(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    z_weight: float,
    dtype: torch.dtype = torch.float32,
    group: dist.ProcessGroup | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`linear_cross_entropy`, and a pull of the softmax's normaliser ``Z`` towards one.

    The z-loss ``z_weight log² Z`` of every position keeps logits from drifting away together,
    which cross-entropy does not notice (Chowdhery et al. 2022, "PaLM", §5, with 1e-4).

    Returns:
        The sum of cross-entropies, whose gradient is that of cross-entropy and z-loss together:
        so what is reported as the loss means the same with and without. And the sum of z-losses,
        for the record, not differentiable.
    """
    arguments = (hidden, weight, targets, dtype, group, z_weight)
    loss, z_loss = _LinearCrossEntropy.apply(*arguments)  # type: ignore[no-untyped-call]
    return loss, z_loss
