"""Choosing the next tokens where the logits are, so that only the tokens come to the CPU.

The same definition as :mod:`hyperclova.inference.sampling`, in PyTorch's operations for all rows at
once. Rounding differs in the last digit of the weights, and so a token about once in 1e7.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hyperclova.inference.sampling import COLDEST, HOTTEST, Chooser, Shift, choose
from hyperclova.parallel.device import to_host


def choose_on_device(logits: Tensor, choosers: Sequence[Chooser]) -> list[int]:
    """As :func:`~hyperclova.inference.sampling.choose`, for logits on any device."""
    tokens = [0] * len(choosers)
    # Words that a prompt leaves open are matters of the CPU; they are over after a token or two.
    spelling = [row for row, chooser in enumerate(choosers) if chooser.constrained]
    if spelling:
        found = choose(to_host(logits[spelling]), [choosers[row] for row in spelling])
        for row, token in zip(spelling, found, strict=True):
            tokens[row] = token
    free = [row for row, chooser in enumerate(choosers) if row not in spelling]
    if free:
        chosen = [choosers[row] for row in free]
        found = _choose(logits[free] if spelling else logits, chosen).tolist()
        for row, token in zip(free, found, strict=True):
            tokens[row] = token
            choosers[row].accept(token)
    return tokens


def _choose(logits: Tensor, choosers: Sequence[Chooser]) -> Tensor:
    """The next tokens ``(rows,)``, int64, of rows without constraints."""
    scores = _penalised(logits, choosers)
    tokens = scores.argmax(1)  # the first of several
    sampled = [row for row, chooser in enumerate(choosers) if chooser.sampling.temperature > 0]
    if sampled:
        asked = [choosers[row].sampling for row in sampled]
        numbers = torch.tensor(
            [
                (min(max(one.temperature, COLDEST), HOTTEST), one.top_p, choosers[row].draw())
                for row, one in zip(sampled, asked, strict=True)
            ],
            dtype=torch.float64,
        )
        temperatures, shares, aims = numbers.to(scores.device)[:, :, None].unbind(1)
        kept = scores[sampled]
        best = kept.gather(1, tokens[sampled][:, None])
        weights = ((kept - best) / temperatures.float()).exp_()
        if any(one.top_k or one.top_p < 1 for one in asked):
            size = weights.shape[1]
            most = torch.tensor([[one.top_k or size] for one in asked], device=weights.device)
            weights = _nucleus(weights, most, shares)
        cumulative = weights.cumsum(1, dtype=torch.float64)
        places = torch.searchsorted(cumulative, aims * cumulative[:, -1:], right=True)
        # Rounding may carry an aim up to the last sum; then it is the last place with a weight.
        last = torch.searchsorted(cumulative, cumulative[:, -1:].contiguous())
        tokens[sampled] = torch.minimum(places, last)[:, 0]
    return tokens


def _nucleus(weights: Tensor, most: Tensor, shares: Tensor) -> Tensor:
    """``weights`` ``(rows, vocabulary)``, 0 where top-k or then top-p keeps nothing.

    Args:
        most: of top-k, ``(rows, 1)``.
        shares: of top-p, ``(rows, 1)``, float64.
    """
    ordered, ids = weights.sort(dim=1, descending=True, stable=True)
    rank = torch.arange(weights.shape[1], device=weights.device)
    ordered = ordered.masked_fill(rank >= most, 0)
    reached = ordered.cumsum(1, dtype=torch.float64)
    before = (reached < shares * reached[:, -1:]).sum(1, keepdim=True)
    ordered = ordered.masked_fill((rank > before) & (shares < 1), 0)
    return torch.zeros_like(weights).scatter_(1, ids, ordered)


def _penalised(logits: Tensor, choosers: Sequence[Chooser]) -> Tensor:
    """Logits after penalties and bias; ``logits`` themselves, if there are none."""
    if not any(chooser.changes_scores for chooser in choosers):
        return logits
    scores = logits.clone()
    penalties = _flat([chooser.scaled for chooser in choosers], scores)
    if penalties is not None:
        rows, ids, factors = penalties
        values = scores[rows, ids]
        values = torch.where(values > 0, values / factors, values * factors)
        scores[rows, ids] = values.float()
    # One after another: an id may be in both, but in each of them once.
    for shifts in zip(*(chooser.shifts for chooser in choosers), strict=True):
        shifted = _flat(shifts, scores)
        if shifted is not None:
            rows, ids, amounts = shifted
            scores[rows, ids] = (scores[rows, ids] + amounts).float()
    return scores


def _flat(shifts: Sequence[Shift], like: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """Rows, ids and numbers of all rows' changes, ``(changes,)``; None if there are none."""
    sizes = [len(ids) for ids, _ in shifts]
    if not sum(sizes):
        return None
    rows = np.repeat(np.arange(len(shifts)), sizes)
    ids = np.concatenate([ids for ids, _ in shifts])
    places = torch.from_numpy(np.stack([rows, ids])).to(like.device)
    numbers = torch.from_numpy(np.concatenate([numbers for _, numbers in shifts]))
    # In float64: float32 numbers may overflow where their sums do not.
    return places[0], places[1], numbers.to(like.device)
