"""Causal attention as matrix products, against PyTorch's."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from hyperclova.model import GPTConfig
from hyperclova.parallel import attention, place
from hyperclova.parallel.attention import causal_attention
from hyperclova.parallel.layout import Layout
from hyperclova.parallel.part import Recompute
from hyperclova.pretraining.objective import CrossEntropy


def packed(rows: int, heads: int, time: int, width: int, dtype: torch.dtype) -> list[Tensor]:
    """Query, key and value as the model makes them: views of one projection."""
    projection = torch.randn(rows, time, heads, 3, width).to(dtype)
    return [each.transpose(1, 2).requires_grad_() for each in projection.unbind(3)]


@pytest.mark.parametrize("time", [1, 5, 8, 19])
def test_values_and_gradients_are_exact(time: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_BLOCK", 8)
    torch.manual_seed(0)
    inputs = packed(2, 3, time, 4, torch.float64)
    plain = functional.scaled_dot_product_attention(*inputs, is_causal=True)
    above = torch.randn_like(plain)
    ours = causal_attention(0, *inputs)
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
    for one, other in zip(
        torch.autograd.grad(ours, inputs, above),
        torch.autograd.grad(plain, inputs, above),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_in_bfloat16_it_errs_no_more_than_the_fused_kernel(scale: float) -> None:
    torch.manual_seed(0)
    inputs = [
        (each * scale).detach().requires_grad_() for each in packed(1, 4, 300, 48, torch.bfloat16)
    ]
    wide = [each.detach().double().requires_grad_() for each in inputs]
    exact = functional.scaled_dot_product_attention(*wide, is_causal=True)
    above = torch.randn_like(exact).bfloat16()
    references = (exact, *torch.autograd.grad(exact, wide, above.double()))

    def errors(attended: Tensor) -> list[float]:
        results = (attended, *torch.autograd.grad(attended, inputs, above))
        return [
            ((one.double() - other).norm() / other.norm()).item()
            for one, other in zip(results, references, strict=True)
        ]

    ours = errors(causal_attention(0, *inputs))
    fused = errors(functional.scaled_dot_product_attention(*inputs, is_causal=True))
    assert max(ours) <= 1.2 * max(fused)


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_it_is_used_where_it_was_measured_to_be_faster(
    recompute: Recompute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And then a model computes what it computes with PyTorch's kernel, up to rounding."""
    tokens = torch.randint(0, 60, (2, 17), generator=torch.Generator().manual_seed(0))
    losses, gradients = [], []
    for here in (False, True):
        monkeypatch.setattr(place, "products_outrun_attention", lambda *_, here=here: here)
        placed = place.place(
            GPTConfig(60, 16, layers=2, width=32, heads=4),
            seed=0,
            layout=Layout(recompute=recompute).resolve(1),
            device=torch.device("cpu"),
            dtype=torch.float32,
            objective=CrossEntropy(torch.float32),
            sequence_length=16,
            microbatch=2,
            batch=2,
        )
        assert (placed.parts[0].attend is not None) == here
        losses.append(placed.train(tokens, torch.tensor(32.0)))
        gradients.append({name: each.grad for name, each in placed.trained()})
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=0)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)
