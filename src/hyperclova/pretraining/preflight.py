"""What can be known before the first step is checked before the first step.

A run of many days should not die at its first checkpoint of a full disk, nor after an hour of one
machine that has other data. Every check gives one line; one that fails names the remedy.
"""

import os
import platform
import secrets
import shutil
import socket
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]

import hyperclova
from hyperclova.configuration import to_mapping
from hyperclova.corpus.split import HELD_OUT, TRAIN
from hyperclova.errors import UserError
from hyperclova.model import cost
from hyperclova.model.shape import GPTConfig
from hyperclova.parallel import float8
from hyperclova.parallel.device import choose_device, choose_precision, memory_of
from hyperclova.parallel.layout import Layout
from hyperclova.pretraining import checkpoint
from hyperclova.pretraining.config import PretrainingConfig
from hyperclova.pretraining.plan.assumptions import Assumptions
from hyperclova.pretraining.plan.gpu import gpu_named
from hyperclova.pretraining.plan.memory import memory
from hyperclova.pretraining.plan.workload import Setting, Workload
from hyperclova.tokenizer import Tokenizer
from hyperclova.tokens.shards import open_shards

REACH_SECONDS = 120.0
"""So long may a rank take to answer."""
CLOCK_SECONDS = 5.0
"""So far may clocks be apart."""

_WEIGHTS, _GRADIENTS, _MOMENTS = 4, 4, 8
"""Bytes a parameter, in float32."""


@dataclass(frozen=True)
class Finding:
    """What a check found, on one line."""

    check: str
    level: Literal["good", "doubtful", "bad"]
    text: str


@dataclass(frozen=True)
class Subject:
    """The run that is to be checked, seen from this process."""

    config: PretrainingConfig
    shape: GPTConfig
    layout: Layout
    """Resolved."""
    device: torch.device

    @classmethod
    def of(cls, config: PretrainingConfig, processes: int) -> "Subject":
        """The run that ``config`` describes, on so many processes.

        Raises:
            UserError: no such tokenizer or device, or the layout does not divide the model or
                go with the recipe.
        """
        training = config.training
        device = choose_device(training.device)
        tokenizer = Tokenizer.load(config.data.tokenizer)
        shape = config.shape(tokenizer.vocabulary_size)
        layout = config.layout.resolve(processes)
        config.recipe.check_layout(layout)
        layout.check(
            shape, training.sequence_length, training.batch_samples, training.microbatch_samples
        )
        for portion in config.steps.kinds:
            microbatch = training.microbatch_tokens // portion.sequence_length
            layout.check(shape, portion.sequence_length, portion.rows, microbatch)
        if config.recipe.float8:
            float8.check(device, shape, training.microbatch_tokens, layout.tp)
        return cls(config, shape, layout, device)


def examine(subject: Subject, reach_seconds: float = REACH_SECONDS) -> list[Finding]:
    """Run all checks. Every process of a run calls this, and all get the same findings.

    Nothing is changed but for a directory of small files, which is removed again.
    """
    together = dist.is_initialized() and dist.get_world_size() > 1
    findings = []
    if together:
        findings.append(check_reach(subject.device, reach_seconds))
    leads = not dist.is_initialized() or dist.get_rank() == 0
    findings += [check_memory(subject), check_data(subject)]
    if leads:
        findings.insert(-2, check_disk(subject))
    if together:
        findings.append(check_agreement(_facts(subject)))
        findings += check_shared_directory(subject.config.directory)
        findings.append(check_clocks(time.time))
        gathered: list[list[Finding]] = [[]] * dist.get_world_size()
        dist.all_gather_object(gathered, findings)
        findings = merged(gathered)
    return findings


def require(findings: Sequence[Finding]) -> None:
    """Whether the run may begin.

    Raises:
        UserError: with one line for every check that failed.
    """
    bad = [finding.text for finding in findings if finding.level == "bad"]
    if bad:
        raise UserError("\nhyperclova: ".join(bad))


def merged(by_rank: Sequence[Sequence[Finding]]) -> list[Finding]:
    """The findings of all ranks: rank 0's, and what is not good elsewhere, naming the ranks."""
    found = list(by_rank[0])
    elsewhere: dict[Finding, list[int]] = {}
    for rank, findings in enumerate(by_rank):
        for finding in findings:
            if finding.level != "good" and finding not in by_rank[0]:
                elsewhere.setdefault(finding, []).append(rank)
    for finding, ranks in elsewhere.items():
        text = f"{_named(ranks)}: {finding.text}"
        worse = Finding(finding.check, finding.level, text)
        good = [other for other in found if (other.check, other.level) == (finding.check, "good")]
        if good:
            found[found.index(good[0])] = worse
        else:
            found.append(worse)
    return found


