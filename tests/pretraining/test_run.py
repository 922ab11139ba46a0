"""Whole runs: resuming bit for bit, refusing what does not belong together, the record."""

import dataclasses
import json
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from hyperclova.errors import UserError
from hyperclova.model import GPT, GPTConfig
from hyperclova.model.directory import load_model
from hyperclova.parallel.place import alone
from hyperclova.pretraining import checkpoint
from hyperclova.pretraining.config import LoggingSection, PretrainingConfig, SamplesSection
from hyperclova.pretraining.export import export_run, import_model
from hyperclova.pretraining.loop import Interrupted, pretrain
from hyperclova.pretraining.metrics import read_metrics
from hyperclova.pretraining.reports import Progress


class Recorder:
    """Writes down what happens, and may interrupt the run after a step."""

    def __init__(self, stop_after: int | None = None, number: int = signal.SIGTERM) -> None:
        self.events: list[tuple[str, int]] = []
        self.losses: dict[int, float] = {}
        self._stop_after, self._number = stop_after, number

    def begin(
        self, shape: GPTConfig, config: PretrainingConfig, resumed_at: int, device: str
    ) -> None:
        self.events.append(("begin", resumed_at))

    def step(self, progress: Progress) -> None:
        self.events.append(("step", progress.step))
        self.losses[progress.step] = progress.loss
        if progress.step == self._stop_after:
            os.kill(os.getpid(), self._number)

    def evaluated(self, step: int, bits_per_byte: float) -> None:
        self.events.append(("evaluated", step))

    def sampled(self, step: int, prompts: Sequence[str], texts: Sequence[str]) -> None:
        self.events.append(("sampled", step))

    def saved(self, step: int, path: Path) -> None:
        self.events.append(("saved", step))

    def noticed(self, step: int, what: str) -> None:
        self.events.append(("noticed", step))


def elsewhere(config: PretrainingConfig, name: str) -> PretrainingConfig:
    return dataclasses.replace(config, directory=config.directory.with_name(name))


def trained(config: PretrainingConfig, recorder: Recorder, resume: bool = False) -> GPT:
    """The model that a run ends with, as its export has it."""
    pretrain(config, recorder, resume=resume)
    directory = config.directory / "exported"
    export_run(config.directory, directory)
    return load_model(directory)


def same_bits(first: GPT, second: GPT) -> bool:
    other = second.state_dict()
    return all(torch.equal(tensor, other[name]) for name, tensor in first.state_dict().items())


def test_the_loss_falls_and_everything_is_recorded(config: PretrainingConfig) -> None:
    longer = dataclasses.replace(
        config, training=dataclasses.replace(config.training, tokens=60 * 256)
    )
    recorder = Recorder()
    pretrain(longer, recorder)
    assert recorder.losses[60] < recorder.losses[1] - 0.5
    metrics = config.directory / "metrics.jsonl"
    train = read_metrics(metrics, "train")
    assert [record["step"] for record in train] == list(range(1, 61))
    assert train[-1]["tokens"] == 60 * 256
    assert train[-1]["loss"] == recorder.losses[60]
    evaluations = [record["bits_per_byte"] for record in read_metrics(metrics, "evaluation")]
    assert len(evaluations) == 10
    assert evaluations[-1] < evaluations[0]
    record = json.loads((config.directory / "run.json").read_text())
    assert record["configuration"]["training"]["seed"] == 5
    assert record["versions"]["torch"] == torch.__version__


def test_a_checkpoint_comes_before_the_evaluation_of_its_step(config: PretrainingConfig) -> None:
    recorder = Recorder()
    pretrain(config, recorder)
    assert recorder.events.index(("saved", 6)) < recorder.events.index(("evaluated", 6))
    assert recorder.events.index(("saved", 12)) < recorder.events.index(("evaluated", 12))
    assert checkpoint.steps(config.directory / "checkpoints") == [9, 12]


