"""What is wrong with a run is said before it begins, and by whom to start looking."""

import dataclasses
import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from hyperclova.errors import UserError
from hyperclova.model import cost
from hyperclova.parallel.layout import Layout
from hyperclova.pretraining import preflight
from hyperclova.pretraining.config import PretrainingConfig
from hyperclova.pretraining.preflight import Finding, Subject, examine, merged, require
from processes import run_ranks

CPU = torch.device("cpu")


def subject_of(config: PretrainingConfig, ranks: int = 1) -> Subject:
    return Subject(config, config.model.shape(480), Layout().resolve(ranks), CPU)


def only(findings: list[Finding], check: str) -> Finding:
    (found,) = [finding for finding in findings if finding.check == check]
    return found


def test_a_sound_run_passes(config: PretrainingConfig) -> None:
    findings = examine(subject_of(config))
    assert [finding.check for finding in findings] == ["disk", "memory", "data"]
    assert {finding.level for finding in findings} == {"good"}
    require(findings)
    assert not config.directory.exists()


def test_a_full_disk_is_noticed(config: PretrainingConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for the two checkpoints that are kept, not for the third that is written first."""
    parameters = cost.parameters(config.model.shape(480))
    one = parameters * 12
    real = shutil.disk_usage(config.directory.parent)
    subject = subject_of(config)
    for room, level in ((2 * one + 4 * parameters, "bad"), (3 * one + 4 * parameters, "good")):
        monkeypatch.setattr(
            shutil, "disk_usage", lambda path, room=room: type(real)(real.total, 0, room)
        )
        finding = preflight.check_disk(subject)
        assert finding.level == level, finding
        assert "3 checkpoints of 502.3 kB" in finding.text
    many = dataclasses.replace(config.checkpoint, permanent_every_steps=3)
    finding = preflight.check_disk(subject_of(dataclasses.replace(config, checkpoint=many)))
    assert finding.level == "bad" and "7 checkpoints" in finding.text
    assert "lower checkpoint.keep" in finding.text


def test_a_model_that_cannot_fit_is_refused(config: PretrainingConfig) -> None:
    subject = subject_of(config)
    huge = dataclasses.replace(subject, shape=dataclasses.replace(subject.shape, width=1 << 20))
    with pytest.raises(UserError, match=r"optimiser state take .* TB of .*layout\.offload=true"):
        require(examine(huge))
    many = dataclasses.replace(config.training, batch_tokens=config.training.batch_tokens << 25)
    divided = dataclasses.replace(
        huge,
        config=dataclasses.replace(config, training=many),
        layout=Layout(dp=1 << 25, tp=1 << 5),
    )
    assert preflight.check_memory(divided).level != "bad"
    assert 16 * cost.parameters(subject.shape) < preflight.estimated_memory(subject) < 1e8
    training = dataclasses.replace(config.training, microbatch_tokens=1 << 36, batch_tokens=1 << 36)
    wide = subject_of(dataclasses.replace(config, training=training))
    finding = preflight.check_memory(wide)
    assert finding.level == "doubtful" and "training.microbatch_tokens" in finding.text
    require([finding])  # an estimate forbids nothing


def test_a_broken_shard_is_named(config: PretrainingConfig, tmp_path: Path) -> None:
    directory = tmp_path / "tokens"
    shutil.copytree(config.data.directory, directory)
    moved = dataclasses.replace(config, data=dataclasses.replace(config.data, directory=directory))
    assert preflight.check_data(subject_of(moved)).level == "good"
    shard = sorted((directory / "held-out").glob("*.tokens.npy"))[0]
    tokens = np.load(shard)
    tokens[-1] = 60_000
    np.save(shard, tokens)
    finding = preflight.check_data(subject_of(moved))
    assert finding.level == "bad" and "holds token 60000" in finding.text
    shard.unlink()
    with pytest.raises(UserError, match=shard.name.removesuffix(".tokens.npy")):
        require(examine(subject_of(moved)))


def test_every_failure_is_a_line() -> None:
    findings = [Finding("a", "bad", "one"), Finding("b", "good", "two"), Finding("c", "bad", "3")]
    with pytest.raises(UserError) as raised:
        require(findings)
    assert f"hyperclova: {raised.value}".splitlines() == ["hyperclova: one", "hyperclova: 3"]


def test_findings_of_many_ranks_become_one_list() -> None:
    good, bad = Finding("data", "good", "12 shards"), Finding("data", "bad", "a.npy: missing")
    assert merged([[good], [good]]) == [good]
    assert merged([[good], [bad], [good], [bad]]) == [
        Finding("data", "bad", "ranks 1, 3: a.npy: missing")
    ]
    assert merged([[bad], [bad]]) == [bad]


def examine_on_each_rank(config: PretrainingConfig, change: str = "") -> list[Finding]:
    if dist.get_rank() == 1:
        if change == "seed":
            training = dataclasses.replace(config.training, seed=99)
            config = dataclasses.replace(config, training=training)
        if change == "clock":
            real = time.time
            time.time = lambda: real() + 3600
        if change == "data":
            data = dataclasses.replace(config.data, directory=Path("nowhere"))
            config = dataclasses.replace(config, data=data)
        if change == "directory":
            config = dataclasses.replace(config, directory=config.directory.with_name("mine"))
        if change == "file":
            config.directory.with_name("taken").write_text("")
            config = dataclasses.replace(config, directory=config.directory.with_name("taken"))
    return examine(subject_of(config, dist.get_world_size()))


def test_sound_ranks_pass(config: PretrainingConfig, tmp_path: Path) -> None:
    first, second = run_ranks(examine_on_each_rank, 2, tmp_path / "meet", config)
    assert first == second
    assert [finding.check for finding in first] == [
        *("reach", "disk", "memory", "data", "agreement", "directory", "clocks")
    ]
    assert {finding.level for finding in first} == {"good"}, first
    assert only(first, "reach").text == "2 ranks on 1 hosts reach each other"
    assert list(config.directory.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "check", "text"),
    [
        ("seed", "agreement", "rank 1: training.seed is 99, on rank 0 it is 5"),
        ("clock", "clocks", "clock of rank 1 is off by 3600 s"),
        ("data", "data", "rank 1: nowhere"),
        ("directory", "directory", "what rank 1 write there is not seen by rank 0"),
        ("file", "directory", "rank 1: .*taken: can't be written"),
    ],
)
def test_what_differs_on_a_rank_is_named(
    config: PretrainingConfig, tmp_path: Path, change: str, check: str, text: str
) -> None:
    first, second = run_ranks(examine_on_each_rank, 2, tmp_path / "meet", config, change)
    assert first == second, first
    with pytest.raises(UserError, match=text):
        require([only(first, check)])


def reach_with_a_rank_missing(directory: Path, what: str) -> None:
    rank = dist.get_rank()
    os.dup2(os.open(directory / f"errors-{rank}.txt", os.O_WRONLY | os.O_CREAT), 2)
    sys.stderr = os.fdopen(2, "w")
    if rank == 1:
        if what == "mute":  # it is there, and does not take part in the collective
            store = dist.distributed_c10d._get_default_store()
            dist.PrefixStore("preflight", store).set("here-1", "host")
        os.kill(os.getpid(), signal.SIGSTOP)
    preflight.check_reach(CPU, seconds=2.0)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("gone", "hyperclova: rank 1 did not answer within 2 s: see the log there"),
        ("mute", "hyperclova: all 3 ranks are there, but .*1.* could not finish a collective"),
    ],
)
def test_ranks_that_do_not_answer_are_named(tmp_path: Path, what: str, text: str) -> None:
    results = run_ranks(reach_with_a_rank_missing, 3, tmp_path, tmp_path, what, frozen=1)
    assert results == [2, -signal.SIGKILL, 2]
    lines = (tmp_path / "errors-0.txt").read_text().splitlines()
    (said,) = [line for line in lines if line.startswith("hyperclova:")]
    assert re.match(text, said), said