def check_disk(subject: Subject) -> Finding:
    """Space for the checkpoints that will be there at once, and for the finished model."""
    config = subject.config
    parameters = cost.parameters(subject.shape)
    one = parameters * (_WEIGHTS + _MOMENTS)
    already = len(checkpoint.steps(config.directory / "checkpoints"))
    # The newest is written before the oldest is removed.
    count = max(1, config.checkpoint.keep + 1 - already)
    every = config.checkpoint.permanent_every_steps
    count += config.steps.count // every if every else 0
    needed = count * one + parameters * _WEIGHTS
    existing = config.directory
    while not existing.exists():
        existing = existing.absolute().parent
    free = shutil.disk_usage(existing).free
    text = (
        f"{config.directory}: {_size(free)} free, and {count} checkpoints of {_size(one)} and the "
        f"model need {_size(needed)}"
    )
    if free >= needed:
        return Finding("disk", "good", text)
    remedy = "free some, lower checkpoint.keep, or choose another directory"
    return Finding("disk", "bad", f"{text}: {remedy}")


def check_memory(subject: Subject) -> Finding:
    """The device's memory: fails if weights, gradients and moments alone don't fit.

    What the estimate of everything says is a reason to doubt, no more: it is an estimate.
    """
    layout = subject.layout
    divided = layout.shards * layout.tp * layout.pp
    state = cost.parameters(subject.shape) * (_WEIGHTS + _GRADIENTS + _MOMENTS) / divided
    home = torch.device("cpu") if layout.offload else subject.device
    total, estimate = memory_of(home), estimated_memory(subject)
    text = (
        f"weights, gradients and optimiser state take {_size(state)} of {_size(total)} on each "
        "device"
    )
    remedy = "divide the model more (layout.dp, layout.tp, layout.pp) or set layout.offload=true"
    if state > total:
        return Finding("memory", "bad", f"{text}: {remedy}")
    available = memory_of(subject.device)
    if estimate > available:
        return Finding(
            "memory",
            "doubtful",
            f"a step is estimated to take {_size(estimate)} of "
            f"{_size(available)} on each device: lower training.microbatch_tokens, set "
            f"layout.recompute, or {remedy}",
        )
    return Finding("memory", "good", text)


def estimated_memory(subject: Subject) -> float:
    """Bytes of a device at the worst moment of a step, as ``hyperclova plan`` has it."""
    training = subject.config.training
    device = gpu_named("a100-80gb")  # of which the precision alone matters here
    if choose_precision(training.precision, subject.device) == torch.float32:
        device = replace(device, bfloat16_tflops=None)
    assumed = Assumptions()
    if torch.accelerator.current_accelerator() is None:
        assumed = replace(assumed, fixed_gb=0.0)
    work = Workload(
        "", subject.shape, training.sequence_length, training.batch_tokens, training.tokens
    )
    setting = Setting(subject.layout, training.microbatch_samples)
    return max(
        memory(work, setting, device, assumed, rank).total for rank in range(subject.layout.pp)
    )


def check_data(subject: Subject) -> Finding:
    """Every shard is there, whole and readable to its end."""
    directory = subject.config.data.directory
    try:
        shards = open_shards(directory / TRAIN)
        if any((directory / HELD_OUT).glob("*.json")):
            shards = shards + open_shards(directory / HELD_OUT)
    except UserError as error:
        return Finding("data", "bad", str(error))
    for shard in shards:
        try:
            last = int(shard.tokens[-1]) if len(shard.tokens) else 0
        except OSError as error:
            return Finding("data", "bad", f"{shard.path}: can't be read: {error}; copy it anew")
        if last >= shard.index.vocabulary_size:
            text = f"{shard.path}: holds token {last}, which its vocabulary doesn't; tokenize again"
            return Finding("data", "bad", text)
    tokens = sum(shard.index.tokens for shard in shards)
    return Finding("data", "good", f"{directory}: {len(shards)} shards of {tokens:,} tokens")


def check_reach(device: torch.device, seconds: float) -> Finding:
    """All ranks answer, first through the store they met at, then in a collective on the device.

    If some do not, this names them and ends the process with status 2: whatever comes next would
    wait for them, the orderly way out included.
    """
    rank, ranks = dist.get_rank(), dist.get_world_size()
    base = dist.distributed_c10d._get_default_store().clone()  # type: ignore[attr-defined]
    store: Store = PrefixStore("preflight", base)
    deadline = time.monotonic() + seconds
    store.set(f"here-{rank}", socket.gethostname())
    missing = _missing(store, "here", ranks, deadline)
    if missing:
        text = f"{_named(missing)} did not answer within {seconds:.0f} s: see the log there"
        _give_up(rank, missing, text)
    work = dist.all_reduce(torch.ones(1, device=device), async_op=True)
    assert work is not None
    while not work.is_completed() and time.monotonic() < deadline:
        time.sleep(0.01)
    if work.is_completed():
        store.set(f"passed-{rank}", "")
    missing = _missing(store, "passed", ranks, deadline)
    if missing:
        text = (
            f"all {ranks} ranks are there, but {_named(missing)} could not finish a collective "
            f"within {seconds:.0f} s: check the network between the machines (firewall; "
            "NCCL_SOCKET_IFNAME or GLOO_SOCKET_IFNAME; NCCL_DEBUG=INFO tells more)"
        )
        _give_up(rank, missing, text)
    hosts = {store.get(f"here-{number}") for number in range(ranks)}
    return Finding("reach", "good", f"{ranks} ranks on {len(hosts)} hosts reach each other")


