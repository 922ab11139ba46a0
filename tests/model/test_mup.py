"""Width transfer: what stays the same over widths, and what a finished model keeps of it."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import GPT2LMHeadModel

from hyperclova.model import GPT, GPTConfig
from hyperclova.model.directory import load_model, save_model
from hyperclova.model.mup import BaseShape, rate_factor

BASE = BaseShape(width=64, heads=2)
WIDTHS = (64, 128, 256, 512)


def shaped(width: int, base: BaseShape | None, heads: int = 2) -> GPTConfig:
    return GPTConfig(96, 32, layers=2, width=width, heads=heads, base=base)


def moved(config: GPTConfig, steps: int = 3) -> dict[str, float]:
    """How far activations move, root mean square, over a few steps of Adam on one batch."""
    torch.manual_seed(0)
    model = GPT(config)
    tokens = torch.randint(0, config.vocab_size, (4, 33))
    groups = [
        {"params": [parameter], "lr": 4e-3 * rate_factor(name, parameter.dim(), config)}
        for name, parameter in model.named_parameters()
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)

    def activations() -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            found[f"attention {layer}"] = query @ key.mT * query.shape[-1] ** -0.5
            return functional.scaled_dot_product_attention(query, key, value, is_causal=True)

        hooks = [
            block.register_forward_hook(
                lambda _, __, output, name=f"block {number}": found.update({name: output})
            )
            for number, block in model.blocks.items()
        ]
        with torch.no_grad():
            found["logits"] = model(tokens[:, :-1], attend=attend)
        for hook in hooks:
            hook.remove()
        return found

    before = activations()
    for _ in range(steps):
        logits = model(tokens[:, :-1]).flatten(0, 1)
        optimizer.zero_grad()
        functional.cross_entropy(logits, tokens[:, 1:].flatten()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    after = activations()
    return {name: float((after[name] - before[name]).square().mean().sqrt()) for name in before}


def test_activations_move_equally_far_at_every_width() -> None:
    """The coordinate check of Yang et al. 2022, appendix D.1: at one learning rate, eight times
    the width multiplies what a step does, unless the width is accounted for."""
    plain = [moved(shaped(width, None)) for width in (WIDTHS[0], WIDTHS[-1])]
    transferred = [moved(shaped(width, BASE)) for width in WIDTHS]
    for name in plain[0]:
        assert plain[1][name] > 3 * plain[0][name], name
        kept = [row[name] / transferred[0][name] for row in transferred]
        assert all(1 / 3 < ratio < 3 / 2 for ratio in kept), (name, kept)
        # It comes to rest: the larger the widths, the less the difference.
        assert 2 / 3 < kept[-1] / kept[-2] < 3 / 2, (name, kept)


def test_the_base_itself_is_the_plain_model() -> None:
    plain, base = GPT(shaped(64, None)), GPT(shaped(64, BASE))
    tokens = torch.randint(0, 96, (2, 32))
    assert torch.equal(plain(tokens), base(tokens))
    for name, parameter in base.named_parameters():
        assert rate_factor(name, parameter.dim(), base.config) == 1.0


def test_learning_rates_by_kind_of_parameter() -> None:
    config = shaped(256, BASE)
    factors = {
        name: rate_factor(name, parameter.dim(), config)
        for name, parameter in GPT(config).named_parameters()
    }
    quarter = {name for name, factor in factors.items() if factor == 0.25}
    assert {name.split(".", 2)[2] for name in quarter} == {
        "attention.query_key_value.weight",
        "attention.output.weight",
        "mlp.expand.weight",
        "mlp.contract.weight",
    }
    assert {factor for name, factor in factors.items() if name not in quarter} == {1.0}
    name = "blocks.0.mlp.expand.weight"
    assert rate_factor(name, 2, config, orthogonal=True) == 0.5


@pytest.mark.parametrize("query_key_norm", [False, True])
def test_a_finished_model_needs_no_multipliers(tmp_path: Path, query_key_norm: bool) -> None:
    config = dataclasses.replace(shaped(128, BASE, heads=2), query_key_norm=query_key_norm)
    model = GPT(config).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.config.base is None
    tokens = torch.randint(0, 96, (3, 32))
    with torch.no_grad():
        expected = model(tokens)
        torch.testing.assert_close(loaded(tokens), expected, atol=1e-5, rtol=1e-5)
        if not query_key_norm:
            theirs = GPT2LMHeadModel.from_pretrained(tmp_path).eval()
            torch.testing.assert_close(theirs(tokens).logits, expected, atol=1e-5, rtol=1e-5)


def test_a_base_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="base width 65 is not a positive multiple of base heads"):
        BaseShape(65, 2)
