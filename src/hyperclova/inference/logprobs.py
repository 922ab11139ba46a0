"""How likely tokens are under the model's own distribution.

The one place where log-probabilities are computed: for generated tokens, for an echoed prompt
and for :meth:`Engine.score`, whose numbers therefore agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hyperclova.errors import UserError


@dataclass(frozen=True, slots=True)
class Measured:
    """A token's log-probability and its rivals', natural logarithm, temperature 1."""

    logprob: float | None
    """None for a prompt's first token, before which nothing stands."""
    top: tuple[tuple[int, float], ...] = ()
    """``(id, logprob)`` of the most likely tokens, best first, lower id first among equals."""


def require_finite(finite: bool) -> None:
    """
    Raises:
        UserError: the model's numbers are not finite.
    """
    if not finite:
        raise UserError(
            "the model computes numbers that are not finite after this prompt: its weights, or a "
            "soft prompt's, are broken or too large"
        )


def finite_rows(logits: Tensor) -> list[bool]:
    """Which rows of ``(rows, vocabulary)`` hold no infinity above and nothing that is no number."""
    if logits.device.type == "cpu":
        # NumPy finds the largest numbers many times faster than torch.
        found: list[bool] = np.isfinite(logits.numpy().max(axis=1)).tolist()
        return found
    return [bool(each) for each in logits.amax(1).isfinite().tolist()]


def measure(logits: Tensor, tokens: Sequence[int], top: int, vocabulary: int) -> list[Measured]:
    """Measure one token per row.

    Args:
        logits: ``(rows, model's vocabulary)``, float32, as the model gives them.
        tokens: the id to be measured in each row.
        top: how many of the most likely tokens to name.
        vocabulary: ids below this one exist in the tokenizer; only they are named in ``top``.
            The probability of padding beyond it is not redistributed.

    Raises:
        UserError: the logits are not finite.
    """
    normalizer = _normalizer(logits)
    chosen = logits.gather(1, torch.tensor(tokens).unsqueeze(1)) - normalizer
    rivals = _rivals(logits, normalizer, top, vocabulary)
    return [
        Measured(logprob, tops)
        for logprob, tops in zip(chosen.squeeze(1).tolist(), rivals, strict=True)
    ]


def measure_rivals(logits: Tensor, tokens: Sequence[int], vocabulary: int) -> list[Measured]:
    """Measure several tokens that could stand at one place, each beside the most likely one.

    Args:
        logits: ``(1, model's vocabulary)``; all is as for :func:`measure`, the numbers, too.
    """
    if not tokens:
        return []
    normalizer = _normalizer(logits)
    (best,) = _rivals(logits, normalizer, 1, vocabulary)
    logprobs = logits[0, torch.tensor(tokens)] - normalizer[0]
    return [Measured(logprob, best) for logprob in logprobs.tolist()]


def _rivals(
    logits: Tensor, normalizer: Tensor, top: int, vocabulary: int
) -> list[tuple[tuple[int, float], ...]]:
    """Each row's ``top`` most likely tokens and their log-probabilities, best first."""
    values, ids = logits[:, :vocabulary].topk(min(top, vocabulary), dim=-1)
    pairs = zip(ids.tolist(), (values - normalizer).tolist(), strict=True)
    return [tuple(sorted(zip(*each, strict=True), key=_best_first)) for each in pairs]


def _normalizer(logits: Tensor) -> Tensor:
    """The logarithms of the sums of exponentials ``(rows, 1)``.

    Raises:
        UserError: the logits are not finite.
    """
    # Never of a single row: a long one would be shared out among threads and summed in another
    # order than one of several.
    rows = logits if len(logits) > 1 else logits.expand(2, -1)
    found = torch.logsumexp(rows, dim=-1, keepdim=True)[: len(logits)]
    require_finite(bool(found.isfinite().all()))
    return found


def _best_first(rival: tuple[int, float]) -> tuple[float, int]:
    token, logprob = rival
    return -logprob, token
