"""Runs on several processes: stopped, gone on with, in the same layout and in another."""

import dataclasses
from pathlib import Path

import pytest
import torch
from test_run import Recorder, elsewhere, same_bits

from hyperclova.errors import UserError
from hyperclova.model import GPT
from hyperclova.model.directory import load_model
from hyperclova.parallel.layout import Layout
from hyperclova.pretraining import checkpoint
from hyperclova.pretraining.config import PretrainingConfig
from hyperclova.pretraining.export import export_run
from hyperclova.pretraining.loop import Interrupted, pretrain
from hyperclova.pretraining.metrics import read_metrics
from processes import run_together


@pytest.fixture
def even(config: PretrainingConfig) -> PretrainingConfig:
    """Ten steps of eight rows that many layouts can divide, and an epsilon above rounding."""
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, layers=4, heads=4, dropout=0.0),
        optimizer=dataclasses.replace(config.optimizer, epsilon=1e-4, learning_rate=1e-3),
        training=dataclasses.replace(
            config.training, tokens=10 * 256, microbatch_tokens=64, precision="float32"
        ),
    )


def go(config: PretrainingConfig, layout: Layout, stop_after: int | None = None) -> None:
    """Run, or go on with a run, in a layout; to its end or to a request to stop."""
    config = dataclasses.replace(config, layout=layout)
    if layout.processes == 1:
        torch.set_num_threads(1)
        train(config, stop_after)
    else:
        run_together(layout.processes, train, config, stop_after)


def train(config: PretrainingConfig, stop_after: int | None) -> None:
    try:
        pretrain(config, Recorder(stop_after), resume=True)
    except Interrupted as stopped:
        assert stopped.step == stop_after
    else:
        assert stop_after is None


def model_of(config: PretrainingConfig) -> GPT:
    export_run(config.directory, config.directory / "exported")
    return load_model(config.directory / "exported")


def losses(config: PretrainingConfig) -> dict[int, float]:
    records = read_metrics(config.directory / "metrics.jsonl", "train")
    return {record["step"]: record["loss"] for record in records}


ONE = Layout(dp=1)
SAME = [
    Layout(dp=2),
    Layout(dp=1, tp=2),
    Layout(dp=1, pp=2),
    Layout(dp=1, pp=2, schedule="zero-bubble-v", stages_per_rank=2),
    Layout(dp=2, replicas=2, offload=True),
]


@pytest.mark.parametrize("layout", SAME, ids=str)
def test_four_steps_and_six_are_ten_to_the_last_bit(
    even: PretrainingConfig, layout: Layout
) -> None:
    whole, parts = elsewhere(even, "whole"), elsewhere(even, "parts")
    go(whole, layout)
    go(parts, layout, stop_after=4)
    assert checkpoint.steps(parts.directory / "checkpoints") == [3, 4]
    go(parts, layout)
    assert losses(parts) == losses(whole)
    assert same_bits(model_of(parts), model_of(whole))


def test_a_run_goes_on_in_other_layouts(even: PretrainingConfig) -> None:
    whole, moved = elsewhere(even, "whole"), elsewhere(even, "moved")
    go(whole, ONE)
    go(moved, Layout(dp=2, tp=2), stop_after=4)
    go(moved, Layout(dp=4), stop_after=7)
    go(moved, Layout(dp=1, pp=2), stop_after=8)
    go(moved, ONE)
    assert losses(moved) == pytest.approx(losses(whole), rel=0, abs=1e-6)
    expected = model_of(whole).state_dict()
    for name, tensor in model_of(moved).state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-6)


def test_checkpoints_of_chosen_steps_are_kept_for_good(even: PretrainingConfig) -> None:
    section = dataclasses.replace(even.checkpoint, every_steps=1, keep=2, permanent_every_steps=4)
    go(dataclasses.replace(even, checkpoint=section), ONE)
    assert checkpoint.steps(even.directory / "checkpoints") == [4, 8, 9, 10]


def test_a_model_too_large_for_one_file_is_exported_in_several(
    even: PretrainingConfig, tmp_path: Path
) -> None:
    from transformers import GPT2LMHeadModel

    from hyperclova.model.directory import save_weights

    go(even, Layout(dp=1, tp=2))
    model = model_of(even)
    state = model.state_dict()
    divided = tmp_path / "divided"
    save_weights(
        model.config, lambda names: {n: state[n] for n in names}, divided, file_bytes=20_000
    )
    assert len(list(divided.glob("model-*.safetensors"))) > 2
    assert same_bits(load_model(divided), model)
    tokens = torch.arange(12).unsqueeze(0)
    theirs = GPT2LMHeadModel.from_pretrained(divided)(tokens).logits
    torch.testing.assert_close(theirs, model(tokens), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"dp": 2, "tp": 1}, "layout: dp 2 × tp 1 × pp 1 = 2 processes, but there are 1"),
        ({"tp": 3}, "layout: dp 1 × tp 3 × pp 1 = 3 processes, but there are 1"),
    ],
)
def test_a_layout_for_another_world_is_refused(
    even: PretrainingConfig, layout: dict[str, int], message: str
) -> None:
    config = dataclasses.replace(even, layout=Layout(**layout))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=message):
        pretrain(config, Recorder())
