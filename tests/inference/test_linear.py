"""Packed matrices: each row by itself, products as of plain ones, integer sums that are exact."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hyperclova.inference.linear import Int8Linear, Kind, PackedLinear, pack
from hyperclova.inference.native import load
from hyperclova.inference.native.linear import NativeFloatLinear, NativeInt8Linear, NativeLinear
from hyperclova.inference.native.norm import NativeLayerNorm
from hyperclova.model import GPT, GPTConfig

pytestmark = pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")

SHAPES = [(64, 192), (256, 64), (64, 496), (96, 250), (7, 3), (1, 1), (2052, 33), (3072, 64)]
INT8 = [Int8Linear, NativeInt8Linear]
FLOAT = [PackedLinear, NativeFloatLinear]
OURS = [NativeFloatLinear, NativeInt8Linear]
KINDS: list[Kind] = [*FLOAT, *INT8]


def limit(kind: Kind) -> int:
    """The largest weight that the processor's kernel can take without overflowing its sums."""
    if kind is NativeInt8Linear:
        library = load()
        return library.weight_limit() if library is not None else 127
    return 127 if torch.cpu._is_vnni_supported() else 63


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def packed(kind: Kind, weight: Tensor, bias: Tensor | None) -> nn.Module:
    there = kind.available(weight) if kind is PackedLinear else kind.available()
    if not there:
        pytest.skip(f"no kernels for {kind.__name__} here")
    return kind(weight, bias)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("inputs", "outputs"), SHAPES)
def test_a_row_does_not_depend_on_the_others(kind: Kind, inputs: int, outputs: int) -> None:
    layer = packed(kind, normal(outputs, inputs), normal(outputs, seed=1))
    x = normal(130, inputs, seed=2)
    x[7] *= 1e6  # with one scale for all rows, this one would take the digits from the others
    expected = torch.cat([layer(row[None]) for row in x])
    for rows in (1, 2, 3, 4, 5, 8, 9, 16, 17, 64, 65, 129):
        assert torch.equal(layer(x[:rows]), expected[:rows]), rows
        assert torch.equal(layer(x[None, -rows:])[0], expected[-rows:]), rows
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(3))
    assert torch.equal(layer(x[order]), expected[order])


@pytest.mark.parametrize("kind", FLOAT)
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 16, 70])
def test_packed_matrices_multiply_as_plain_ones(kind: Kind, rows: int) -> None:
    weight, bias, x = normal(250, 96), normal(250, seed=1), normal(2, rows, 96, seed=2)
    found = packed(kind, weight, bias)(x)
    torch.testing.assert_close(found, nn.functional.linear(x, weight, bias), atol=1e-4, rtol=1e-5)
    found = packed(kind, weight, None)(x)
    torch.testing.assert_close(found, nn.functional.linear(x, weight), atol=1e-4, rtol=1e-5)


# -- integers --------------------------------------------------------------------------------------


def rounding_bound(kind: Kind, weight: Tensor, x: Tensor) -> Tensor:
    """How far a product of rounded numbers can be from the true one, ``(rows, outputs)``."""
    step_w = weight.abs().amax(1) / limit(kind) / 2
    step_x = x.abs().amax(1, keepdim=True) / 127 / 2
    return (
        step_x * weight.abs().sum(1)
        + x.abs().sum(1, keepdim=True) * step_w
        + x.shape[1] * step_x * step_w
    )


@pytest.mark.parametrize("kind", INT8)
@pytest.mark.parametrize(("inputs", "outputs"), SHAPES)
def test_the_error_is_that_of_rounding(kind: Kind, inputs: int, outputs: int) -> None:
    weight, bias = normal(outputs, inputs), normal(outputs, seed=1)
    x = normal(40, inputs, seed=2) * torch.logspace(-6, 6, 40)[:, None]
    exact = nn.functional.linear(x.double(), weight.double(), bias.double())
    error = (packed(kind, weight, bias)(x) - exact).abs()
    slack = 1e-5 * (exact.abs() + 1)
    assert (error <= rounding_bound(kind, weight.double(), x.double()) + slack).all()
    # Errors are random: on the whole they are far from their bound.
    relative = error.square().mean().sqrt() / exact.square().mean().sqrt()
    assert relative < 0.02


WHOLE = st.integers(-127, 127) | st.sampled_from([-127, 127])


@pytest.mark.parametrize("kind", INT8)
@settings(max_examples=60)
@given(
    data=st.data(),
    inputs=st.sampled_from([1, 2, 3, 4, 5, 16, 31, 64, 257, 1024]),
    rows=st.integers(1, 5),
    outputs=st.integers(1, 17),
)
def test_sums_of_integers_are_exact(
    kind: Kind, data: st.DataObject, inputs: int, rows: int, outputs: int
) -> None:
    """Weights and activations that need no rounding, up to the extremes in every place: the sums
    are those of 64-bit integers."""
    pattern = data.draw(st.sampled_from(["random", "extreme", "largest"]))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**32)))

    def draw(count: int, most: int) -> Tensor:
        if pattern == "random":
            return torch.randint(-most, most + 1, (count, inputs), generator=generator)
        signs = torch.randint(0, 2, (count, inputs), generator=generator) * 2 - 1
        if pattern == "largest":
            signs = signs[:, :1].expand(-1, inputs).clone()  # all of a row's have one sign
        return signs * most

    weight, x = draw(outputs, limit(kind)), draw(rows, 127)
    weight[:, 0], x[:, 0] = limit(kind), 127  # the largest magnitude makes the scale 1
    found = packed(kind, weight.float(), None)(x.float())
    expected = x @ weight.T
    assert expected.dtype == torch.int64
    # The scales are floating-point numbers, whose digits the largest sums exceed.
    torch.testing.assert_close(found.double(), expected.double(), rtol=1e-6, atol=1e-2)
    assert torch.equal(
        found.double().round().long()[expected.abs() < 2**20], expected[expected.abs() < 2**20]
    )


