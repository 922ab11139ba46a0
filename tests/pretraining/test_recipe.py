"""The recipe's switches in whole runs: they reach the model, and resume to the same bits."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from test_run import Recorder, elsewhere
from transformers import GPT2LMHeadModel

from hyperclova.configuration import load
from hyperclova.errors import UserError
from hyperclova.model.directory import load_model
from hyperclova.model.mup import BaseShape
from hyperclova.parallel.layout import Layout
from hyperclova.pretraining.config import PretrainingConfig
from hyperclova.pretraining.export import export_run, import_model
from hyperclova.pretraining.loop import Interrupted, pretrain
from hyperclova.pretraining.metrics import read_metrics
from hyperclova.pretraining.preflight import Subject
from hyperclova.pretraining.recipe import RecipeSection


def cooked(config: PretrainingConfig, **switches: Any) -> PretrainingConfig:
    """With half the batch as a microbatch, so that ramps have room."""
    return dataclasses.replace(
        config,
        recipe=RecipeSection(**switches),
        training=dataclasses.replace(config.training, microbatch_tokens=64),
    )


def record(config: PretrainingConfig, kind: str = "train") -> list[dict[str, Any]]:
    return read_metrics(config.directory / "metrics.jsonl", kind)


@pytest.mark.parametrize(
    "switches",
    [
        {"query_key_norm": True},
        {"base": BaseShape(16, 2)},
        {"z_loss": 1e-3},
        {"document_mask": True},
        {"sequence_ramp": ((8, 1000),)},
        {"batch_ramp": ((64, 512),)},
    ],
    ids=lambda switches: next(iter(switches)),
)
def test_each_switch_changes_the_run(config: PretrainingConfig, switches: dict[str, Any]) -> None:
    short = dataclasses.replace(
        config,
        training=dataclasses.replace(config.training, tokens=6 * 256),
        model=dataclasses.replace(config.model, dropout=0.0),
    )
    plain, other = cooked(short), elsewhere(cooked(short, **switches), "other")
    pretrain(plain, Recorder())
    pretrain(other, Recorder())
    assert record(plain)[-1]["tokens"] == record(other)[-1]["tokens"] == 6 * 256
    assert record(plain)[-1]["loss"] != record(other)[-1]["loss"]
    assert all(("z_loss" in line) is ("z_loss" in switches) for line in record(other))


RAMPS = {"batch_ramp": ((64, 256), (128, 700)), "sequence_ramp": ((8, 400), (16, 1200))}


@pytest.mark.parametrize("stop_after", [2, 7])
def test_a_run_stopped_within_a_ramp_ends_at_the_same_bits(
    config: PretrainingConfig, stop_after: int
) -> None:
    """With dropout, and all switches that a CPU can do: 4 steps of 64 tokens, 4 of 128, 9 of 256;
    sequences of 8 tokens in the first 6 steps, of 16 in the next 4."""
    ramped = cooked(
        config, **RAMPS, query_key_norm=True, base=BaseShape(16, 2), z_loss=1e-3, document_mask=True
    )
    whole = elsewhere(ramped, "whole")
    pretrain(whole, Recorder())
    with pytest.raises(Interrupted):
        pretrain(ramped, Recorder(stop_after))
    pretrain(ramped, Recorder(), resume=True)
    assert [line["tokens"] for line in record(ramped)] == [
        *range(64, 257, 64),
        *range(384, 769, 128),
        *range(1024, 12 * 256 + 1, 256),
    ]
    same = ("step", "tokens", "loss", "learning_rate", "gradient_norm")
    for ours, theirs in zip(record(ramped), record(whole), strict=True):
        assert [ours[name] for name in same] == [theirs[name] for name in same]
    files = []
    for run in (ramped, whole):
        export_run(run.directory, run.directory / "model")
        files.append((run.directory / "model" / "model.safetensors").read_bytes())
    assert files[0] == files[1]


def test_another_ramp_is_refused_on_the_way(config: PretrainingConfig) -> None:
    ramped = cooked(config, **RAMPS)
    with pytest.raises(Interrupted):
        pretrain(ramped, Recorder(6))
    with pytest.raises(UserError, match=r"had read 512 tokens after 6 steps"):
        pretrain(cooked(config), Recorder(), resume=True)


def test_what_was_trained_with_a_base_loads_as_gpt_2(
    config: PretrainingConfig, tmp_path: Path
) -> None:
    wide = cooked(config, base=BaseShape(16, 2))
    pretrain(wide, Recorder())
    export_run(wide.directory, tmp_path / "model")
    model = load_model(tmp_path / "model")
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path / "model").eval()
    tokens = torch.randint(0, model.config.vocab_size, (2, 32))
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), theirs(tokens).logits, atol=1e-5, rtol=0)
    # Its multipliers are in the weights now: to apply them once more would be wrong.
    import_model(tmp_path / "model", tmp_path / "continued")
    again = dataclasses.replace(wide, directory=tmp_path / "continued")
    with pytest.raises(UserError, match=r"leave recipe\.base out"):
        pretrain(again, Recorder(), resume=True)
    pretrain(cooked(again), Recorder(), resume=True)


def test_the_card_says_what_is_no_gpt_2(config: PretrainingConfig, tmp_path: Path) -> None:
    normed = cooked(config, query_key_norm=True)
    pretrain(normed, Recorder())
    export_run(normed.directory, tmp_path / "model")
    assert "library_name: hyperclova" in (tmp_path / "model" / "README.md").read_text()
    assert load_model(tmp_path / "model").config.query_key_norm


def test_the_switches_are_read_from_toml_and_kept_in_the_record(
    config: PretrainingConfig, tmp_path: Path
) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        f"""
        directory = "{config.directory}"
        [model]
        layers = 2
        width = 32
        heads = 2
        context_length = 32
        [data]
        directory = "{config.data.directory}"
        tokenizer = "{config.data.tokenizer}"
        [optimizer]
        learning_rate = 3e-3
        [training]
        tokens = 512
        batch_tokens = 256
        microbatch_tokens = 64
        sequence_length = 32
        [recipe]
        base = {{ width = 16, heads = 2 }}
        batch_ramp = [[64, 128]]
        """
    )
    read = load(PretrainingConfig, path, ["recipe.z_loss=1e-4"])
    assert read.recipe == RecipeSection(base=BaseShape(16, 2), z_loss=1e-4, batch_ramp=((64, 128),))
    pretrain(read, Recorder())
    kept = json.loads((config.directory / "run.json").read_text())["configuration"]["recipe"]
    assert kept["base"] == {"width": 16, "heads": 2}
    export_run(config.directory, tmp_path / "model")  # reads run.json back


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"batch_ramp": ((100, 500),)}, "100 is not a multiple of training.microbatch_tokens 64"),
        ({"batch_ramp": ((512, 500),)}, "stay below the run's 256"),
        ({"sequence_ramp": ((12, 500),)}, "12 does not divide training.sequence_length 32"),
        ({"z_loss": -1.0}, "z_loss is -1.0"),
    ],
)
def test_what_cannot_be_is_refused(
    config: PretrainingConfig, switches: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        cooked(config, **switches)


@pytest.mark.parametrize(
    ("switches", "layout", "message"),
    [
        ({"batch_ramp": ((64, 500),)}, {"pp": 2}, r"recipe\.batch_ramp: a pipeline's"),
        ({"sequence_ramp": ((8, 500),)}, {"pp": 2}, r"recipe\.sequence_ramp: a pipeline's"),
        ({"batch_ramp": ((64, 500),)}, {"dp": 2}, r"2 sequences can't be divided among 2"),
        ({"sequence_ramp": ((1, 500),)}, {"tp": 2}, r"2 does not divide .* 1"),
        ({"float8": True}, {}, r"recipe\.float8: needs a GPU of compute capability 8\.9"),
    ],
)
def test_what_a_layout_or_device_cannot_do_is_refused(
    config: PretrainingConfig, switches: dict[str, Any], layout: dict[str, int], message: str
) -> None:
    even = dataclasses.replace(config, model=dataclasses.replace(config.model, dropout=0.0))
    wanted = dataclasses.replace(cooked(even, **switches), layout=Layout(**layout))
    processes = wanted.layout.tp * wanted.layout.pp * (wanted.layout.dp or 1)
    with pytest.raises(UserError, match=message):
        Subject.of(wanted, processes)