@pytest.mark.parametrize("stop_after", [1, 3, 7])
def test_sigterm_saves_and_the_resumed_run_ends_at_the_same_bits(
    config: PretrainingConfig, stop_after: int
) -> None:
    whole = trained(elsewhere(config, "whole"), Recorder())
    with pytest.raises(Interrupted) as stopped:
        pretrain(config, Recorder(stop_after))
    assert stopped.value.signal_number == signal.SIGTERM
    assert checkpoint.steps(config.directory / "checkpoints")[-1] == stop_after
    resumed = Recorder()
    assert same_bits(whole, trained(config, resumed, resume=True))
    assert resumed.events[0] == ("begin", stop_after)
    records = read_metrics(config.directory / "metrics.jsonl", "train")
    assert [record["step"] for record in records] == list(range(1, 13))


def test_the_handlers_of_the_caller_come_back(config: PretrainingConfig) -> None:
    before = signal.getsignal(signal.SIGTERM)
    pretrain(config, Recorder())
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_portion_size_gives_the_same_losses(config: PretrainingConfig) -> None:
    without_dropout = dataclasses.replace(
        config, model=dataclasses.replace(config.model, dropout=0.0)
    )
    first, second = Recorder(), Recorder()
    pretrain(elsewhere(without_dropout, "one"), first)
    training = dataclasses.replace(config.training, microbatch_tokens=256)
    pretrain(dataclasses.replace(without_dropout, training=training), second)
    assert second.losses == pytest.approx(first.losses, rel=1e-4)


def test_a_run_is_not_overwritten(config: PretrainingConfig) -> None:
    pretrain(config, Recorder())
    with pytest.raises(UserError, match="holds a run at step 12; go on with --resume"):
        pretrain(config, Recorder())


def test_a_finished_run_resumed_changes_nothing(config: PretrainingConfig) -> None:
    first = trained(config, Recorder())
    recorder = Recorder()
    assert same_bits(first, trained(config, recorder, resume=True))
    assert recorder.events == [("begin", 12)]


def test_resuming_with_another_seed_is_refused(config: PretrainingConfig) -> None:
    pretrain(config, Recorder())
    other = dataclasses.replace(config, training=dataclasses.replace(config.training, seed=6))
    with pytest.raises(UserError, match=r"begun with training\.seed=5"):
        pretrain(other, Recorder(), resume=True)


def test_resuming_with_another_shape_is_refused(config: PretrainingConfig) -> None:
    pretrain(config, Recorder())
    model = dataclasses.replace(config.model, width=64)
    with pytest.raises(UserError, match="does not fit this model"):
        pretrain(dataclasses.replace(config, model=model), Recorder(), resume=True)


def test_tokens_of_another_tokenizer_are_refused(
    config: PretrainingConfig, korean_lines: list[str], tmp_path: Path
) -> None:
    from hyperclova.tokenizer.train import train

    train(korean_lines, vocabulary_size=400).save(tmp_path / "other")
    data = dataclasses.replace(config.data, tokenizer=tmp_path / "other")
    with pytest.raises(UserError, match="was tokenized by another tokenizer"):
        pretrain(dataclasses.replace(config, data=data), Recorder())


def test_samples_are_asked_for_at_intervals(config: PretrainingConfig) -> None:
    section = SamplesSection(every_steps=5, prompts=("옛날에",))
    recorder = Recorder()

    def sampler(model: GPT, wanted: SamplesSection) -> list[str]:
        assert wanted is section
        return ["호랑이가 살았어요."]

    pretrain(dataclasses.replace(config, samples=section), recorder, sampler=sampler)
    assert [step for kind, step in recorder.events if kind == "sampled"] == [5, 10]
    records = read_metrics(config.directory / "metrics.jsonl", "samples")
    assert records[0]["texts"] == ["호랑이가 살았어요."]


def test_tensorboard_gets_the_same_figures(config: PretrainingConfig) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recorder = Recorder()
    logged = dataclasses.replace(config, logging=LoggingSection(every_steps=4, tensorboard=True))
    pretrain(logged, recorder)
    board = EventAccumulator(str(config.directory / "tensorboard"))
    board.Reload()
    losses = {event.step: event.value for event in board.Scalars("train/loss")}
    assert losses == pytest.approx(recorder.losses, rel=1e-6)


