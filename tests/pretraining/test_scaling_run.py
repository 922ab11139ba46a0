"""Real ladders over the texts we ship: what is trained, measured, interrupted and gone on with."""

import json
import math
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch.nn import functional
from typer.testing import CliRunner

from hyperclova import cli
from hyperclova.configuration import load
from hyperclova.errors import UserError
from hyperclova.model import GPTConfig
from hyperclova.model.directory import load_model
from hyperclova.pretraining.config import (
    CheckpointSection,
    DataSection,
    OptimizerSection,
    PretrainingConfig,
    TrainingSection,
)
from hyperclova.pretraining.export import export_run
from hyperclova.pretraining.live import LineWatcher
from hyperclova.pretraining.loop import Interrupted
from hyperclova.pretraining.metrics import read_metrics
from hyperclova.pretraining.reports import Progress
from hyperclova.pretraining.scaling.config import (
    LadderConfig,
    MarksSection,
    MeasureSection,
    RateSection,
    Size,
    non_embedding,
    run_directory,
    stages,
)
from hyperclova.pretraining.scaling.points import read_ladder
from hyperclova.pretraining.scaling.run import data_directory, run
from hyperclova.tokenizer import Tokenizer
from hyperclova.tokens.batches import held_out_windows

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ladder(
    tokenizer_directory: Path, token_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> LadderConfig:
    """Two sizes; finished runs after 5 and 10 steps, the smaller also after 20."""
    return LadderConfig(
        directory=tmp_path_factory.mktemp("ladder"),
        data=DataSection(token_directory, tokenizer_directory),
        optimizer=OptimizerSection(learning_rate=4e-3, warmup_tokens=256, final_ratio=0.0),
        rate=RateSection(reference_width=16, power=0.5),
        training=TrainingSection(
            tokens=16 * 128, batch_tokens=128, microbatch_tokens=128, sequence_length=32, seed=3
        ),
        marks=MarksSection(first_tokens=4 * 128, cooldown=0.25),
        sizes=(Size(2, 32, 2, tokens=8 * 128), Size(1, 16, 2)),
        measure=MeasureSection("wiki", tokens=512, between_marks=2),
        checkpoint=CheckpointSection(every_steps=3),
    )


class Quiet(LineWatcher):
    """Says nothing; asks for a stop at one step of one run."""

    def __init__(self, stop_at: tuple[str, int] | None = None) -> None:
        super().__init__(Console(quiet=True))
        self.stop_at = stop_at
        self.directory = ""

    def begin(
        self, shape: GPTConfig, config: PretrainingConfig, resumed_at: int, device: str
    ) -> None:
        self.directory = f"{config.directory.parent.name}/{config.directory.name}"

    def step(self, progress: Progress) -> None:
        if self.stop_at == (self.directory, progress.step):
            self.stop_at = None
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def whole(ladder: LadderConfig) -> LadderConfig:
    """The ladder, run to its end."""
    run(ladder, Quiet())
    return ladder


@pytest.fixture
def finished(whole: LadderConfig, tmp_path: Path) -> LadderConfig:
    """A copy of the ladder that has run, to do something to."""
    shutil.copytree(whole.directory, tmp_path / "copy", symlinks=True)
    return replace(whole, directory=tmp_path / "copy")


def measurements(ladder: Path) -> dict[str, list[dict[str, float]]]:
    """Losses and evaluations of every run, without what depends on the clock."""
    kept = ("step", "tokens", "loss", "learning_rate", "gradient_norm", "bits_per_byte")
    return {
        str(path.relative_to(ladder)): [
            {key: record[key] for key in kept if key in record}
            for kind in ("train", "evaluation")
            for record in read_metrics(path, kind)
        ]
        for path in sorted(ladder.glob("*/*/metrics.jsonl"))
    }


def test_stages_go_from_mark_to_mark_and_cool_down_at_each(ladder: LadderConfig) -> None:
    planned = stages(ladder)
    assert [(stage.size.name, stage.mark, stage.branch_of is None) for stage in planned] == [
        ("1x16", 512, True),
        ("1x16", 512, False),
        ("1x16", 1024, True),
        ("1x16", 1024, False),
        ("1x16", 2048, True),
        ("1x16", 2048, False),
        ("2x32", 512, True),
        ("2x32", 512, False),
        ("2x32", 1024, True),
        ("2x32", 1024, False),
    ]
    constant, cooled = planned[2].pretraining, planned[3].pretraining
    assert constant.optimizer.final_ratio == 1.0
    assert constant.training.tokens == 1024
    assert cooled.training.tokens == 1024 + 256
    assert cooled.optimizer.warmup_tokens == 1024  # all after it is the way down
    assert constant.peak_learning_rate == pytest.approx(4e-3)
    assert planned[6].pretraining.peak_learning_rate == pytest.approx(4e-3 / math.sqrt(2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"marks": MarksSection(500)}, "not a multiple"),
        ({"marks": MarksSection(128, cooldown=0.25)}, "shorter than one batch"),
        ({"sizes": (Size(1, 16, 2),)}, "two or more"),
        ({"sizes": (Size(1, 16, 2), Size(1, 16, 4))}, "all different"),
        ({"sizes": (Size(1, 16, 2), Size(2, 16, 2, tokens=256))}, "2x16 ends before"),
        ({"optimizer": OptimizerSection()}, "learning_rate is missing"),
    ],
)
def test_ladders_that_cannot_be_are_refused(
    ladder: LadderConfig, change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        replace(ladder, **change)


def test_learning_rates_stay_until_the_cooldown_and_then_fall_to_nothing(
    finished: LadderConfig,
) -> None:
    rates = {
        name: {r["step"]: r["learning_rate"] for r in records if "learning_rate" in r}
        for name, records in measurements(finished.directory).items()
    }
    constant = rates["1x16/constant/metrics.jsonl"]
    assert constant[1] == pytest.approx(2e-3)  # half of the warm-up
    assert {round(rate, 12) for step, rate in constant.items() if step > 1} == {4e-3}
    cooled = rates["1x16/cooled-2048/metrics.jsonl"]
    assert list(cooled) == [17, 18, 19, 20]
    falling = list(cooled.values())
    assert falling == sorted(falling, reverse=True)
    assert falling[0] < 4e-3
    assert falling[-1] == 0.0


def test_points_measure_the_named_source_alone(whole: LadderConfig, tmp_path: Path) -> None:
    """Bits per byte and nats per token, against cross-entropy computed plainly."""
    ladder = whole
    measured = read_ladder(ladder.directory)
    assert measured.source == "wiki"
    assert measured.sizes == ["1x16", "2x32"]
    finished = [point for point in measured.points if point.finished]
    assert [(p.size, p.tokens) for p in finished] == [
        ("1x16", 5 * 128),
        ("1x16", 10 * 128),
        ("1x16", 20 * 128),
        ("2x32", 5 * 128),
        ("2x32", 10 * 128),
    ]
    evaluated = [p.tokens // 128 for p in measured.points if p.size == "1x16" and not p.finished]
    assert evaluated == [2, 4, 6, 8, 12, 16]

    last = finished[-1]
    export_run(run_directory(ladder.directory, "2x32", 1024), tmp_path / "model")
    model = load_model(tmp_path / "model")
    tokenizer = Tokenizer.load(ladder.data.tokenizer)
    held_out = data_directory(ladder.directory) / "held-out"
    sources = {json.loads(path.read_text())["source"] for path in held_out.glob("*.json")}
    assert sources == {"wiki"}
    windows = torch.from_numpy(held_out_windows(held_out, 32, 512))
    with torch.no_grad():
        logits = model(windows[:, :-1])
    targets = windows[:, 1:]
    text = targets != tokenizer.end_of_text_id
    nats = functional.cross_entropy(logits[text], targets[text], reduction="sum").item()
    text_bytes = sum(len(tokenizer.token_bytes(int(token))) for token in targets[text])
    assert last.loss == pytest.approx(nats / int(text.sum()), rel=1e-5)
    assert last.bits_per_byte == pytest.approx(nats / math.log(2) / text_bytes, rel=1e-5)

    shape = ladder.shape(ladder.sizes[0], tokenizer.vocabulary_size)
    blocks = sum(p.numel() for name, p in model.named_parameters() if "embedding" not in name)
    assert last.non_embedding_parameters == non_embedding(shape) == blocks
    assert last.parameters == sum(p.numel() for p in model.parameters())
    train = read_metrics(run_directory(ladder.directory, "2x32", 1024) / "metrics.jsonl", "train")
    assert last.training_loss == train[-1]["loss"]


@pytest.mark.parametrize("stop_at", [("1x16/constant", 5), ("1x16/cooled-1024", 9)])
def test_a_ladder_that_was_stopped_ends_as_if_it_had_not(
    finished: LadderConfig, tmp_path: Path, stop_at: tuple[str, int]
) -> None:
    stopped = replace(finished, directory=tmp_path / "stopped")
    with pytest.raises(Interrupted):
        run(stopped, Quiet(stop_at))
    run(stopped, Quiet())
    assert measurements(stopped.directory) == measurements(finished.directory)


@pytest.mark.parametrize("name", ["1x16/constant", "1x16/cooled-2048"])
def test_an_evaluation_lost_after_the_last_checkpoint_is_made_up_for(
    finished: LadderConfig, name: str
) -> None:
    before = measurements(finished.directory)
    metrics = finished.directory / name / "metrics.jsonl"
    lines = metrics.read_text(encoding="utf-8").splitlines(keepends=True)
    assert '"evaluation"' in lines[-1]
    metrics.write_text("".join(lines[:-1]), encoding="utf-8")
    run(finished, Quiet())
    assert measurements(finished.directory) == before


def test_sizes_are_added_and_lengthened_and_nothing_is_done_twice(finished: LadderConfig) -> None:
    before = measurements(finished.directory)
    announced: list[str] = []
    run(finished, Quiet(), announced.append)
    assert announced == []
    longer = replace(
        finished, sizes=(Size(2, 32, 2, tokens=16 * 128), Size(1, 16, 2), Size(1, 24, 2, 4 * 128))
    )
    run(longer, Quiet(), announced.append)
    assert announced == [
        "1x24 to 512 tokens",
        "1x24 cooled down from 512 tokens",
        "2x32 to 2,048 tokens",
        "2x32 cooled down from 2,048 tokens",
    ]
    after = measurements(finished.directory)
    assert after.keys() - before.keys() == {
        "1x24/constant/metrics.jsonl",
        "1x24/cooled-512/metrics.jsonl",
        "2x32/cooled-2048/metrics.jsonl",
    }
    assert after["1x16/constant/metrics.jsonl"] == before["1x16/constant/metrics.jsonl"]
    with pytest.raises(UserError, match=r"another training\.seed: 3, not 4"):
        run(replace(finished, training=replace(finished.training, seed=4)), Quiet())


def test_what_is_missing_is_named(ladder: LadderConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no shard of the source 'news'"):
        run(replace(ladder, directory=tmp_path / "new", measure=MeasureSection("news")), Quiet())
    with pytest.raises(UserError, match="no ladder here"):
        read_ladder(tmp_path)


def shipped(name: str) -> LadderConfig:
    return load(LadderConfig, ROOT / "configs" / "scaling" / f"{name}.toml")


@pytest.mark.parametrize("name", ["shared", "tiny"])
def test_shipped_ladders_load(name: str) -> None:
    config = shipped(name)
    assert config.directory.parts[0] == "runs"
    assert len(stages(config)) == 2 * sum(len(config.marks_of(size)) for size in config.sizes)


def test_the_real_ladder_is_wide_enough() -> None:
    """Five sizes or more, tenfold in parameters without embeddings; the text says how many."""
    config = shipped("shared")
    shapes = [config.shape(size, 8192) for size in config.sizes]
    counts = [non_embedding(shape) for shape in shapes]
    assert len(counts) >= 5
    assert counts == sorted(counts)
    assert counts[-1] >= 10 * counts[0]


def test_the_command_line_runs_fits_and_draws(ladder: LadderConfig, tmp_path: Path) -> None:
    cli._register_verbs()
    runner = CliRunner()

    def hyperclova(*arguments: str) -> str:
        done = runner.invoke(cli.application, ["scaling", *arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    configuration = str(ROOT / "configs" / "scaling" / "tiny.toml")
    changes = (
        f"directory={tmp_path / 'ladder'}",
        f"data.directory={ladder.data.directory}",
        f"data.tokenizer={ladder.data.tokenizer}",
        "training.tokens=4096",
        "marks.first_tokens=2048",
        "training.batch_tokens=512",
        "training.microbatch_tokens=512",
        "sizes=[{layers=1,width=16,heads=2},{layers=1,width=24,heads=2},{layers=1,width=32,heads=2}]",
    )
    assert "finished runs" in hyperclova("run", configuration, *changes, "--dry-run")
    assert not (tmp_path / "ladder").exists()
    said = hyperclova("run", configuration, *changes, "--threads", "1")
    assert "1x24 cooled down from 2,048 tokens" in said
    fitted = json.loads(hyperclova("fit", str(tmp_path / "ladder"), "--json", "--bootstrap", "10"))
    assert fitted["held_out_sizes"] == ["1x32"]
    assert len(fitted["ladder"]["points"]) == 3 * (4 + 2)
    assert "predictions of" in hyperclova("fit", str(tmp_path / "ladder"), "--bootstrap", "10")
    hyperclova("plot", str(tmp_path / "ladder"))
    assert (tmp_path / "ladder" / "scaling.png").read_bytes().startswith(b"\x89PNG")
    # From the file alone: whoever has no ladder can fit and draw what another measured.
    shutil.copy(tmp_path / "ladder" / "scaling.json", tmp_path / "alone.json")
    hyperclova("fit", str(tmp_path / "alone.json"), "--hold-out", "0", "--bootstrap", "10")
    again = json.loads((tmp_path / "alone.json").read_text(encoding="utf-8"))
    assert again["held_out_sizes"] == []
    assert again["ladder"] == fitted["ladder"]
