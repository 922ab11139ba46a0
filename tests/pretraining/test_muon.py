"""Muon: the orthogonalisation, which parameters it moves and how, and whole runs with it."""

import copy
import dataclasses
import json
import signal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_run import Recorder, elsewhere, same_bits, trained
from torch import Tensor

from hyperclova.errors import UserError
from hyperclova.model import GPT, GPTConfig
from hyperclova.parallel.place import alone
from hyperclova.pretraining import checkpoint
from hyperclova.pretraining.config import OptimizerSection, PretrainingConfig
from hyperclova.pretraining.export import export_run, import_model
from hyperclova.pretraining.loop import Interrupted, pretrain
from hyperclova.pretraining.muon import Muon, orthogonalised
from hyperclova.pretraining.objective import CrossEntropy
from hyperclova.pretraining.optimizer import build_optimizer
from hyperclova.pretraining.step import training_step

SHAPE = GPTConfig(vocab_size=97, context_length=16, layers=2, width=32, heads=2)
MUON = OptimizerSection(name="muon")
RATE = 1e-2


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def newton_schulz(values: Tensor) -> Tensor:
    """What five steps make of the singular values of a matrix whose Frobenius norm is one."""
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return values


def with_gradients(seed: int = 3) -> GPT:
    """A model after a backward pass: every parameter has its gradient."""
    model = GPT(SHAPE)
    tokens = torch.randint(0, 97, (4, 16), generator=torch.Generator().manual_seed(seed))
    model(tokens).logsumexp(-1).mean().backward()
    return model


def set_gradients(model: GPT, seed: int) -> dict[str, Tensor]:
    """Give every parameter a random gradient; returns copies of them by name."""
    gradients = {}
    for number, (name, parameter) in enumerate(model.named_parameters()):
        parameter.grad = random(*parameter.shape, seed=1000 * seed + number).float()
        gradients[name] = parameter.grad.clone()
    return gradients


# Orthogonalisation


def test_the_polynomial_brings_singular_values_near_one() -> None:
    values = newton_schulz(torch.linspace(0.002, 1, 1_000_000, dtype=torch.float64))
    assert values.min() > 0.68 and values.max() < 1.21
    tiny = torch.logspace(-8, -2.9, 1000, dtype=torch.float64)
    assert (newton_schulz(tiny) <= 485 * tiny).all()


@pytest.mark.parametrize(
    "shape",
    [(1, 96, 32), (1, 32, 96), (1, 48, 48), (5, 64, 16)],
    ids=["tall", "wide", "square", "batch"],
)
def test_singular_values_change_and_directions_stay(shape: tuple[int, int, int]) -> None:
    matrices = random(*shape)
    u, values, v = torch.linalg.svd(matrices, full_matrices=False)
    values = newton_schulz(values / values.norm(dim=-1, keepdim=True))
    expected = u @ torch.diag_embed(values) @ v
    result = orthogonalised(matrices)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-9)
    single = orthogonalised(matrices.float())
    torch.testing.assert_close(single, expected.float(), rtol=0, atol=1e-3)
    # Random matrices have few directions that are hardly there, so U Vᵀ is nearly met.
    cosine = torch.cosine_similarity(result.flatten(1), (u @ v).flatten(1), dim=1)
    assert cosine.min() > 0.97
    if shape[1] != shape[2]:
        assert values.min() > 0.6 and values.max() < 1.3


def test_each_matrix_of_a_batch_is_treated_alone_whatever_its_size() -> None:
    matrices = random(3, 24, 16)
    scaled = matrices * torch.tensor([1e-4, 1.0, 1e6])[:, None, None]
    together = orthogonalised(matrices)
    torch.testing.assert_close(orthogonalised(scaled), together)
    for matrix, result in zip(matrices, together, strict=True):
        torch.testing.assert_close(orthogonalised(matrix[None])[0], result)


def test_zeros_stay_zeros() -> None:
    matrices = torch.stack([torch.zeros(8, 4), random(8, 4).float()])
    result = orthogonalised(matrices)
    assert torch.equal(result[0], torch.zeros(8, 4))
    assert result.isfinite().all()


@given(st.floats(1e-38, 1e-8), st.integers(0, 1000))
@settings(max_examples=30)
def test_vanishing_gradients_give_no_large_update(size: float, seed: int) -> None:
    result = orthogonalised(random(1, 6, 9, seed=seed).float() * size)
    assert result.isfinite().all()
    assert torch.linalg.svdvals(result).max() < 1.21