def check_agreement(facts: dict[str, str]) -> Finding:
    """Configuration, versions and data are those of rank 0."""
    reference: list[dict[str, str]] = [facts]
    dist.broadcast_object_list(reference)
    for name in sorted(reference[0].keys() | facts.keys()):
        here, there = facts.get(name), reference[0].get(name)
        if here != there:
            text = f"{name} is {here}, on rank 0 it is {there}: start all ranks alike"
            return Finding("agreement", "bad", text)
    return Finding("agreement", "good", "all ranks have the same configuration, versions and data")


def check_shared_directory(directory: Path) -> list[Finding]:
    """Every rank can write into the run's directory, and rank 0 sees it."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    name = [f".preflight-{secrets.token_hex(4)}"]  # what an earlier run left must not count
    dist.broadcast_object_list(name)
    place = directory / name[0]
    findings = []
    try:
        place.mkdir(parents=True, exist_ok=True)
        (place / str(rank)).write_text(socket.gethostname(), encoding="utf-8")
    except OSError as error:
        text = f"{directory}: can't be written: {error.strerror}; give the run access to it"
        findings.append(Finding("directory", "bad", text))
    failed: list[bool] = [False] * ranks
    dist.all_gather_object(failed, bool(findings))
    if rank == 0:
        unseen = [
            number
            for number in range(ranks)
            if not failed[number] and not (place / str(number)).exists()
        ]
        if unseen:
            text = (
                f"{directory}: what {_named(unseen)} write there is not seen by rank 0: choose a "
                "directory that all machines share"
            )
            findings.append(Finding("directory", "bad", text))
        elif not any(failed):
            text = f"{directory}: written by all ranks, seen by rank 0"
            findings.append(Finding("directory", "good", text))
    dist.barrier()
    shutil.rmtree(place, ignore_errors=True)
    return findings


def check_clocks(clock: Callable[[], float]) -> Finding:
    """The ranks' clocks tell about the same time: logs and certificates depend on it."""
    dist.barrier()
    times = [0.0] * dist.get_world_size()
    dist.all_gather_object(times, clock())
    middle = statistics.median_low(times)
    off = [rank for rank, now in enumerate(times) if abs(now - middle) > CLOCK_SECONDS]
    if off:
        apart = max(abs(times[rank] - middle) for rank in off)
        text = f"the clock of {_named(off)} is off by {apart:.0f} s: synchronise it (NTP)"
        return Finding("clocks", "bad", text)
    return Finding("clocks", "good", f"clocks are within {max(times) - min(times):.1f} s")


def _give_up(rank: int, missing: Sequence[int], text: str) -> NoReturn:
    if rank == 0 or 0 in missing:  # one voice is enough
        sys.stderr.write(f"hyperclova: {text}\n")
        sys.stderr.flush()
    os._exit(2)


def _facts(subject: Subject) -> dict[str, str]:
    """What must be the same on every rank, by the name the user knows it by."""
    facts = _flat(to_mapping(subject.config))
    facts["hyperclova"] = hyperclova.__version__
    facts["torch"] = torch.__version__
    facts["python"] = ".".join(platform.python_version_tuple()[:2])
    try:
        shards = open_shards(subject.config.data.directory / TRAIN)
    except UserError:  # another check's to say
        return facts
    facts["the tokenizer of data.directory"] = shards[0].index.tokenizer_fingerprint
    facts["the number of tokens in data.directory"] = str(sum(s.index.tokens for s in shards))
    return facts


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


def _missing(store: Store, name: str, ranks: int, deadline: float) -> list[int]:
    """The ranks whose key is not there by the deadline."""
    missing = list(range(ranks))
    while True:
        missing = [rank for rank in missing if not store.check([f"{name}-{rank}"])]
        if not missing or time.monotonic() > deadline:
            return missing
        time.sleep(0.02)


def _named(ranks: Sequence[int]) -> str:
    shown = ", ".join(map(str, ranks[:8])) + (", …" if len(ranks) > 8 else "")
    return f"rank {shown}" if len(ranks) == 1 else f"ranks {shown}"


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