def test_the_metrics_of_lost_steps_are_forgotten(config: PretrainingConfig) -> None:
    """After a kill -9, lines past the checkpoint and a half line are dropped."""
    with pytest.raises(Interrupted):
        pretrain(config, Recorder(4))
    path = config.directory / "metrics.jsonl"
    with path.open("a") as file:
        file.write(json.dumps({"kind": "train", "step": 5, "loss": 1.0}) + '\n{"kind": "tra')
    pretrain(config, Recorder(), resume=True)
    records = read_metrics(path, "train")
    assert [record["step"] for record in records] == list(range(1, 13))
    assert records[4]["loss"] != 1.0


def test_half_a_checkpoint_is_never_read(config: PretrainingConfig) -> None:
    with pytest.raises(Interrupted):
        pretrain(config, Recorder(4))
    half = config.directory / "checkpoints" / "step-00000009.incomplete"
    half.mkdir()
    (half / "state.json").write_text("{")
    recorder = Recorder()
    pretrain(config, recorder, resume=True)
    assert recorder.events[0] == ("begin", 4)
    assert not half.exists()


def test_export_and_import_are_lossless(config: PretrainingConfig, tmp_path: Path) -> None:
    path = pretrain(config, Recorder())
    assert export_run(config.directory, tmp_path / "model") == 12
    exported = load_model(tmp_path / "model")
    kept = GPT(exported.config, seed=98)
    checkpoint.load(path, alone(kept))
    assert same_bits(exported, kept)
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"{12 * 256:,} tokens" in card
    assert "bits per byte" in card

    path = import_model(tmp_path / "model", tmp_path / "imported")
    loaded = GPT(exported.config, seed=99)
    checkpoint.load(path, alone(loaded))
    assert same_bits(exported, loaded)
    with pytest.raises(UserError, match="holds checkpoints already"):
        import_model(tmp_path / "model", tmp_path / "imported")


def test_an_imported_model_goes_on_training(config: PretrainingConfig, tmp_path: Path) -> None:
    pretrain(config, Recorder())
    assert export_run(config.directory, tmp_path / "model", step=9) == 9
    import_model(tmp_path / "model", tmp_path / "continued")
    recorder = Recorder()
    pretrain(dataclasses.replace(config, directory=tmp_path / "continued"), recorder, resume=True)
    assert recorder.events[0] == ("begin", 0)
    fresh = Recorder()
    pretrain(elsewhere(config, "fresh"), fresh)
    assert recorder.losses[1] < fresh.losses[1]


def test_a_step_that_was_not_kept_is_named(config: PretrainingConfig) -> None:
    pretrain(config, Recorder())
    with pytest.raises(UserError, match="no checkpoint of step 3; there are 9, 12"):
        export_run(config.directory, config.directory / "exported", step=3)


def test_a_signal_at_any_moment_saves_the_last_step(config: PretrainingConfig) -> None:
    slow = dataclasses.replace(
        config, training=dataclasses.replace(config.training, tokens=10_000 * 256)
    )

    def press() -> None:
        while not recorder.losses:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    recorder = Recorder()
    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(Interrupted) as stopped:
        pretrain(slow, recorder)
    thread.join()
    assert stopped.value.signal_number == signal.SIGINT
    saved = checkpoint.steps(config.directory / "checkpoints")
    assert saved[-1] == max(recorder.losses)


def test_a_second_sigterm_still_leaves_time_to_save(config: PretrainingConfig) -> None:
    """Schedulers signal every process, and torchrun its own once more."""

    class Doubly(Recorder):
        def step(self, progress: Progress) -> None:
            super().step(progress)
            if progress.step == 5:
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted) as stopped:
        pretrain(config, Doubly())
    assert stopped.value.signal_number == signal.SIGTERM
    assert checkpoint.steps(config.directory / "checkpoints")[-1] == 5


def test_a_second_signal_does_not_wait(config: PretrainingConfig) -> None:
    """A person who presses Ctrl-C twice gets out at once; the checkpoint before stays."""

    class Impatient(Recorder):
        def step(self, progress: Progress) -> None:
            super().step(progress)
            if progress.step == 5:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        pretrain(config, Impatient())
    while list((config.directory / "checkpoints").glob("*.incomplete")):
        time.sleep(0.01)  # a checkpoint that was under way is still written
    assert checkpoint.steps(config.directory / "checkpoints") == [3]
