"""The chunked cross-entropy against PyTorch's."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from hyperclova.pretraining import loss as loss_module
from hyperclova.pretraining.loss import IGNORED, linear_cross_entropy


@settings(deadline=None, max_examples=30)
@given(
    rows=st.integers(1, 300),
    vocabulary=st.integers(2, 500),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
    ignored=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_value_and_gradients_are_those_of_the_plain_one(
    rows: int, vocabulary: int, scale: float, ignored: float, seed: int
) -> None:
    torch.manual_seed(seed)
    hidden = (torch.randn(rows, 8) * scale).double().float().requires_grad_()
    weight = torch.randn(vocabulary, 8).requires_grad_()
    targets = torch.randint(0, vocabulary, (rows,))
    targets[torch.rand(rows) < ignored] = IGNORED
    expected = functional.cross_entropy(hidden @ weight.t(), targets, reduction="sum")
    expected_gradients = torch.autograd.grad(expected * 0.3, (hidden, weight))

    value = linear_cross_entropy(hidden, weight, targets)
    gradients = torch.autograd.grad(value * 0.3, (hidden, weight))

    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-4)
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_chunks_do_not_change_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(101, 16), torch.randn(67, 16)
    targets = torch.randint(0, 67, (101,))
    whole = linear_cross_entropy(hidden, weight, targets)
    monkeypatch.setattr(loss_module, "chunk_rows", lambda vocabulary: 7)
    torch.testing.assert_close(linear_cross_entropy(hidden, weight, targets), whole)


def test_no_target_is_no_loss() -> None:
    hidden = torch.randn(5, 4, requires_grad=True)
    weight = torch.randn(9, 4, requires_grad=True)
    value = linear_cross_entropy(hidden, weight, torch.full((5,), IGNORED))
    value.backward()
    assert value.item() == 0.0
    assert hidden.grad is not None
    assert not hidden.grad.any()


def test_bfloat16_products_stay_near() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(64, 32, requires_grad=True)
    weight = (torch.randn(200, 32) * 0.2).requires_grad_()
    targets = torch.randint(0, 200, (64,))
    exact = linear_cross_entropy(hidden, weight, targets)
    rounded = linear_cross_entropy(hidden, weight, targets, torch.bfloat16)
    torch.testing.assert_close(rounded, exact, rtol=1e-2, atol=0)
    gradient = torch.autograd.grad(rounded, weight)[0]
    assert gradient.dtype == torch.float32


def test_logits_are_never_held_whole() -> None:
    """Memory for autograd is that of the two gradients, whatever the vocabulary."""
    hidden = torch.randn(2048, 8, requires_grad=True)
    weight = torch.randn(20_000, 8, requires_grad=True)
    kept = 0

    def count(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        linear_cross_entropy(hidden, weight, torch.randint(0, 20_000, (2048,)))
    assert kept == hidden.numel() + weight.numel()
