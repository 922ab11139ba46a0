"""One optimiser step, and one evaluation."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from hyperclova.model.gpt import GPT
from hyperclova.pretraining.device import autocast
from hyperclova.pretraining.loss import IGNORED, linear_cross_entropy
from hyperclova.tokens.order import key

Hidden = Callable[[Tensor], Tensor]
"""Tokens ``(batch, time)`` to states ``(batch, time, width)``: ``model.hidden``, maybe compiled."""


def summed_loss(
    model: GPT, hidden: Hidden, inputs: Tensor, targets: Tensor, dtype: torch.dtype
) -> Tensor:
    """Cross-entropy in nats, summed over ``targets`` ``(batch, time)`` that are not ignored."""
    with autocast(inputs.device, dtype):
        states = hidden(inputs)
    return linear_cross_entropy(
        states.reshape(-1, states.shape[-1]),
        model.token_embedding.weight,
        targets.reshape(-1),
        dtype,
    )


def training_step(
    model: GPT,
    hidden: Hidden,
    optimizer: torch.optim.Optimizer,
    windows: Tensor,
    microbatch: int,
    clip: float,
    dtype: torch.dtype,
    dropout_seed: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """Accumulate gradients over ``windows`` in portions of ``microbatch`` rows, clip, step.

    Every portion's loss is a sum, divided by the number of targets of the whole batch: the
    result does not depend on the portions. Dropout is seeded by (run seed, step) and the
    portion, so a resumed run needs no generator state.

    Args:
        windows: ``(batch, time + 1)`` int64, on the model's device.
        dropout_seed: the run's seed and the step.

    Returns:
        Mean loss per target in nats, and the gradient's norm before clipping: scalars on the
        device, so that reading them is the caller's choice.
    """
    model.train()
    targets = int((windows[:, 1:] != IGNORED).sum())
    total = torch.zeros((), device=windows.device)
    optimizer.zero_grad(set_to_none=True)
    for number, portion in enumerate(torch.split(windows, microbatch)):
        if model.config.dropout:
            torch.manual_seed(key(*dropout_seed, number) >> 1)
        loss = summed_loss(model, hidden, portion[:, :-1], portion[:, 1:], dtype) / max(1, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return total, norm


@torch.no_grad()
def bits_per_byte(
    model: GPT,
    windows: Tensor,
    token_lengths: Tensor,
    microbatch: int,
    dtype: torch.dtype,
) -> float:
    """Bits the model needs per byte of text: comparable across tokenizers.

    Nats of all targets that stand for text, over ``ln 2`` times their UTF-8 bytes. End-of-text
    tokens have no bytes and are left out of both. Windows do not overlap: a window's first
    tokens are predicted from little, as in training.

    Args:
        windows: ``(rows, time + 1)`` int64.
        token_lengths: bytes of each token id, ``(vocabulary,)``.

    Raises:
        ValueError: no target stands for text.
    """
    model.eval()
    nats = torch.zeros((), dtype=torch.float64)
    text_bytes = 0
    for portion in torch.split(windows, microbatch):
        lengths = token_lengths[portion[:, 1:]]
        targets = portion[:, 1:].masked_fill(lengths == 0, IGNORED)
        nats += summed_loss(model, model.hidden, portion[:, :-1], targets, dtype).double().cpu()
        text_bytes += int(lengths.sum())
    if not text_bytes:
        raise ValueError("no target stands for text")
    return float(nats) / math.log(2) / text_bytes
