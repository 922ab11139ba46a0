"""The chunked cross-entropy against PyTorch's."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from hyperclova.pretraining import loss as loss_module
from hyperclova.pretraining.loss import IGNORED, linear_cross_entropy, with_z_loss


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
    monkeypatch.setattr(loss_module, "chunk_rows", lambda *_: 7)
    torch.testing.assert_close(linear_cross_entropy(hidden, weight, targets), whole)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_neither_chunks_nor_pieces_change_gradients(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(101, 16, requires_grad=True)
    weight = (torch.randn(67, 16) * 0.3).requires_grad_()
    targets = torch.randint(0, 67, (101,))
    targets[::5] = IGNORED
    plain = functional.cross_entropy(hidden @ weight.t(), targets, reduction="sum")
    exact = torch.autograd.grad(plain, (hidden, weight))
    results = []
    for rows, pieces, added in ((1000, 1000, 1000), (40, 7, 30), (7, 1, 1)):
        monkeypatch.setattr(loss_module, "chunk_rows", lambda *_, rows=rows: rows)
        monkeypatch.setattr(loss_module, "_piece_rows", lambda *_, pieces=pieces: pieces)
        monkeypatch.setattr(loss_module, "_ADDED_ROWS", added)
        value = linear_cross_entropy(hidden, weight, targets, dtype)
        results.append((value, *torch.autograd.grad(value, (hidden, weight))))
    # Sums of parts are rounded to bfloat16 each; single elements of the head's gradient cancel.
    bounds = {"rtol": 1e-5, "atol": 1e-5}
    if dtype == torch.bfloat16:
        bounds = {"rtol": 2e-2, "atol": 3e-2}
    for result in results:
        for ours, theirs in zip(result, (plain, *exact), strict=True):
            torch.testing.assert_close(ours, theirs, **bounds)
        assert not result[1][::5].any()


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


def plain_z_loss(
    hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, z_weight: float
) -> torch.Tensor:
    squares = (hidden @ weight.t()).logsumexp(1).square()
    return z_weight * squares[targets != IGNORED].sum()


@settings(deadline=None, max_examples=20)
@given(
    rows=st.integers(1, 200),
    scale=st.sampled_from([0.1, 1.0, 5.0]),
    ignored=st.floats(0, 1),
    z_weight=st.sampled_from([1e-4, 0.3]),
    seed=st.integers(0, 1000),
)
def test_z_loss_and_its_gradient_are_exact(
    rows: int, scale: float, ignored: float, z_weight: float, seed: int
) -> None:
    torch.manual_seed(seed)
    hidden = (torch.randn(rows, 8, dtype=torch.float64) * scale).requires_grad_()
    weight = torch.randn(150, 8, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 150, (rows,))
    targets[torch.rand(rows) < ignored] = IGNORED
    plain = functional.cross_entropy(hidden @ weight.t(), targets, reduction="sum")
    pull = plain_z_loss(hidden, weight, targets, z_weight)
    expected_gradients = torch.autograd.grad((plain + pull) * 0.3, (hidden, weight))

    value, z_loss = with_z_loss(hidden, weight, targets, z_weight, torch.float64)
    gradients = torch.autograd.grad(value * 0.3, (hidden, weight))

    torch.testing.assert_close(value, plain, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(z_loss, pull, rtol=1e-12, atol=1e-12)
    assert not z_loss.requires_grad
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def test_z_loss_pulls_back_logits_that_drifted_together() -> None:
    """A direction that all tokens share raises all logits alike: cross-entropy does not see it."""
    torch.manual_seed(0)
    start = torch.randn(50, 8) * 0.1
    start[:, 0] = 3.0
    hidden, targets = torch.randn(64, 8) * 0.1, torch.randint(0, 50, (64,))
    hidden[:, 0] = 3.0
    normalisers = {}
    for z_weight in (0.0, 0.1):
        weight = start.clone().requires_grad_()
        optimizer = torch.optim.SGD([weight], lr=2e-2)
        for _ in range(60):
            optimizer.zero_grad()
            with_z_loss(hidden, weight, targets, z_weight)[0].backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        normalisers[z_weight] = (hidden @ weight.t()).logsumexp(1).mean().item()
    assert normalisers[0.0] > 10
    assert normalisers[0.1] < 5