# Parameters and their updates


def test_muon_takes_the_matrices_of_the_blocks_and_nothing_else() -> None:
    model = GPT(SHAPE)
    optimizer = build_optimizer(alone(model), MUON, RATE)
    names = {parameter: name for name, parameter in model.named_parameters()}
    (group,) = [group for group in optimizer.param_groups if group.get("orthogonal")]
    kinds = ("query_key_value", "output", "expand", "contract")
    matrices = [names[parameter] for parameter in group["params"]]
    taken = dict(zip(matrices, group["heads"], strict=True))
    assert len(taken) == SHAPE.layers * len(kinds)
    assert all(name.startswith("blocks.") and name.endswith(".weight") for name in taken)
    assert taken == {name: SHAPE.heads * ("query_key_value" in name) for name in taken}
    decays = {
        names[parameter]: group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert sorted(decays) == sorted(names.values())
    assert all((decays[name] > 0) == (model.get_parameter(name).dim() == 2) for name in decays)


def test_off_by_default() -> None:
    optimizer = build_optimizer(alone(GPT(SHAPE)), OptimizerSection(), RATE)
    assert not any(group.get("orthogonal") for group in optimizer.param_groups)


def adamw(model: GPT, names: list[str], section: OptimizerSection) -> torch.optim.AdamW:
    parameters = [model.get_parameter(name) for name in names]
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": 0.1},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=RATE,
        betas=(section.beta1, section.beta2),
        eps=section.epsilon,
        fused=True,
    )


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_all_others_follow_adamw_to_the_last_bit(name: str) -> None:
    section = OptimizerSection(name=name)  # type: ignore[arg-type]
    ours, theirs = GPT(SHAPE), GPT(SHAPE)
    names = [
        parameter_name
        for parameter_name, parameter in theirs.named_parameters()
        if name == "adamw" or parameter.dim() < 2 or "blocks." not in parameter_name
    ]
    optimizer, reference = (
        build_optimizer(alone(ours), section, RATE),
        adamw(theirs, names, section),
    )
    groups = list(optimizer.param_groups)
    for step in range(5):
        gradients = set_gradients(ours, step)
        for parameter_name, parameter in theirs.named_parameters():
            parameter.grad = gradients[parameter_name]
        optimizer.step()
        reference.step()
    assert optimizer.param_groups == groups
    for parameter_name in names:
        mine, other = ours.get_parameter(parameter_name), theirs.get_parameter(parameter_name)
        assert torch.equal(mine, other), parameter_name
        for moment, tensor in reference.state[other].items():
            assert torch.equal(optimizer.state[mine][moment], tensor), (parameter_name, moment)


def stepped(model: GPT, steps: int = 4) -> tuple[GPT, Muon, list[dict[str, Tensor]]]:
    """The model after some steps of Muon on random gradients, and those gradients."""
    optimizer, gradients = build_optimizer(alone(model), MUON, RATE), []
    for step in range(steps):
        gradients.append(set_gradients(model, step))
        optimizer.step()
    return model, optimizer, gradients


def parts(matrix: Tensor, fused: bool) -> list[Tensor]:
    """Query, key and value of a fused projection, which lies head by head; else the matrix."""
    if not fused:
        return [matrix]
    rows = torch.arange(len(matrix)).view(SHAPE.heads, 3, SHAPE.head_width)
    return [matrix[rows[:, kind].flatten()] for kind in range(3)]


def test_the_matrices_follow_the_formulas_and_fused_projections_are_three() -> None:
    """Against the definition in double precision, with an exact decomposition in place of steps."""
    model, _, gradients = stepped(GPT(SHAPE))
    initial = GPT(SHAPE)
    for name in ("blocks.0.attention.query_key_value.weight", "blocks.1.mlp.expand.weight"):
        fused = "query_key_value" in name
        for part, after in enumerate(parts(model.get_parameter(name).detach(), fused)):
            weight = parts(initial.get_parameter(name).detach(), fused)[part].double()
            momentum = torch.zeros_like(weight)
            for gradient in gradients:
                slope = parts(gradient[name], fused)[part].double()
                momentum = 0.95 * momentum + 0.05 * slope
                ahead = 0.95 * momentum + 0.05 * slope
                u, values, v = torch.linalg.svd(ahead, full_matrices=False)
                direction = u * newton_schulz(values / values.norm()) @ v
                weight = weight * (1 - RATE * 0.1)
                weight = weight - RATE * 0.2 * max(weight.shape) ** 0.5 * direction
            torch.testing.assert_close(after.double(), weight, rtol=0, atol=1e-5)


