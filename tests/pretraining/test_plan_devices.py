"""The planner against PyTorch: parameters on 1,024 devices, schedules, activations.

Devices are pretended (the ``fake`` process group) and parameters have no memory (the meta
device), so the real model of every size is really divided, by the code that trains it.
"""

import multiprocessing
import tomllib
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import pipelining
from torch.distributed._functional_collectives import AsyncCollectiveTensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.pipelining import schedules
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from hyperclova.model import GPT, SIZES, GPTConfig
from hyperclova.parallel.layout import Layout
from hyperclova.parallel.place import place
from hyperclova.parallel.tensor import shard_tensors
from hyperclova.pretraining.loss import chunk_rows
from hyperclova.pretraining.plan.assumptions import Assumptions
from hyperclova.pretraining.plan.calibrate import cpu_assumptions
from hyperclova.pretraining.plan.memory import in_flight, kept_per_token
from hyperclova.pretraining.plan.speed import bubble_share
from hyperclova.pretraining.plan.tensors import held
from processes import run_ranks

ROOT = Path(__file__).parents[2]


def pretend(rank: int, devices: int) -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=devices)


def in_child(work: Callable[..., Any], *arguments: Any) -> Any:
    """What ``work`` returns in a forked process, so that this one never has a process group."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()

    def main() -> None:
        torch.set_num_threads(1)
        try:
            theirs.send(work(*arguments))
        except BaseException:
            theirs.send(traceback.format_exc())

    process = fork.Process(target=main)
    process.start()
    theirs.close()
    try:
        result = ours.recv()
    finally:
        process.join()
    assert not isinstance(result, str), result
    return result


# Parameters


def parameter_bytes(shape: GPTConfig, layout: Layout, pp_ranks: list[int]) -> list[int]:
    """Of the first device of each of these pipeline ranks, as ``place`` divides the model."""
    sizes = []
    for pp_rank in pp_ranks:
        pretend(pp_rank * layout.groups * layout.tp, layout.processes)
        placed = place(
            shape,
            0,
            layout,
            torch.device("cpu"),
            torch.bfloat16,
            lambda states, head, targets, group: states.sum(),
            sequence_length=2048,
            microbatch=1,
            batch=1024,
            draw=False,
        )
        size = 0
        for part in placed.parts:
            for parameter in part.parameters():
                assert parameter.is_meta
                local = parameter.to_local() if isinstance(parameter, DTensor) else parameter
                size += local.numel() * local.element_size()
        sizes.append(size)
    return sizes


def shipped(name: str) -> tuple[GPTConfig, Layout]:
    """A size of Table 2 and the layout its configuration has in comments."""
    size = SIZES[name]
    text = (ROOT / "configs" / "pretrain" / f"{name}.toml").read_text(encoding="utf-8")
    block = text[text.index("# [layout]") :].split("\n\n")[0]
    tree = tomllib.loads("\n".join(line.removeprefix("# ") for line in block.splitlines()))
    return GPTConfig(51_200, 2048, size.layers, size.width, size.heads), Layout(**tree["layout"])


def check(shape: GPTConfig, layout: Layout) -> None:
    ranks = sorted({0, layout.pp // 2, layout.pp - 1})
    planned = [4 * held(shape, layout, rank).sharded for rank in ranks]
    assert in_child(parameter_bytes, shape, layout, ranks) == planned


@pytest.mark.parametrize("name", SIZES)
def test_every_size_is_divided_as_planned(name: str) -> None:
    check(*shipped(name))


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("137M", Layout(dp=1024)),  # more devices than rows
        ("350M", Layout(dp=24, tp=2, replicas=2)),  # rows that don't divide
        ("760M", Layout(dp=8, tp=8, pp=16)),
        ("1.3B", Layout(dp=4, tp=2, pp=5)),  # layers that don't divide
        ("350M", Layout(dp=8, tp=4, pp=4, schedule="zero-bubble-v", stages_per_rank=2)),
    ],
    ids=str,
)
def test_other_layouts_are_divided_as_planned(name: str, layout: Layout) -> None:
    check(shipped(name)[0], layout)


# Schedules


def simulate(name: str, p: int, v: int, microbatches: int) -> tuple[float, list[int]]:
    """Run PyTorch's order of actions, each stage's forward pass, input gradient and weight
    gradient taking the same time, and sending none.

    Returns:
        Idle time of a rank in microbatches, and the most stages each rank held activations of.
    """
    kind = schedules._ComputationType
    duration = {
        kind.FORWARD: 1.0,
        kind.BACKWARD_INPUT: 1.0,
        kind.BACKWARD_WEIGHT: 1.0,
        kind.FULL_BACKWARD: 2.0,
    }
    pretend(0, p)
    layout = Layout(dp=1, pp=p, schedule=name, stages_per_rank=v)  # type: ignore[arg-type]
    one = (torch.empty(1, 1),)
    stages = [
        pipelining.PipelineStage(
            torch.nn.Identity(), number, layout.stages, torch.device("cpu"), one, one
        )
        for number in layout.stages_of(0)
    ]
    classes = {
        "interleaved-1f1b": pipelining.ScheduleInterleaved1F1B,
        "looped-bfs": pipelining.ScheduleLoopedBFS,
        "zero-bubble": pipelining.ScheduleInterleavedZeroBubble,
        "zero-bubble-v": pipelining.ScheduleZBVZeroBubble,
        "dual-pipe-v": pipelining.ScheduleDualPipeV,
    }
    order = classes[name](stages, microbatches, loss_fn=lambda out, _: out).pipeline_order
    queues = {
        rank: [each for action in actions if action for each in (action.sub_actions or [action])]
        for rank, actions in order.items()
    }
    done: dict[tuple[int, int, str], float] = {}
    clock, busy, live, most = (dict.fromkeys(queues, 0.0) for _ in range(4))
    while any(queues.values()):
        moved = False
        for rank, queue in queues.items():
            while queue:
                stage, row = queue[0].stage_index, queue[0].microbatch_index
                what = queue[0].computation_type
                if what == kind.FORWARD:
                    needs = [(stage - 1, row, "states")] if stage else []
                elif what == kind.BACKWARD_WEIGHT:
                    needs = [(stage, row, "gradient")]
                else:
                    needs = [(stage, row, "states")]
                    needs += [(stage + 1, row, "gradient")] if stage + 1 < layout.stages else []
                if not all(need in done for need in needs):
                    break
                clock[rank] = max([clock[rank], *(done[need] for need in needs)]) + duration[what]
                busy[rank] += duration[what]
                if what != kind.BACKWARD_WEIGHT:
                    result = "states" if what == kind.FORWARD else "gradient"
                    done[stage, row, result] = clock[rank]
                live[rank] += {kind.FORWARD: 1, kind.BACKWARD_INPUT: 0}.get(what, -1)
                most[rank] = max(most[rank], live[rank])
                queue.pop(0)
                moved = True
        assert moved, "the schedule waits for itself"
    idle = (max(clock.values()) - max(busy.values())) / 3 / v
    return idle, [int(most[rank]) for rank in sorted(most)]


@pytest.mark.parametrize(
    ("name", "v"),
    [
        ("interleaved-1f1b", 2),
        ("interleaved-1f1b", 4),
        ("looped-bfs", 2),
        ("zero-bubble", 2),
        ("zero-bubble", 4),
        ("zero-bubble-v", 2),
        ("dual-pipe-v", 2),
    ],
)
def test_schedules_wait_and_hold_as_planned(name: Any, v: int) -> None:
    for p, microbatches in ((4, 8), (8, 32)):
        layout = Layout(dp=1, pp=p, schedule=name, stages_per_rank=v)
        idle, most = in_child(simulate, name, p, v, microbatches)
        assert idle == pytest.approx(bubble_share(layout))
        assert most == [v * in_flight(layout, rank, microbatches) for rank in range(p)]


# Activations and logits


def test_logits_of_a_chunk_are_as_planned() -> None:
    for vocabulary in (6_400, 51_200):
        for device, assumed in (("cpu", cpu_assumptions()), ("cuda", Assumptions())):
            assert assumed.loss_chunk_rows(vocabulary) == chunk_rows(vocabulary, device)


def saved_elements(shape: GPTConfig, time: int, sequence_parallel: bool) -> int:
    """Elements that autograd keeps of one layer divided over two processes, parameters aside."""
    model = GPT(shape)
    shard_tensors(model, init_device_mesh("cpu", (2,)), sequence_parallel)
    kept: dict[int, Tensor] = {}

    def local(tensor: Tensor) -> Tensor:
        inner = tensor.to_local() if isinstance(tensor, DTensor) else tensor
        return inner.wait() if isinstance(inner, AsyncCollectiveTensor) else inner

    def note(tensor: Tensor) -> Tensor:
        inner = local(tensor)
        kept[inner.untyped_storage().data_ptr()] = inner
        return tensor

    block = model.blocks["0"]
    x = torch.randn(1, time // 2 if sequence_parallel else time, shape.width, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        block(x, None)
    for parameter in block.parameters():
        kept.pop(local(parameter.detach()).untyped_storage().data_ptr(), None)
    return sum(tensor.untyped_storage().nbytes() // 4 for tensor in kept.values())


@pytest.mark.parametrize("sequence_parallel", [True, False])
def test_a_layer_keeps_what_is_planned(sequence_parallel: bool, tmp_path: Path) -> None:
    shape, time = GPTConfig(64, 32, 1, 64, 4), 32
    layout = Layout(dp=1, tp=2, sequence_parallel=sequence_parallel)
    for found in run_ranks(saved_elements, 2, tmp_path, shape, time, sequence_parallel):
        assert found == pytest.approx(time * kept_per_token(shape, layout), rel=0.02)
