"""The planner: what it says of published runs, of the paper's sizes, and on the command line."""

import dataclasses
import json
import math
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from hyperclova.configuration import load
from hyperclova.errors import UserError
from hyperclova.model import SIZES, GPTConfig, cost
from hyperclova.parallel.layout import Layout
from hyperclova.pretraining.config import PretrainingConfig
from hyperclova.pretraining.plan import picture
from hyperclova.pretraining.plan.assumptions import Assumptions
from hyperclova.pretraining.plan.compute import Device
from hyperclova.pretraining.plan.gpu import gpu_named, gpu_names
from hyperclova.pretraining.plan.memory import Memory, kept_per_token, memory
from hyperclova.pretraining.plan.published import Run, published
from hyperclova.pretraining.plan.search import Plan, Planner, host_memory, to_toml
from hyperclova.pretraining.plan.speed import Speed, StepTime
from hyperclova.pretraining.plan.tensors import held
from hyperclova.pretraining.plan.traffic import Group, Wires
from hyperclova.pretraining.plan.workload import Setting, Workload, changed, workload_named

ROOT = Path(__file__).parents[2]
A100 = gpu_named("a100-80gb")


def hyperclova(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hyperclova", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def planner(name: str, gpu: str = "a100-80gb") -> Planner:
    return Planner(workload_named(name)[0], gpu_named(gpu), gpu)


# Published runs


def off(run: Run) -> float:
    return run.predicted() / run.measured


def test_the_runs_it_was_fitted_to() -> None:
    ratios = [off(run) for run in published() if run.fitted]
    assert len(ratios) > 25
    assert all(0.85 < ratio < 1.12 for ratio in ratios)
    assert math.sqrt(sum(math.log(ratio) ** 2 for ratio in ratios) / len(ratios)) < 0.045


def test_the_runs_it_was_not_fitted_to() -> None:
    others = [run for run in published() if not run.fitted]
    assert len(others) >= 8
    assert all(0.9 < off(run) < Assumptions().caution for run in others)
    piped = [run for run in others if run.pp > 1]
    assert len(piped) == 2
    assert all(abs(off(run) - 1) < 0.05 for run in piped)


# The paper's sizes


def test_the_largest_size_takes_fewer_days_than_the_papers() -> None:
    best = planner("82B").best(1024, 5)
    assert [plan.tokens_per_second for plan in best] == sorted(
        (plan.tokens_per_second for plan in best), reverse=True
    )
    for plan in best:
        assert plan.gpus == 1024
        assert plan.fits
        assert plan.days(150_000_000_000) * plan.assumed.caution < 13.4
        assert 0.2 < plan.mfu < plan.gpu.matmul_efficiency


def test_the_figures_of_a_plan_agree_with_each_other() -> None:
    (plan,) = planner("13B", "h100-80gb").best(64, 1)
    record = plan.to_json()
    assert record["days_by_tokens"]["150000000000"] == record["days"]
    assert record["days_by_tokens"]["300000000000"] == pytest.approx(2 * record["days"], rel=1e-3)
    assert sum(record["memory_by_kind_gb"].values()) == pytest.approx(record["memory_gb"], abs=0.01)
    assert sum(record["time_by_kind_seconds"].values()) == pytest.approx(
        record["step_seconds"], abs=0.01
    )
    flops = cost.training_flops_per_token(plan.work.shape)
    assert record["mfu"] == pytest.approx(
        record["tokens_per_second"] * flops / (64 * 989e12), rel=1e-3
    )
    hours = record["days"] * 24
    assert record["cost_usd"] == pytest.approx(hours * 64 * plan.gpu.dollars_per_hour, rel=1e-3)


def test_every_gpu_can_be_planned_for() -> None:
    for name in gpu_names():
        (plan,) = planner("350M", name).best(8, 1)
        assert plan.fits
        assert 0 < plan.mfu < plan.gpu.matmul_efficiency
        assert plan.gpu.source


def test_older_devices_train_in_float32() -> None:
    (plan,) = planner("137M", "v100-32gb").best(1, 1)
    assert plan.gpu.precision == "float32"
    assert plan.gpu.peak == 15.7e12


def test_what_does_not_fit_is_offloaded_or_refused() -> None:
    (plan,) = planner("13B").best(2, 1)
    assert plan.setting.layout.offload
    half = 16 * cost.parameters(plan.work.shape) / 2
    assert host_memory(plan.work, plan.setting) == pytest.approx(half, rel=1e-3)
    with pytest.raises(UserError, match=r"82B does not fit on 8 × l4.*GB of each and.*its host"):
        planner("82B", "l4").best(8, 1)
    with pytest.raises(UserError, match=r"6.9B does not fit on 1 × a100-40gb.*GB of each; use"):
        planner("6.9B", "a100-40gb").best(1, 1)
    with pytest.raises(UserError, match="choose another --gpus"):
        planner("137M").best(13, 1)  # 12 layers, 1,024 sequences


# Its parts


def test_one_device_counts_the_models_parameters() -> None:
    for name in SIZES:
        shape = workload_named(name)[0].shape
        here = held(shape, Layout(dp=1), 0)
        assert here.sharded == here.blocks + here.ends == cost.parameters(shape)


def test_pipeline_ranks_hold_the_model_and_the_head_twice() -> None:
    shape = workload_named("39B")[0].shape
    layout = Layout(dp=1, pp=4, schedule="interleaved-1f1b", stages_per_rank=3)
    ranks = [held(shape, layout, rank) for rank in range(4)]
    tied = shape.vocab_size * shape.width
    assert sum(rank.sharded for rank in ranks) == cost.parameters(shape) + tied


def test_products_make_up_the_models_operations() -> None:
    """With no loss anywhere, a step takes the formula's operations over the peak."""
    ideal = dataclasses.replace(
        A100, matmul_efficiency=1.0, attention_efficiency=0.5, memory_gb_s=1e12
    )  # half of attention is done, at half of the peak: the formula counts it in full
    assumed = Assumptions(shape_constant=0.0, host_seconds=0.0, step_seconds=0.0)
    work = workload_named("1.3B")[0]
    time = Speed(work, ideal, assumed).step(Setting(Layout(dp=1), 8))
    flops = cost.training_flops_per_token(work.shape) * work.batch_tokens
    # Attention's backward pass is two and a half forward passes, not two.
    extra = 0.5 * 4 * work.shape.layers * 2048 * work.shape.width * work.batch_tokens
    assert time.total == pytest.approx((flops + extra) / ideal.peak, rel=1e-6)


def test_kept_activations_are_the_cost_models() -> None:
    """One device, bfloat16 streams: what ``cost.activation_bytes`` counts, layer by layer."""
    shape = GPTConfig(1000, 64, 3, 64, 4)
    per_token = kept_per_token(shape, Layout(dp=2))
    d = shape.width
    whole = cost.activation_bytes(shape, 1, 1, bytes_per_element=1)
    final = d + 2
    # Statistics are float32, two elements of bfloat16 each.
    assert shape.layers * (per_token - 4 - shape.heads) == whole - final


def test_recomputing_trades_memory_for_time() -> None:
    work = workload_named("6.9B")[0]
    settings = [
        Setting(Layout(dp=64, recompute=recompute), 4)
        for recompute in ("none", "selective", "full")
    ]
    sizes = [memory(work, each, A100, Assumptions(), 0).activations for each in settings]
    times = [Speed(work, A100, Assumptions()).step(each).total for each in settings]
    assert sizes == sorted(sizes, reverse=True)
    assert times == sorted(times)


def test_sequence_parallelism_saves_memory_at_no_cost() -> None:
    work = workload_named("13B")[0]
    divided, whole = (
        Setting(Layout(dp=8, tp=8, sequence_parallel=each), 1) for each in (True, False)
    )
    first, second = (memory(work, each, A100, Assumptions(), 0) for each in (divided, whole))
    assert first.activations < second.activations
    assert first.parameters == second.parameters


def test_collectives_between_servers_take_the_network() -> None:
    wires = Wires(A100, Assumptions(link_latency=0, network_latency=0))
    layout = Layout(dp=16, tp=4).resolve(64)
    assert wires.shards(layout) == Group(16, 2)
    assert wires.shards(layout).servers == 8
    assert wires.gather(Group(8, 8), 8e9) == pytest.approx(7e9 / (300e9 * 0.75))
    assert wires.gather(Group(16, 2), 16e9) == pytest.approx(14e9 / 2 / (25e9 * 0.75))
    assert wires.gather(Group(1, 1), 1e9) == 0
    assert wires.reduce(Group(8, 8), 1e9) == 2 * wires.gather(Group(8, 8), 1e9)


def test_small_products_are_less_efficient() -> None:
    device = Device(A100, Assumptions())
    large, small = (2 * n**3 / device.product(n, n, n) for n in (8192, 256))
    assert small < large < A100.peak * A100.matmul_efficiency


def test_the_picture_shows_every_kind(tmp_path: Path) -> None:
    assert set(picture._TIME) == {field.name for field in dataclasses.fields(StepTime)}
    assert set(picture._MEMORY) == {field.name for field in dataclasses.fields(Memory)}
    picture.draw(planner("39B").best(256, 3), tmp_path / "plan.png")
    assert (tmp_path / "plan.png").stat().st_size > 10_000


# Configurations


def commented_layout(name: str) -> str:
    """The ``[layout]`` that the file of a size has in comments."""
    text = (ROOT / "configs" / "pretrain" / f"{name}.toml").read_text(encoding="utf-8")
    block = text[text.index("# [layout]") :].split("\n\n")[0]
    return "\n".join(line.removeprefix("# ") for line in block.splitlines())


@pytest.mark.parametrize("name", SIZES)
def test_shipped_layouts_are_what_the_planner_proposes(name: str) -> None:
    path = ROOT / "configs" / "pretrain" / f"{name}.toml"
    text = path.read_text(encoding="utf-8")
    command = text[text.index("`hyperclova plan ") :].split("`")[1].split()
    gpus = int(command[command.index("--gpus") + 1])
    work, _ = workload_named(str(path))
    (best,) = Planner(work, A100, "a100-80gb").best(gpus, 1)
    assert to_toml(best).startswith(commented_layout(name) + "\n\n[training]")
    microbatch = best.setting.microbatch_samples * work.sequence_length
    assert f"training.microbatch_tokens={microbatch};" in text
    layout = tomllib.loads(commented_layout(name))["layout"]
    overrides = [f"layout.{key}={json.dumps(value)}" for key, value in layout.items()]
    config = load(PretrainingConfig, path, overrides)
    assert config.layout.resolve(gpus) == best.setting.layout


def test_a_configuration_can_be_planned(tmp_path: Path) -> None:
    work, setting = workload_named(str(ROOT / "configs" / "pretrain" / "default-gpu.toml"))
    assert (work.name, work.shape.layers, work.tokens) == ("default-gpu", 7, 1_000_000_000)
    assert setting is not None
    assert changed(work, tokens=5).tokens == 5
    (mine,) = Planner(work, A100, "a100-80gb").as_configured(setting, 1)
    assert mine.configured
    assert mine.setting.microbatch_samples == 64
    with pytest.raises(UserError, match="not a multiple of the sequence length"):
        changed(work, batch_tokens=1000)


# The command


def test_json_for_machines() -> None:
    done = hyperclova("plan", "82B", "--gpus", "1024", "--gpu", "a100-80gb", "--json", "--top", "2")
    assert done.returncode == 0, done.stderr
    tree = json.loads(done.stdout)
    assert set(tree) == {"plans"}
    assert len(tree["plans"]) == 2
    for plan in tree["plans"]:
        assert {"layout", "days", "tokens_per_second", "mfu", "memory_gb"} <= set(plan)
        assert Layout(**plan["layout"]).processes == 1024
        assert plan["days"] < 13.4


def test_it_starts_without_torch() -> None:
    code = (
        "import sys; sys.argv = ['hyperclova', 'plan', '137M', '--gpus', '2', '--json']\n"
        "from hyperclova.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_toml_to_paste() -> None:
    done = hyperclova("plan", "13B", "--gpus", "16", "--gpu", "h100-80gb", "--toml")
    tree = tomllib.loads(done.stdout)
    assert Layout(**tree["layout"]).resolve(16).processes == 16
    assert tree["training"]["batch_tokens"] % tree["training"]["microbatch_tokens"] == 0


def test_all_sizes_in_one_table() -> None:
    done = hyperclova("plan", "all", "--gpus", "8", "--gpu", "l4")
    assert done.returncode == 0, done.stderr
    for name in SIZES:
        assert name in done.stdout
    assert "82B does not fit on 8 × l4" in done.stdout


def test_what_is_wrong_is_said_in_a_line() -> None:
    for arguments, reason in (
        (("14B",), "no model size '14B'"),
        (("13B", "--gpu", "a1000"), "no GPU 'a1000': choose one of a100-40gb"),
        (("missing.toml",), "no such configuration file"),
    ):
        done = hyperclova("plan", *arguments)
        assert done.returncode == 2
        assert reason in done.stderr
        assert done.stderr.count("\n") == 1


def test_plans_are_plain_data() -> None:
    (plan,) = planner("137M").best(1, 1)
    assert isinstance(plan, Plan)
    assert json.loads(json.dumps(plan.to_json())) == plan.to_json()
    assert isinstance(plan.work, Workload)