def test_torch_agrees() -> None:
    """PyTorch's Muon steps in bfloat16, so it agrees about as far as that goes."""
    model, _, gradients = stepped(GPT(SHAPE))
    initial = GPT(SHAPE)
    names = [n for n, p in initial.named_parameters() if "blocks." in n and p.dim() == 2]
    names = [name for name in names if "query_key_value" not in name]  # theirs does not split it
    assert names
    theirs = copy.deepcopy(initial)
    reference = torch.optim.Muon(
        [theirs.get_parameter(name) for name in names],
        lr=RATE,
        weight_decay=0.1,
        momentum=0.95,
        adjust_lr_fn="match_rms_adamw",
    )
    for gradient in gradients:
        for name in names:
            theirs.get_parameter(name).grad = gradient[name]
        reference.step()
    for name in names:
        before = initial.get_parameter(name).detach()
        ours = model.get_parameter(name).detach() - before
        other = theirs.get_parameter(name).detach() - before
        assert torch.cosine_similarity(ours.flatten(), other.flatten(), dim=0) > 0.999, name
        assert ours.norm() / other.norm() == pytest.approx(1, abs=0.01)


def test_an_update_is_as_large_as_one_of_adamw() -> None:
    """About 0.2 of the learning rate in every matrix, whatever its shape and its gradient."""
    model = with_gradients()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    section = dataclasses.replace(MUON, weight_decay=0.0)
    optimizer = build_optimizer(alone(model), section, RATE)
    optimizer.step()
    (group,) = [group for group in optimizer.param_groups if group.get("orthogonal")]
    for name, parameter in model.named_parameters():
        if any(parameter is other for other in group["params"]):
            size = (parameter - before[name]).square().mean().sqrt() / RATE
            assert 0.1 < size < 0.22, name


def test_gradients_of_zero_and_none_at_all_do_no_harm() -> None:
    model = with_gradients()
    still = model.get_parameter("blocks.0.mlp.expand.weight")
    absent = model.get_parameter("blocks.1.mlp.expand.weight")
    part = model.get_parameter("blocks.1.attention.query_key_value.weight")
    before = {p: p.detach().clone() for p in (still, absent, part)}
    optimizer = build_optimizer(alone(model), MUON, RATE)
    for _ in range(3):
        assert still.grad is not None and part.grad is not None
        still.grad.zero_()
        absent.grad = None
        part.grad.unflatten(0, (SHAPE.heads, 3, -1))[:, 0].zero_()  # the queries only
        optimizer.step()
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert all(
        moment.isfinite().all() for state in optimizer.state.values() for moment in state.values()
    )
    assert torch.equal(absent, before[absent])
    assert absent not in optimizer.state
    shrunk = (1 - RATE * 0.1) ** 3  # weight decay alone
    torch.testing.assert_close(still, before[still] * shrunk)
    queries, *others = zip(parts(part, True), parts(before[part], True), strict=True)
    torch.testing.assert_close(queries[0], queries[1] * shrunk)
    for now, then in others:
        assert not torch.allclose(now, then * shrunk)


def test_a_closure_is_called_once_before_both_kinds() -> None:
    model = GPT(SHAPE)
    optimizer = build_optimizer(alone(model), MUON, RATE)
    tokens = torch.randint(0, 97, (4, 16), generator=torch.Generator().manual_seed(3))
    calls = []

    def closure() -> float:
        optimizer.zero_grad()
        loss = model(tokens).logsumexp(-1).mean()
        loss.backward()
        calls.append(loss.item())
        return loss.item()

    assert optimizer.step(closure) == calls[0]
    assert len(calls) == 1
    assert len(optimizer.state) == len(list(model.parameters()))


def test_it_learns_by_heart() -> None:
    windows = torch.randint(0, 97, (8, 17), generator=torch.Generator().manual_seed(1))
    placed = alone(GPT(SHAPE), objective=CrossEntropy(torch.float32), microbatch=8)
    optimizer = build_optimizer(placed, MUON, 3e-3)
    for step in range(60):
        loss, _ = training_step(placed, optimizer, windows, 1.0, (0, step))
    assert loss < 1.5  # of ln 97 = 4.6


