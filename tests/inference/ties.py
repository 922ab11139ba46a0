"""Texts that are the same but for what rounding decides."""

import pytest

from hyperclova.inference.protocol import Completion


def same_text(found: Completion, expected: Completion, tolerance: float = 1e-3) -> None:
    """The same tokens, as far as the model prefers one; the same log-probabilities.

    Both must name two rivals of each token (``logprobs=2``).
    """
    for left, right in zip(found.choices, expected.choices, strict=True):
        for mine, theirs in zip(left.tokens, right.tokens, strict=False):
            assert mine.logprob == pytest.approx(theirs.logprob, abs=tolerance)
            if mine.id != theirs.id:  # a tie, after which texts are of two kinds
                first, second = (rival.logprob for rival in theirs.top[:2])
                assert first == pytest.approx(second, abs=tolerance)
                break
        else:
            assert (left.text, left.finish_reason) == (right.text, right.finish_reason)
