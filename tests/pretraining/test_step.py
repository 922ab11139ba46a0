"""One step: portions, clipping, schedule, decay, bits per byte."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from hyperclova.model import GPT, GPTConfig
from hyperclova.parallel.place import Placed, alone
from hyperclova.pretraining.config import OptimizerSection
from hyperclova.pretraining.loss import IGNORED
from hyperclova.pretraining.objective import CrossEntropy
from hyperclova.pretraining.optimizer import build_optimizer, learning_rate
from hyperclova.pretraining.step import bits_per_byte, training_step

SHAPE = GPTConfig(vocab_size=97, context_length=16, layers=2, width=32, heads=2)


def windows(rows: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 97, (rows, 17), generator=generator)


def placed(model: GPT, microbatch: int = 8) -> Placed:
    return alone(model, objective=CrossEntropy(torch.float32), microbatch=microbatch)


def run(
    microbatch: int, batch: torch.Tensor, clip: float = 1e9
) -> tuple[float, float, dict[str, torch.Tensor]]:
    model = GPT(SHAPE)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    loss, norm = training_step(placed(model, microbatch), optimizer, batch, clip, (0, 0))
    return loss.item(), norm.item(), model.state_dict()


@pytest.mark.parametrize("microbatch", [1, 2, 3])
def test_portions_do_not_change_the_step(microbatch: int) -> None:
    # Ragged: portions with different numbers of targets, and one with none.
    batch = windows()
    batch[0, 5:] = IGNORED
    batch[1, 1:] = IGNORED
    batch[:, :-1] = batch[:, :-1].clamp(min=0)
    batch[0, 5:], batch[1, 1:] = IGNORED, IGNORED
    inputs_are_tokens = batch.clone()
    inputs_are_tokens[inputs_are_tokens == IGNORED] = 0
    whole, portions = run(8, inputs_are_tokens), run(microbatch, inputs_are_tokens)
    assert portions[0] == pytest.approx(whole[0], rel=1e-5)
    assert portions[1] == pytest.approx(whole[1], rel=1e-4)
    for name, tensor in whole[2].items():
        torch.testing.assert_close(portions[2][name], tensor, rtol=1e-4, atol=1e-6)


def test_the_loss_is_the_plain_mean() -> None:
    batch = windows()
    model = GPT(SHAPE)
    expected = functional.cross_entropy(
        model(batch[:, :-1]).reshape(-1, 97), batch[:, 1:].reshape(-1)
    )
    assert run(4, batch)[0] == pytest.approx(expected.item(), rel=1e-5)


def test_clipping_bounds_the_step() -> None:
    before = GPT(SHAPE).state_dict()
    _, norm, after = run(8, windows(), clip=0.01)
    assert norm > 0.01  # the norm reported is the one before clipping
    moved = sum(float((after[name] - before[name]).square().sum()) for name in after) ** 0.5
    assert moved == pytest.approx(0.01, rel=1e-3)


def test_dropout_is_a_function_of_seed_step_and_portion() -> None:
    shape = GPTConfig(97, 16, layers=2, width=32, heads=2, dropout=0.5)

    def loss(seed: int, step: int) -> float:
        model = GPT(shape)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        torch.manual_seed(torch.seed() >> 1)
        return training_step(placed(model, 4), optimizer, windows(), 1.0, (seed, step))[0].item()

    assert loss(1, 1) == loss(1, 1)
    assert len({loss(1, 1), loss(1, 2), loss(2, 1)}) == 3


@given(tokens=st.integers(1, 10_000), warmup=st.integers(0, 3000))
def test_the_schedule_warms_up_and_ends_at_a_tenth(tokens: int, warmup: int) -> None:
    section = OptimizerSection(warmup_tokens=warmup)
    rate = learning_rate(tokens, 10_000, 6e-4, section)
    assert 0 < rate <= 6e-4 * (1 + 1e-9)
    if tokens < warmup:
        assert rate == pytest.approx(6e-4 * tokens / warmup)
    else:
        assert rate >= 6e-5 * (1 - 1e-9)
        later = learning_rate(tokens + 100, 10_000, 6e-4, section)
        assert later <= rate
    assert learning_rate(10_000, 10_000, 6e-4, section) == pytest.approx(6e-5)
    halfway = warmup + (10_000 - warmup) // 2
    assert learning_rate(halfway, 10_000, 6e-4, section) == pytest.approx(3.3e-4, rel=1e-3)


def test_weight_decay_is_on_matrices_only() -> None:
    model = GPT(SHAPE)
    optimizer = build_optimizer(placed(model), OptimizerSection(weight_decay=0.1), 1e-3)
    decayed = {id(p) for p in optimizer.param_groups[0]["params"]}
    assert optimizer.param_groups[0]["weight_decay"] == 0.1
    assert optimizer.param_groups[1]["weight_decay"] == 0.0
    for name, parameter in model.named_parameters():
        assert (id(parameter) in decayed) == (parameter.dim() == 2), name
    held = sum(len(group["params"]) for group in optimizer.param_groups)
    assert held == len(list(model.parameters()))


def test_bits_per_byte_by_hand() -> None:
    model = GPT(SHAPE).eval()
    batch = windows(3)
    lengths = torch.randint(1, 4, (97,))
    lengths[0] = 0
    batch[1, 5] = 0  # an end-of-text token: no bytes, no loss, but still seen
    logprobs = torch.log_softmax(model(batch[:, :-1]), dim=-1)
    targets = batch[:, 1:]
    nats = -logprobs.gather(2, targets.unsqueeze(2)).squeeze(2)[targets != 0].sum().item()
    expected = nats / math.log(2) / int(lengths[targets].sum())
    assert bits_per_byte(placed(model, 2), batch, lengths) == pytest.approx(expected)


def test_a_uniform_model_needs_the_logarithm_of_the_vocabulary() -> None:
    model = GPT(SHAPE)
    with torch.no_grad():
        model.token_embedding.weight.zero_()
    lengths = torch.full((97,), 2)
    value = bits_per_byte(placed(model, 4), windows(), lengths)
    assert value == pytest.approx(math.log2(97) / 2, rel=1e-5)