# Whole runs


@pytest.fixture
def muon(config: PretrainingConfig) -> PretrainingConfig:
    return dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, name="muon"))


def test_a_checkpoint_gives_back_every_bit(muon: PretrainingConfig) -> None:
    model, optimizer, _ = stepped(GPT(SHAPE))
    state = checkpoint.TrainingState(4, 1024, 5, "fingerprint", "muon")
    writer = checkpoint.Checkpoints(muon.directory, keep=1)
    path = writer.save(state, alone(model), optimizer)
    writer.close()
    other = GPT(SHAPE, seed=1)
    restored = build_optimizer(alone(other), MUON, RATE)
    assert checkpoint.load(path, alone(other), restored) == state
    assert same_bits(model, other)
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert set(restored.state[theirs]) == {"exp_avg", "exp_avg_sq", "step"}
        for moment, tensor in optimizer.state[mine].items():
            assert torch.equal(restored.state[theirs][moment], tensor)


@pytest.mark.parametrize("stop_after", [1, 7])
def test_a_resumed_run_ends_at_the_same_bits(muon: PretrainingConfig, stop_after: int) -> None:
    whole, first, second = Recorder(), Recorder(stop_after), Recorder()
    expected = trained(elsewhere(muon, "whole"), whole)
    with pytest.raises(Interrupted) as stopped:
        pretrain(muon, first)
    assert stopped.value.signal_number == signal.SIGTERM
    assert same_bits(expected, trained(muon, second, resume=True))
    assert first.losses | second.losses == whole.losses
    record = json.loads((muon.directory / "run.json").read_text())
    assert record["configuration"]["optimizer"]["name"] == "muon"


@pytest.mark.parametrize(("begun", "wanted"), [("adamw", "muon"), ("muon", "adamw")])
def test_another_optimiser_is_refused_in_the_middle_of_a_run(
    config: PretrainingConfig, begun: str, wanted: str
) -> None:
    def using(name: str) -> PretrainingConfig:
        section = dataclasses.replace(config.optimizer, name=name)  # type: ignore[arg-type]
        return dataclasses.replace(config, optimizer=section)

    with pytest.raises(Interrupted):
        pretrain(using(begun), Recorder(4))
    with pytest.raises(
        UserError, match=f"was begun with optimizer.name={begun}; go on with it, or"
    ):
        pretrain(using(wanted), Recorder(), resume=True)
    recorder = Recorder()
    pretrain(using(begun), recorder, resume=True)
    assert recorder.events[0] == ("begin", 4)


def test_a_checkpoint_that_does_not_name_its_optimiser_is_taken(muon: PretrainingConfig) -> None:
    """As they were before checkpoints did."""
    whole = trained(elsewhere(muon, "whole"), Recorder())
    with pytest.raises(Interrupted):
        pretrain(muon, Recorder(4))
    path = checkpoint.path_of(muon.directory / "checkpoints", 4) / "state.json"
    state = json.loads(path.read_text())
    assert state.pop("optimizer") == "muon"
    path.write_text(json.dumps(state))
    assert same_bits(whole, trained(muon, Recorder(), resume=True))


def test_weights_of_one_begin_a_run_of_the_other(muon: PretrainingConfig) -> None:
    fresh = Recorder()
    first = elsewhere(muon, "first")
    pretrain(first, fresh)
    model = muon.directory.with_name("model")
    export_run(first.directory, model)
    for name in ("adamw", "muon"):
        section = dataclasses.replace(muon.optimizer, name=name)
        run = dataclasses.replace(elsewhere(muon, f"on-{name}"), optimizer=section)
        import_model(model, run.directory)
        recorder = Recorder()
        pretrain(run, recorder, resume=True)
        assert recorder.events[0] == ("begin", 0)
        assert recorder.losses[1] < fresh.losses[1]  # the weights have come along


@pytest.mark.parametrize("name", ["beta1", "beta2", "momentum"])
def test_a_memory_that_never_forgets_is_refused(name: str) -> None:
    for value in (1.0, -0.1):
        with pytest.raises(ValueError, match=f"{name} is {value}; it must be from 0 to below 1"):
            OptimizerSection(**{name: value})  # type: ignore[arg-type]
