"""The cluster examples, as far as they can be tested without a cluster."""

import os
import re
import subprocess
from pathlib import Path
from signal import Signals
from typing import Any

import pytest
import yaml

EXAMPLES = Path(__file__).parents[1] / "examples" / "cluster"

# Stand-ins for Slurm's programs: srun runs a "torchrun" that answers SIGTERM by FINISH.
STAND_INS = {
    "scontrol": """
        if [[ $1 == show ]]; then printf 'node7\\nnode8\\n'; else echo "$@" >> "$LOG"; fi""",
    "scancel": """
        echo "scancel $@" >> "$LOG"; kill -TERM "$(cat "$LOG.pid")" """,
    "srun": """
        trap "exit $FINISH" TERM
        echo "$@" >> "$LOG"; echo $$ > "$LOG.pid"
        if [[ -n ${RUN_SECONDS:-} ]]; then sleep "$RUN_SECONDS"; exit "$FINISH"; fi
        while :; do sleep 0.05; done""",
}


def submit(tmp_path: Path, signal: Signals | None, **environment: str) -> tuple[int, list[str]]:
    """Run the script as Slurm would; its status, and what it asked of Slurm."""
    for name, text in STAND_INS.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)
    log = tmp_path / "log"
    process = subprocess.Popen(
        ["bash", str(EXAMPLES / "slurm.sh"), "configs/pretrain/82B.toml", "layout.tp=8"],
        env={
            **os.environ,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "LOG": str(log),
            "SLURM_JOB_ID": "42",
            "SLURM_JOB_NODELIST": "node[7-8]",
            "SLURM_JOB_NUM_NODES": "2",
            **environment,
        },
    )
    if signal:
        while not (tmp_path / "log.pid").exists() or not (tmp_path / "log.pid").read_text():
            assert process.poll() is None
        os.kill(process.pid, signal)
    return process.wait(timeout=60), log.read_text().splitlines()


def test_a_run_that_ends_is_not_queued_again(tmp_path: Path) -> None:
    status, asked = submit(tmp_path, None, RUN_SECONDS="0", FINISH="0")
    assert status == 0
    (srun,) = asked
    assert "--nnodes 2 --nproc-per-node gpu" in srun
    assert "--rdzv-endpoint node7:29500 --rdzv-id 42-0 " in srun
    assert srun.endswith("-m hyperclova pretrain configs/pretrain/82B.toml layout.tp=8 --resume")


@pytest.mark.parametrize("name", [Signals.SIGUSR1, Signals.SIGTERM])
def test_near_the_time_limit_it_is_stopped_and_queued_again(tmp_path: Path, name: Signals) -> None:
    status, asked = submit(tmp_path, name, FINISH="1")
    assert status == 1
    assert asked[1:] == ["scancel --signal=TERM 42.0", "requeue 42"]


def test_stopped_when_it_was_done_it_is_not_queued_again(tmp_path: Path) -> None:
    status, asked = submit(tmp_path, Signals.SIGUSR1, FINISH="0")
    assert (status, asked[1:]) == (0, ["scancel --signal=TERM 42.0"])


@pytest.mark.parametrize(("finish", "queued"), [("75", ["requeue 42"]), ("1", []), ("2", [])])
def test_only_try_again_is_tried_again(tmp_path: Path, finish: str, queued: list[str]) -> None:
    status, asked = submit(tmp_path, None, RUN_SECONDS="0.1", FINISH=finish)
    assert (status, asked[1:]) == (int(finish), queued)


def test_the_scripts_options_are_slurms() -> None:
    text = (EXAMPLES / "slurm.sh").read_text()
    options = re.findall(r"^#SBATCH --([a-z-]+)", text, re.MULTILINE)
    assert {"nodes", "ntasks-per-node", "signal", "requeue", "time"} <= set(options)
    head, _, body = text.partition("set -u")
    assert "#SBATCH" not in body  # Slurm reads none after the first command
    assert len(options) == len(set(options)) == head.count("#SBATCH")


# The fields of PyTorchJob v1 that the manifest may use, by the operator's types.
SPEC = {"nprocPerNode": str, "elasticPolicy": dict, "runPolicy": dict, "pytorchReplicaSpecs": dict}
ELASTIC = {"rdzvBackend": str, "minReplicas": int, "maxReplicas": int, "maxRestarts": int}
RUN = {"cleanPodPolicy": str, "backoffLimit": int}
REPLICA = {"replicas": int, "restartPolicy": str, "template": dict}


def check_fields(tree: dict[str, Any], fields: dict[str, type]) -> None:
    for name, value in tree.items():
        assert isinstance(value, fields[name]), name


def test_the_manifests_fields_are_the_operators() -> None:
    manifest = yaml.safe_load((EXAMPLES / "pytorchjob.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
    spec = manifest["spec"]
    check_fields(spec, SPEC)
    check_fields(spec["elasticPolicy"], ELASTIC)
    check_fields(spec["runPolicy"], RUN)
    assert spec["runPolicy"]["cleanPodPolicy"] in ("All", "Running", "None")
    (worker,) = spec["pytorchReplicaSpecs"].values()
    check_fields(worker, REPLICA)
    assert worker["restartPolicy"] in ("Always", "OnFailure", "Never", "ExitCode")
    elastic = spec["elasticPolicy"]
    assert worker["replicas"] == elastic["minReplicas"] == elastic["maxReplicas"]
    pod = worker["template"]["spec"]
    (container,) = pod["containers"]
    assert container["name"] == "pytorch"  # where the operator puts torchrun's variables
    assert container["resources"]["limits"]["nvidia.com/gpu"] == spec["nprocPerNode"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert all(isinstance(value, str) for value in environment.values())
    grace = pod["terminationGracePeriodSeconds"]
    assert int(environment["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"]) < grace