@pytest.mark.parametrize("kind", INT8)
@pytest.mark.parametrize("inputs", [2, 64, 1024, 8192])
def test_extremes_do_not_overflow(kind: Kind, inputs: int) -> None:
    """All products at their largest, of either sign: pairs of them must fit where the kernel adds
    them."""
    signs = torch.tensor([[1.0], [-1.0]])
    weight = signs.expand(2, inputs).contiguous() * 3.7
    x = signs.expand(2, inputs).contiguous() * 0.2
    exact = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]) * inputs * 3.7 * 0.2
    torch.testing.assert_close(packed(kind, weight, None)(x), exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", INT8)
def test_rows_and_columns_of_zeros(kind: Kind) -> None:
    weight, bias, x = normal(6, 64), normal(6, seed=1), normal(5, 64, seed=2)
    weight[2], weight[:, 9] = 0, 0
    x[3], x[:, 20] = 0, 0
    found = packed(kind, weight, bias)(x)
    assert torch.equal(found[3], bias)
    assert torch.equal(found[:, 2], bias[2].expand(5))
    assert torch.isfinite(found).all()
    without = packed(kind, weight, None)(x)
    assert torch.equal(without[3], torch.zeros(6))
    nothing = packed(kind, torch.zeros(6, 64), bias)(torch.zeros(2, 64))
    assert torch.equal(nothing, bias.expand(2, 6))


@pytest.mark.parametrize("kind", INT8)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_tiny_and_huge_numbers(kind: Kind, scale: float) -> None:
    """Scales are floating-point numbers: what is multiplied may be of any size."""
    weight, x = normal(8, 64), normal(3, 64, seed=1)
    expected = packed(kind, weight, None)(x)
    torch.testing.assert_close(
        packed(kind, weight, None)(x * scale) / scale, expected, rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        packed(kind, weight * scale, None)(x) / scale, expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("kind", KINDS)
def test_packing_replaces_every_linear_layer(
    kind: Kind,
) -> None:
    packed(kind, normal(8, 16), None)  # or be skipped
    inner = nn.Sequential(nn.Linear(16, 16), nn.LayerNorm(16))
    model = nn.Sequential(nn.Linear(8, 16), inner, nn.GELU(), nn.Linear(16, 4))
    x = normal(3, 8)
    with torch.inference_mode():
        expected = model(x)
        pack(model, kind)
        kinds = [type(each) for each in model.modules() if not list(each.children())]
        norm = NativeLayerNorm if issubclass(kind, NativeLinear) else nn.LayerNorm
        assert kinds == [kind, kind, norm, nn.GELU, kind]
        torch.testing.assert_close(model(x), expected, atol=0.05, rtol=0)


# -- our own kernels -------------------------------------------------------------------------------


def test_own_kernels_round_as_torchs() -> None:
    weight, bias, x = normal(250, 96), normal(250, seed=1), normal(70, 96, seed=2)
    theirs = packed(Int8Linear, weight, bias)(x)
    torch.testing.assert_close(packed(NativeInt8Linear, weight, bias)(x), theirs)


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("rows", [1, 2, 5, 6, 7, 40])
def test_an_activation_in_the_same_pass(kind: type[NativeLinear], rows: int) -> None:
    weight, bias, x = normal(250, 96), normal(250, seed=1), normal(rows, 96, seed=2)
    plain = packed(kind, weight, bias)(x)
    found = kind(weight, bias, "gelu")(x)
    expected = nn.functional.gelu(plain.double(), approximate="tanh").float()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", OURS)
def test_rows_apart_from_each_other(kind: Kind) -> None:
    """Rows of a wider table, as a cut of one projection's outputs is."""
    layer = packed(kind, normal(20, 64), None)
    wide = normal(2, 9, 128, seed=2)
    expected = layer(wide[..., :64].contiguous())
    assert torch.equal(layer(wide[..., :64]), expected)
    assert torch.equal(layer(wide[0].t()[:64].t()), expected[0])
    assert layer(wide[:, :0, :64]).shape == (2, 0, 20)


def test_a_model_in_8_bits_on_either_kernel() -> None:
    packed(NativeInt8Linear, normal(8, 16), None)  # or be skipped
    tokens = torch.arange(40)[None] % 50
    logits = []
    for kind in INT8:
        model = GPT(GPTConfig(50, context_length=64, layers=2, width=64, heads=4), seed=1)
        with torch.inference_mode():
            pack(model, kind)
            logits.append(model(tokens))
    torch.testing.assert_close(*logits, atol=1e-2, rtol=1e-2)
    assert not torch.equal(*logits)  # GELU is another one: both were used
