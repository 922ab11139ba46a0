"""Gradients with respect to input embeddings, held against definitions and plain autograd."""

import functools
import math
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hyperclova.errors import UserError
from hyperclova.inference import Engine
from hyperclova.inference.gradient_rows import RowBuilder
from hyperclova.inference.gradients import Differentiator, batch_bytes
from hyperclova.inference.protocol import GradientRequest, Gradients
from hyperclova.inference.soft_prompt import SoftPrompt
from hyperclova.model.gpt import GPT
from hyperclova.tokenizer import Tokenizer

WIDTH = 64
REVIEW = ("이 영화 정말 재미있었어요!", " 평가:")


@pytest.fixture(scope="module")
def single(tiny_model_directory: Path, tiny_tokenizer: Tokenizer) -> Differentiator:
    return Differentiator(tiny_model_directory, tiny_tokenizer, device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def double(tiny_model_directory: Path, tiny_tokenizer: Tokenizer) -> Differentiator:
    return Differentiator(tiny_model_directory, tiny_tokenizer, device="cpu", dtype=torch.float64)


def soft_prompt(seed: int, tokens: int) -> SoftPrompt:
    table = np.random.default_rng(seed).normal(0, 0.1, (tokens, WIDTH))
    return SoftPrompt(table.astype(np.float32))


def requests() -> st.SearchStrategy[GradientRequest]:
    """Prompts of one to five pieces with a soft prompt among them; zero to three rivals."""
    texts = st.sampled_from(["옛날 옛적에", " 서울의 인구는", "ㅎㅎ 😀", " 재미있다", "뷁"])
    ids = st.integers(1, 400)
    soft = st.builds(soft_prompt, st.integers(0, 99), st.integers(1, 4))
    pieces = st.tuples(
        st.lists(st.one_of(texts, ids, soft), max_size=2),
        soft,
        st.lists(st.one_of(texts, ids, soft), max_size=2),
    ).map(lambda parts: (*parts[0], parts[1], *parts[2]))
    # Begun with different ids, so that no two are the same.
    rivals = st.lists(st.lists(ids, max_size=3), max_size=3).map(
        lambda each: tuple((401 + place, *rest) for place, rest in enumerate(each))
    )
    return st.builds(
        GradientRequest,
        prompt=pieces,
        target=st.one_of(texts, st.lists(ids, min_size=1, max_size=4).map(tuple)),
        positions=st.sampled_from(["soft", "all"]),
        choices=rivals,
    )


def table_of(prompt: Sequence[str | int | SoftPrompt], double: Differentiator) -> Tensor:
    """The input embeddings of a prompt, float64."""
    tables = []
    for piece in prompt:
        if isinstance(piece, SoftPrompt):
            tables.append(torch.tensor(piece.table, dtype=torch.float64))
        else:
            ids = encode(double, piece) if isinstance(piece, str) else [piece]
            tables.append(double.model.token_embedding.weight[ids])
    return torch.cat(tables)


@functools.cache
def tokenizer_in(directory: Path) -> Tokenizer:
    return Tokenizer.load(directory)


def encode(differentiator: Differentiator, text: str) -> list[int]:
    return tokenizer_in(differentiator.directory).encode(text)


def targets_of(request: GradientRequest, differentiator: Differentiator) -> list[tuple[int, ...]]:
    return [
        tuple(encode(differentiator, each)) if isinstance(each, str) else each
        for each in (request.target, *request.choices)
    ]


def wanted_of(request: GradientRequest, differentiator: Differentiator) -> list[int]:
    """Positions of the prompt whose gradient is asked for."""
    marks: list[bool] = []
    for piece in request.prompt:
        if isinstance(piece, SoftPrompt):
            marks += [True] * len(piece)
        else:
            length = len(encode(differentiator, piece)) if isinstance(piece, str) else 1
            marks += [request.positions == "all"] * length
    return [place for place, mark in enumerate(marks) if mark]


def plain(
    model: GPT, table: Tensor, targets: list[tuple[int, ...]]
) -> tuple[Tensor, list[float], Tensor]:
    """Loss, the target's log-probabilities and the gradient ``(tokens, width)`` of the prompt.

    A whole forward pass for each choice, all logits, nothing shared.
    """
    table = table.clone().requires_grad_()
    each = []
    for target in targets:
        embedded = torch.cat([table, model.token_embedding.weight[list(target)]])
        logprobs = model(embeddings=embedded.unsqueeze(0))[0].log_softmax(dim=1)
        predicting = range(len(table) - 1, len(table) - 1 + len(target))
        each.append(logprobs[list(predicting), list(target)])
    totals = torch.stack([logprobs.sum() for logprobs in each])
    loss = -each[0].mean() if len(targets) == 1 else -totals.log_softmax(dim=0)[0]
    (gradient,) = torch.autograd.grad(loss, table)
    return loss.detach(), each[0].tolist(), gradient


@settings(max_examples=40)
@given(request=requests())
def test_equal_to_a_plain_forward_and_backward_pass(
    request: GradientRequest, single: Differentiator, double: Differentiator
) -> None:
    table, targets = table_of(request.prompt, double), targets_of(request, double)
    loss, logprobs, gradient = plain(double.model, table, targets)
    gradient = gradient[wanted_of(request, double)]
    scale = max(1.0, gradient.abs().max().item())
    for differentiator, tolerance in ((double, 1e-6), (single, 1e-5)):
        (result,) = differentiator.gradients([request])
        assert result.loss == pytest.approx(loss.item(), rel=1e-5, abs=tolerance)
        assert result.logprobs == pytest.approx(logprobs, rel=1e-6, abs=tolerance)
        assert result.gradient.dtype == np.float32
        assert result.gradient.shape == gradient.shape
        assert np.abs(result.gradient - gradient.numpy()).max() < 10 * tolerance * scale


@settings(max_examples=40)
@given(request=requests(), seed=st.integers(0, 999))
def test_equal_to_finite_differences(
    request: GradientRequest, seed: int, double: Differentiator
) -> None:
    """Steps of 1e-4 in float64, in a random direction through all positions asked for."""
    wanted = wanted_of(request, double)
    table = table_of(request.prompt, double).numpy()
    direction = np.zeros_like(table)
    direction[wanted] = np.random.default_rng(seed).normal(0, 1, (len(wanted), WIDTH))
    # Tables are float32, so the step taken is not quite the one meant.
    ahead, behind = (SoftPrompt(table + step * direction) for step in (1e-4, -1e-4))
    moved = (ahead.table.astype(np.float64) - behind.table)[wanted]
    result, above, below = double.gradients(
        [
            request,
            *(
                GradientRequest((soft,), request.target, choices=request.choices)
                for soft in (ahead, behind)
            ),
        ]
    )
    slope = (result.gradient * moved).sum()
    assert above.loss - below.loss == pytest.approx(
        slope, abs=1e-5 * np.linalg.norm(result.gradient) * np.linalg.norm(moved) + 1e-12
    )


@settings(max_examples=25)
@given(batch=st.lists(requests(), min_size=2, max_size=6))
def test_a_batch_gives_what_each_gives_alone(
    batch: list[GradientRequest], single: Differentiator, double: Differentiator
) -> None:
    """To 1e-6, and in float32, where rounding of the pass itself is larger, to 1e-5."""
    for differentiator, tolerance in ((double, 1e-6), (single, 1e-5)):
        for request, together in zip(batch, differentiator.gradients(batch), strict=True):
            (alone,) = differentiator.gradients([request])
            for left, right in (
                (alone.gradient, together.gradient),
                (np.array(alone.logprobs), np.array(together.logprobs)),
                (np.array(alone.loss), np.array(together.loss)),
            ):
                assert left.shape == right.shape
                assert np.abs(left - right).max() <= tolerance * max(1.0, np.abs(left).max())


@pytest.mark.parametrize(
    ("prompt", "target"),
    [
        ("옛날 옛적 어느 산골 마을에", " 호랑이가 살았습니다."),
        ("오늘 아침에는 비가", " 왔다 😀"),
        ("서울의 인구는", " 많다."),
    ],
)
def test_log_probabilities_are_those_of_a_score(
    prompt: str, target: str, single: Differentiator, engine: Engine
) -> None:
    score = engine.score(prompt, target)
    assert score.tokens == tuple(encode(single, target))
    request = GradientRequest((prompt,), target, positions="all")
    (result,) = single.gradients([request])
    assert result.logprobs == pytest.approx(score.logprobs, abs=1e-4)
    assert result.loss == pytest.approx(-score.total / len(score.tokens), abs=1e-4)


def test_loss_among_choices_is_computed_from_scores(single: Differentiator, engine: Engine) -> None:
    target, rivals = " 아주 재미있다.", (" 지루하다.", " 슬프다", " 뷁")
    request = GradientRequest((REVIEW[0],), target, positions="all", choices=rivals)
    (result,) = single.gradients([request])
    totals = [engine.score(REVIEW[0], choice).total for choice in (target, *rivals)]
    likelihoods = [math.exp(total - max(totals)) for total in totals]
    assert result.loss == pytest.approx(-math.log(likelihoods[0] / sum(likelihoods)), abs=1e-4)
    assert sum(result.logprobs) == pytest.approx(totals[0], abs=1e-4)


def test_gradient_among_choices_is_a_mixture_of_their_gradients(double: Differentiator) -> None:
    """The gradient of ``log Σ exp(s_c) - s_0`` is that of each score, weighted by its share."""
    prompt = (soft_prompt(1, 3), *REVIEW)
    choices = (" 아주 재미있다.", " 지루하다.", " 슬프다")
    together, *alone = double.gradients(
        [
            GradientRequest(prompt, choices[0], choices=choices[1:]),
            *(GradientRequest(prompt, choice) for choice in choices),
        ]
    )
    totals = np.array([sum(result.logprobs) for result in alone])
    shares = np.exp(totals) / np.exp(totals).sum()
    slopes = [-len(result.logprobs) * result.gradient for result in alone]
    expected = sum(share * slope for share, slope in zip(shares, slopes, strict=True)) - slopes[0]
    np.testing.assert_allclose(together.gradient, expected, atol=1e-6)


def test_a_token_is_worth_its_embedding(double: Differentiator) -> None:
    """At all positions, tokens have the gradient that soft prompts in their place have."""
    ids = encode(double, "옛날 옛적 어느 산골 마을에")
    table = double.model.token_embedding.weight[ids].numpy()
    tokens, soft = double.gradients(
        [
            GradientRequest(tuple(ids), " 살았다", positions="all"),
            GradientRequest((SoftPrompt(table),), " 살았다"),
        ]
    )
    np.testing.assert_allclose(tokens.gradient, soft.gradient, atol=1e-6)


REFUSALS: list[tuple[GradientRequest, str]] = [
    (GradientRequest((SoftPrompt(np.ones((2, 65))),), " 다"), "prompt .* width 65.* have width 64"),
    (GradientRequest((5, -1), " 다", "all"), "prompt holds token id -1"),
    (GradientRequest((5,), (480,), "all"), "target holds token id 480; ids are from 0 to 479"),
    (GradientRequest((5,), "", "all"), "target is empty"),
    (GradientRequest((5,), " 다", "all", choices=("네", ())), r"choices\[1\] is empty"),
    (GradientRequest((5,), (7,), "all", choices=((9999,),)), r"choices\[0\] holds token id 9999"),
    (GradientRequest((5,), (7, 8), "all", choices=((7,), (7, 8))), r"choices\[1\] .* the target"),
    (GradientRequest((5,), (7,), "all", ((8,), (8,))), r"choices\[1\] .* as choices\[0\]"),
    (GradientRequest((), " 다", "all"), "prompt is empty"),
    (GradientRequest(("",), " 다", "all"), "prompt is empty"),
    (GradientRequest(("옛날",), " 다"), "positions is 'soft', but prompt holds no soft prompt"),
    (GradientRequest((5,) * 127, (7, 7), "all"), "prompt has 127 tokens .* 2, .* holds 128"),
    (
        GradientRequest((soft_prompt(0, 120),), (7,), choices=((8,) * 9,)),
        "prompt has 120 tokens and the longest target 9",
    ),
]


@pytest.mark.parametrize(("request_", "message"), REFUSALS)
def test_refusals_name_the_field(
    request_: GradientRequest, message: str, single: Differentiator
) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        single.gradients([request_])


def test_a_refusal_names_the_request_and_nothing_runs(single: Differentiator) -> None:
    good = GradientRequest((5,), " 다", "all")
    with forward_passes(single) as shapes, pytest.raises(UserError, match=r"^requests\[2\]: targ"):
        single.gradients([good, good, GradientRequest((5,), "", "all"), good])
    assert shapes == []


def test_the_whole_context_can_be_used(double: Differentiator) -> None:
    request = GradientRequest((soft_prompt(3, 4), *[9] * 122), (7, 8))
    (result,) = double.gradients([request])
    _, logprobs, gradient = plain(double.model, table_of(request.prompt, double), [(7, 8)])
    assert result.logprobs == pytest.approx(logprobs)
    np.testing.assert_allclose(result.gradient, gradient[:4].numpy(), atol=1e-6)


@contextmanager
def forward_passes(differentiator: Differentiator) -> Iterator[list[tuple[int, int]]]:
    """``(rows, tokens)`` of every pass of the model inside the context."""
    shapes: list[tuple[int, int]] = []

    def record(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        shapes.append((arguments[0].shape[0], arguments[0].shape[1]))

    handle = differentiator.model.blocks["0"].register_forward_pre_hook(record)
    yield shapes
    handle.remove()


@contextmanager
def kept_bytes(differentiator: Differentiator) -> Iterator[list[int]]:
    """What autograd keeps for each backward pass inside the context, weights aside."""
    weights = {each.untyped_storage().data_ptr() for each in differentiator.model.parameters()}
    passes: list[dict[int, int]] = []

    def begin(*_: object) -> None:
        passes.append({})

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            passes[-1][storage.data_ptr()] = storage.nbytes()
        return tensor

    handle = differentiator.model.blocks["0"].register_forward_pre_hook(begin)
    sizes: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield sizes
    handle.remove()
    sizes += [sum(each.values()) for each in passes]


def same(left: Sequence[Gradients], right: Sequence[Gradients]) -> None:
    for one, other in zip(left, right, strict=True):
        np.testing.assert_allclose(one.gradient, other.gradient, rtol=1e-5, atol=1e-5)
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)


def test_batches_stay_below_the_bound_of_memory(
    single: Differentiator, tiny_model_directory: Path, tiny_tokenizer: Tokenizer
) -> None:
    batch = [
        GradientRequest((soft_prompt(seed, 20),), (5, 6, 7), choices=((8, 9), (10, 11, 12)))
        for seed in range(12)
    ]
    row = builder(tiny_tokenizer).build(batch[0])
    bound = batch_bytes(single.config, [row] * 5)
    bounded = Differentiator(
        tiny_model_directory, tiny_tokenizer, device="cpu", dtype=torch.float32, memory_bytes=bound
    )
    with forward_passes(single) as shapes, kept_bytes(single) as kept:
        free = single.gradients(batch)
    assert [rows for rows, _ in shapes] == [12]
    assert kept[0] > bound / 2, "the bound would not have meant anything"
    with forward_passes(bounded) as shapes, kept_bytes(bounded) as kept:
        same(bounded.gradients(batch), free)
    assert [rows for rows, _ in shapes] == [5, 5, 2]
    assert max(kept) <= bound


@pytest.mark.parametrize("rivals", [(), ((9, 9, 9), (8, 8, 8))])
def test_the_estimate_is_above_what_autograd_keeps_and_not_far(
    rivals: tuple[tuple[int, ...], ...], single: Differentiator, tiny_tokenizer: Tokenizer
) -> None:
    request = GradientRequest((soft_prompt(0, 90),), tuple(range(1, 20)), choices=rivals)
    with kept_bytes(single) as kept:
        single.gradients([request])
    estimate = batch_bytes(single.config, [builder(tiny_tokenizer).build(request)])
    assert kept[0] < estimate < 4 * kept[0]


def builder(tokenizer: Tokenizer) -> RowBuilder:
    return RowBuilder(tokenizer.encode, tokenizer.vocabulary_size, 128, WIDTH)


def test_one_request_above_the_bound_is_refused(
    tiny_model_directory: Path, tiny_tokenizer: Tokenizer
) -> None:
    small = Differentiator(tiny_model_directory, tiny_tokenizer, device="cpu", memory_bytes=1 << 20)
    with forward_passes(small) as shapes:
        small.gradients([GradientRequest((soft_prompt(0, 4),), (7,))])
        assert len(shapes) == 1
        message = r"100 tokens, need about \d+ MiB, .* bound of 1 MiB \(memory_bytes\): shorten"
        with pytest.raises(UserError, match=message):
            small.gradients([GradientRequest((soft_prompt(0, 100),), (7,))])
        assert len(shapes) == 1


def test_lengths_far_apart_run_in_batches_of_their_own(single: Differentiator) -> None:
    batch = [GradientRequest((soft_prompt(0, n),), (7,)) for n in (100, 5, 99, 6, 98, 5)]
    with forward_passes(single) as shapes:
        results = single.gradients(batch)
    assert shapes == [(3, 100), (3, 6)]
    assert [len(result.gradient) for result in results] == [100, 5, 99, 6, 98, 5]


def test_choices_of_one_token_are_read_with_the_prompt_alone(single: Differentiator) -> None:
    rivals = tuple((token,) for token in range(8, 14))
    with forward_passes(single) as shapes:
        single.gradients([GradientRequest((soft_prompt(0, 10),), (7,), choices=rivals)])
    assert shapes == [(1, 10)]


def test_weights_stay_as_they_are(single: Differentiator) -> None:
    before = {name: value.clone() for name, value in single.model.state_dict().items()}
    request = GradientRequest((soft_prompt(0, 3), *REVIEW), " 긍정", choices=(" 부정",))
    first = single.gradients([request])
    same(single.gradients([request]), first)
    for name, parameter in single.model.named_parameters():
        assert parameter.grad is None and not parameter.requires_grad
        assert torch.equal(parameter, before[name])


def test_nothing_is_asked_nothing_is_given(single: Differentiator) -> None:
    assert single.gradients([]) == []


@pytest.mark.parametrize("switch", [torch.no_grad, torch.inference_mode])
def test_callers_may_have_switched_gradients_off(
    switch: Callable[[], torch.no_grad],
    single: Differentiator,
    tiny_model_directory: Path,
    tiny_tokenizer: Tokenizer,
) -> None:
    request = GradientRequest((soft_prompt(0, 3), *REVIEW), " 긍정")
    with switch():
        fresh = Differentiator(
            tiny_model_directory, tiny_tokenizer, device="cpu", dtype=torch.float32
        )
        same(fresh.gradients([request]), single.gradients([request]))
    same(fresh.gradients([request]), single.gradients([request]))


def test_the_model_is_read_at_the_first_request(
    tiny_model_directory: Path, tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    shutil.copy(tiny_model_directory / "config.json", tmp_path)
    lazy = Differentiator(tmp_path, tiny_tokenizer, device="cpu", dtype=torch.float32)
    request = GradientRequest(("옛날",), " 옛적에", "all")
    with pytest.raises(UserError, match=r"model\.safetensors"):
        lazy.gradients([request])
    shutil.copy(tiny_model_directory / "model.safetensors", tmp_path)
    assert len(lazy.gradients([request])) == 1
    with pytest.raises(UserError, match=r"is .* a model directory"):
        Differentiator(tmp_path / "none", tiny_tokenizer)


def test_threads_take_turns(single: Differentiator) -> None:
    batch = [
        GradientRequest((soft_prompt(seed, 3), *REVIEW), " 긍정", choices=(" 부정",))
        for seed in range(4)
    ]
    expected = single.gradients(batch)
    found: dict[int, list[Gradients]] = {}

    def ask(place: int) -> None:
        found[place] = [single.gradients([batch[place]])[0] for _ in range(3)]

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place in range(4):
        same(found[place], [expected[place]] * 3)


def test_bfloat16_points_the_same_way(
    single: Differentiator, tiny_model_directory: Path, tiny_tokenizer: Tokenizer
) -> None:
    rounded = Differentiator(
        tiny_model_directory, tiny_tokenizer, device="cpu", dtype=torch.bfloat16
    )
    batch = [
        GradientRequest((soft_prompt(0, 5), *REVIEW), " 긍정", choices=(" 부정적이다",)),
        GradientRequest((soft_prompt(1, 5), "옛날 옛적 어느"), " 산골 마을에"),
    ]
    for exact, near in zip(single.gradients(batch), rounded.gradients(batch), strict=True):
        norms = np.linalg.norm(exact.gradient) * np.linalg.norm(near.gradient)
        assert (exact.gradient * near.gradient).sum() > 0.98 * norms
        assert near.logprobs == pytest.approx(exact.logprobs, rel=0.05, abs=0.1)
        assert near.logprobs != exact.logprobs, "it computed in float32"
    block = rounded.model.blocks["0"]
    assert block.mlp.expand.weight.dtype == torch.bfloat16
    assert block.mlp_norm.weight.dtype == torch.float32


def test_prompt_tuning_lowers_the_loss(single: Differentiator) -> None:
    """Lester et al. 2021: nothing but the table learns; two reviews, two verbalizers."""
    reviews = [("정말 재미있었어요!", " 긍정", " 부정"), ("너무 지루했다.", " 부정", " 긍정")]
    table = nn.Parameter(torch.tensor(soft_prompt(0, 4).table))
    adam = torch.optim.Adam([table], lr=0.02)
    losses = []
    for _ in range(15):
        soft = SoftPrompt(table.detach().numpy().copy())
        results = single.gradients(
            [
                GradientRequest((soft, text, " 평가:"), target, choices=(rival,))
                for text, target, rival in reviews
            ]
        )
        losses.append(sum(result.loss for result in results))
        table.grad = torch.from_numpy(sum(result.gradient for result in results))
        adam.step()
    assert losses[-1] < losses[0] / 2
