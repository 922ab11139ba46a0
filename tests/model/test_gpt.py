"""The decoder against the paper's table, closed formulas and another implementation."""

import dataclasses

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hyperclova.errors import UserError
from hyperclova.model import GPT, SIZES, GPTConfig, cost
from hyperclova.model.init import STANDARD_DEVIATION
from hyperclova.model.mup import BaseShape

TINY = GPTConfig(vocab_size=300, context_length=64, layers=3, width=48, heads=4)

# Kim et al. 2021, Table 2: layers, width, heads, head size, learning rate.
TABLE_2 = {
    "137M": (12, 768, 16, 48, 6.0e-4),
    "350M": (24, 1024, 16, 64, 3.0e-4),
    "760M": (24, 1536, 16, 96, 2.5e-4),
    "1.3B": (24, 2048, 16, 128, 2.0e-4),
    "6.9B": (32, 4096, 32, 128, 1.2e-4),
    "13B": (40, 5120, 40, 128, 1.0e-4),
    "39B": (48, 8192, 64, 128, 0.8e-4),
    "82B": (64, 10240, 80, 128, 0.6e-4),
}

# With a vocabulary of 51,200 and a context of 2,048.
PARAMETERS = {
    "137M": 125_950_464,
    "350M": 356_837_376,
    "760M": 761_748_480,
    "1.3B": 1_317_654_528,
    "6.9B": 6_662_266_880,
    "13B": 12_858_214_400,
    "39B": 39_096_041_472,
    "82B": 81_084_436_480,
}


@pytest.mark.parametrize("name", TABLE_2)
def test_sizes_are_those_of_table_2(name: str) -> None:
    size = SIZES[name]
    row = (size.layers, size.width, size.heads, size.head_width, size.learning_rate)
    assert row == TABLE_2[name]
    assert size.heads * size.head_width == size.width


def test_there_are_eight_sizes_in_the_order_of_the_table() -> None:
    assert list(SIZES) == list(TABLE_2)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts_are_stated_and_equal_the_formula(name: str) -> None:
    with torch.device("meta"):
        model = GPT.from_size(name)
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert counted == PARAMETERS[name] == cost.parameters(model.config)


def test_an_unknown_size_names_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'1\.2B'.*1\.3B"):
        GPT.from_size("1.2B")


def test_flops_per_token_equal_the_flop_counter() -> None:
    model = GPT(TINY)
    tokens = torch.randint(0, TINY.vocab_size, (2, 40))
    # The counter knows attention as two batched products; the fused CPU kernel is unknown to it.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as forward:
        logits = model(tokens)
    assert forward.get_total_flops() == 80 * cost.forward_flops_per_token(TINY, 40)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    both = forward.get_total_flops() + backward.get_total_flops()
    assert both == 80 * cost.training_flops_per_token(TINY, 40)


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        dataclasses.replace(TINY, query_key_norm=True),
        dataclasses.replace(TINY, base=BaseShape(24, 4)),
        dataclasses.replace(TINY, query_key_norm=True, base=BaseShape(24, 4)),
    ],
)
def test_activation_bytes_equal_what_autograd_keeps(config: GPTConfig) -> None:
    model = GPT(config)
    tokens = torch.randint(0, TINY.vocab_size, (2, 40))
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if tensor.is_floating_point() and storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = model.hidden(tokens)
    assert hidden.requires_grad
    expected = cost.activation_bytes(config, batch=2, time=40)
    assert sum(storage.nbytes() for storage in kept.values()) == expected


def test_kv_cache_bytes() -> None:
    # 2 (key, value) x 12 layers x 768 x 4 bytes, a token.
    config = GPTConfig(51_200, 2048, layers=12, width=768, heads=16)
    assert cost.kv_cache_bytes(config) == 73_728
    assert cost.kv_cache_bytes(config, tokens=2048, bytes_per_element=2) == 2048 * 36_864


def test_initial_weights_depend_on_seed_and_name_alone() -> None:
    torch.manual_seed(1)
    first = GPT(TINY, seed=3).state_dict()
    torch.manual_seed(2)
    second, other = GPT(TINY, seed=3).state_dict(), GPT(TINY, seed=4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    name = "blocks.1.mlp.expand.weight"
    assert not torch.equal(first[name], other[name])
    # A model with fewer layers has the same first layers.
    shallow = GPT(GPTConfig(300, 64, layers=2, width=48, heads=4), seed=3).state_dict()
    assert torch.equal(first[name], shallow[name])


def test_initial_weights_follow_gpt_2() -> None:
    config = GPTConfig(2000, 256, layers=8, width=128, heads=4)
    state = GPT(config).state_dict()
    for name, tensor in state.items():
        if tensor.dim() == 1:
            expected = 1.0 if name.endswith("norm.weight") else 0.0
            assert bool((tensor == expected).all()), name
            continue
        residual = name.endswith(("attention.output.weight", "mlp.contract.weight"))
        deviation = STANDARD_DEVIATION / (16**0.5 if residual else 1)
        assert tensor.std().item() == pytest.approx(deviation, rel=0.03), name


def test_the_future_does_not_change_the_past() -> None:
    model = GPT(TINY).eval()
    tokens = torch.randint(0, TINY.vocab_size, (1, 30))
    changed = tokens.clone()
    changed[0, 20:] = (changed[0, 20:] + 1) % TINY.vocab_size
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :20], after[:, :20])
    assert not torch.allclose(before[:, 20], after[:, 20])


def test_embeddings_stand_in_for_tokens() -> None:
    model = GPT(TINY).eval()
    tokens = torch.randint(0, TINY.vocab_size, (2, 10))
    embeddings = model.token_embedding(tokens)
    torch.testing.assert_close(model(embeddings=embeddings), model(tokens))
    with pytest.raises(ValueError, match="either"):
        model(tokens, embeddings=embeddings)
    with pytest.raises(ValueError, match="either"):
        model()


def test_own_attention_and_positions() -> None:
    """Attending over kept keys and values, token by token, gives the same logits."""
    model = GPT(TINY).eval()
    tokens = torch.randint(0, TINY.vocab_size, (2, 12))
    kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def attend(
        layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        if layer in kept:
            key = torch.cat([kept[layer][0], key], dim=2)
            value = torch.cat([kept[layer][1], value], dim=2)
        kept[layer] = (key, value)
        return torch.nn.functional.scaled_dot_product_attention(query, key, value)

    steps = [
        model(
            tokens[:, position : position + 1],
            positions=torch.full((2, 1), position),
            attend=attend,
        )
        for position in range(12)
    ]
    torch.testing.assert_close(torch.cat(steps, dim=1), model(tokens), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 50}, "width 50 is not a multiple of heads 4"),
        ({"layers": 0}, "layers is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_impossible_shapes_are_refused(change: dict[str, float], message: str) -> None:
    shape = {"vocab_size": 300, "context_length": 64, "layers": 3, "width": 48, "heads": 4}
    with pytest.raises(ValueError, match=message):
        GPTConfig(**{**shape, **change})  # type: ignore[arg-type]
