"""One optimiser step, and one evaluation."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from hyperclova.parallel.place import Placed
from hyperclova.pretraining.guard import Guard
from hyperclova.pretraining.loss import IGNORED


def training_step(
    placed: Placed,
    optimizer: torch.optim.Optimizer,
    windows: Tensor,
    clip: float,
    seed: tuple[int, int],
    guard: Guard | None = None,
) -> tuple[Tensor, Tensor]:
    """Accumulate gradients over ``windows`` in microbatches, clip, step.

    Every microbatch's loss is a sum, divided by the number of targets of the whole batch: the
    result does not depend on how the batch is divided, into portions or among devices.

    Args:
        windows: ``(rows, time + 1)`` int64, this data-parallel group's rows, on its device.
        seed: the run's seed and the step, from which dropout is drawn.
        guard: decides whether the step is applied; without one it always is.

    Returns:
        The batch's mean loss per target in nats, and the whole gradient's norm before clipping:
        scalars on the device, so that reading them is the caller's choice.
    """
    optimizer.zero_grad(set_to_none=True)
    targets = (windows[:, 1:] != IGNORED).sum()
    divisor = placed.sum_over_data(targets).clamp_min(1).float()
    loss = placed.sum(placed.train(windows, divisor, seed))
    placed.finish()
    norm = placed.clip(clip)
    if guard is not None:
        home = next(iter(placed.parameters.values())).device  # the host's, if they are offloaded
        skip = guard.judge(seed[1] + 1, loss, norm)
        optimizer.found_inf = skip.to(home)  # type: ignore[attr-defined]
    optimizer.step()
    return loss, norm


@torch.no_grad()
def bits_per_byte(placed: Placed, windows: Tensor, token_lengths: Tensor) -> float:
    """Bits the model needs per byte of text: comparable across tokenizers.

    Nats of all targets that stand for text, over ``ln 2`` times their UTF-8 bytes. End-of-text
    tokens have no bytes and are left out of both. Windows do not overlap: a window's first
    tokens are predicted from little, as in training.

    Args:
        windows: ``(rows, time + 1)`` int64, the same on every process.
        token_lengths: bytes of each token id, ``(vocabulary,)``.

    Raises:
        ValueError: no target stands for text.
    """
    lengths = token_lengths[windows[:, 1:]]
    text_bytes = int(lengths.sum())
    if not text_bytes:
        raise ValueError("no target stands for text")
    inputs = windows[:, :-1]
    targets = windows[:, 1:].masked_fill(lengths == 0, IGNORED)
    nats = torch.zeros((), dtype=torch.float64, device=windows.device)
    portion = placed.portion
    for start in range(0, len(windows), portion * placed.data_groups):
        rows = slice(start + placed.data_rank * portion, start + (placed.data_rank + 1) * portion)
        mine, wanted = inputs[rows], targets[rows]
        if placed.grid is not None:  # every process takes part, be it with rows that don't count
            missing = (0, 0, 0, portion - len(mine))
            mine = functional.pad(mine, missing)
            wanted = functional.pad(wanted, missing, value=IGNORED)
        nats += placed.summed_loss(mine, wanted)
    return float(placed.sum(nats)) / math.log(2) / text_bytes
