"""8-bit products, by PyTorch's CPU kernel of the operation that GPUs run."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hyperclova.errors import UserError
from hyperclova.model import GPT, GPTConfig
from hyperclova.parallel import float8
from hyperclova.parallel.float8 import BACKWARD, FORWARD, Float8Linear, rounded


@settings(deadline=None, max_examples=30)
@given(
    exponent=st.floats(-30, 30),
    dtype=st.sampled_from([FORWARD, BACKWARD]),
    seed=st.integers(0, 1000),
)
def test_rounding_keeps_the_largest_value_and_bounds_the_error(
    exponent: float, dtype: torch.dtype, seed: int
) -> None:
    torch.manual_seed(seed)
    tensor = torch.randn(50, 20) * 10**exponent
    stored, scale = rounded(tensor, dtype)
    back = stored.float() * scale
    assert bool(back.isfinite().all())
    largest = float(tensor.abs().max())
    assert float(back.abs().max()) == pytest.approx(largest, rel=1e-5)
    # Half a unit in the last place: 3 bits of fraction in E4M3, 2 in E5M2; below the smallest
    # normal number, half of the smallest step.
    information = torch.finfo(dtype)
    bound = (tensor.abs() * information.eps / 2).clamp_min(
        float(scale) * information.smallest_normal * information.eps / 2
    )
    assert bool(((back - tensor).abs() <= bound * 1.001).all())


def test_zeros_stay_zeros() -> None:
    stored, scale = rounded(torch.zeros(4, 4), FORWARD)
    assert torch.equal(stored.float() * scale, torch.zeros(4, 4))


def representable(*shape: int) -> torch.Tensor:
    """Small powers of two and zeros: exact in both formats, with a largest value of 1."""
    values = torch.tensor([0.0, 0.25, 0.5, 1.0, -0.25, -0.5, -1.0])[torch.randint(0, 7, shape)]
    values.view(-1)[0] = 1.0
    return values


def both() -> tuple[nn.Linear, Float8Linear]:
    plain, eight = nn.Linear(32, 48), Float8Linear(32, 48)
    eight.load_state_dict(plain.state_dict())
    return plain, eight


def test_products_of_representable_values_are_those_of_a_linear_layer() -> None:
    """A scale that is 1/448 is not a power of two; up to float32's rounding nothing is lost."""
    torch.manual_seed(0)
    plain, eight = both()
    weight = representable(48, 32)
    with torch.no_grad():
        plain.weight.copy_(weight)
        eight.weight.copy_(weight)
    x, gradient = representable(2, 16, 32), representable(2, 16, 48)
    results = []
    for layer in (plain, eight):
        inputs = x.clone().requires_grad_()
        output = layer(inputs)
        output.backward(gradient)
        assert inputs.grad is not None and layer.weight.grad is not None
        results.append((output, inputs.grad, layer.weight.grad, layer.bias.grad))
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_products_of_any_values_are_near() -> None:
    torch.manual_seed(0)
    plain, eight = both()
    x, gradient = torch.randn(64, 32) * 3, torch.randn(64, 48) * 1e-6
    results = []
    for layer in (plain, eight):
        inputs = x.clone().requires_grad_()
        output = layer(inputs)
        output.backward(gradient)
        assert inputs.grad is not None and layer.weight.grad is not None
        results.append((output.detach(), inputs.grad, layer.weight.grad))
    for ours, theirs in zip(results[1], results[0], strict=True):
        error = float((ours - theirs).norm() / theirs.norm())
        assert 1e-4 < error < 0.08, error  # rounded, and no more than that


def test_a_converted_model_has_the_same_parameters_and_learns() -> None:
    config = GPTConfig(64, 32, layers=2, width=32, heads=2)
    model = GPT(config)
    before = dict(model.state_dict())
    float8.convert(model)
    assert sum(isinstance(module, Float8Linear) for module in model.modules()) == 8
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)

    torch.manual_seed(0)
    tokens = torch.randint(0, 64, (2, 33))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(10):
        logits = model(tokens[:, :-1]).flatten(0, 1)
        loss = nn.functional.cross_entropy(logits, tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.5


def test_a_cpu_is_refused() -> None:
    config = GPTConfig(64, 32, layers=2, width=32, heads=2)
    with pytest.raises(UserError, match=r"recipe\.float8: needs a GPU .*, and this is cpu"):
        float8.check(torch.device("cpu"), config, 64, 1)


@pytest.mark.parametrize(
    ("width", "rows", "tensor_parallel", "message"),
    [
        (40, 64, 1, r"model\.width 40"),
        (32, 40, 1, r"training\.microbatch_tokens 40"),
        (32, 64, 2, r"layout\.tp"),
    ],
)
def test_sizes_that_kernels_do_not_take_are_refused(
    width: int, rows: int, tensor_parallel: int, message: str
) -> None:
    config = GPTConfig(64, 32, layers=2, width=width, heads=2)
    with pytest.raises(UserError, match=message):
        float8.check_sizes(config, rows, tensor_parallel)
