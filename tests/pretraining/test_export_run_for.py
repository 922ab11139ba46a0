"""A run's checkpoint straight to another engine's format."""

import dataclasses
from pathlib import Path

from safetensors.torch import load_file
from test_run import Recorder

from hyperclova.cli.export import export
from hyperclova.inference.exports import ForeignEngine
from hyperclova.model.mup import BaseShape
from hyperclova.pretraining.config import PretrainingConfig
from hyperclova.pretraining.export import export_run
from hyperclova.pretraining.loop import pretrain
from hyperclova.pretraining.recipe import RecipeSection


def test_a_chosen_step_with_its_multipliers_taken_in(
    config: PretrainingConfig, tmp_path: Path
) -> None:
    wide = dataclasses.replace(config, recipe=RecipeSection(base=BaseShape(16, 2)))
    pretrain(wide, Recorder())
    output = tmp_path / "served" / "model"
    export(wide.directory, output, ForeignEngine.VLLM, step=9)
    for step, same in ((9, True), (12, False)):
        export_run(wide.directory, tmp_path / f"step-{step}", step)
        expected = load_file(tmp_path / f"step-{step}" / "model.safetensors")
        written = load_file(output / "model.safetensors")
        assert set(written) == set(expected)
        assert all(written[name].equal(expected[name]) for name in expected) is same
    assert [path.name for path in output.parent.iterdir()] == ["model"]  # nothing is left over
