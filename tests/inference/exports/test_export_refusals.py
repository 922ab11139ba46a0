"""What can't be exported is refused in one line."""

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from exported_models import Exported

from hyperclova.cli.export import export
from hyperclova.errors import UserError
from hyperclova.inference.exports import ForeignEngine, WeightType, export_for
from hyperclova.model import GPT, GPTConfig
from hyperclova.model.directory import save_model
from hyperclova.tokenizer import Tokenizer
from hyperclova.tokenizer.train import train


def save(shape: GPTConfig, tokenizer: Tokenizer, directory: Path) -> Path:
    save_model(GPT(shape), directory)
    tokenizer.save(directory)
    return directory


def command(*arguments: object, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``hyperclova export``; modules in ``path`` are found before all others."""
    before = [str(path)] if path else []
    return subprocess.run(
        [sys.executable, "-m", "hyperclova", "export", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*before, *filter(None, sys.path)])},
    )


@pytest.mark.parametrize("engine", ForeignEngine)
def test_layer_norm_on_queries_and_keys(
    engine: ForeignEngine, tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    shape = GPTConfig(
        tiny_tokenizer.vocabulary_size, 16, layers=1, width=32, heads=2, query_key_norm=True
    )
    model = save(shape, tiny_tokenizer, tmp_path / "normed")
    with pytest.raises(UserError, match=r"LayerNorm on queries and keys \(recipe.query_key_norm\)"):
        export_for(engine, model, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_characters_are_no_byte_level_bpe(korean_lines: list[str], tmp_path: Path) -> None:
    tokenizer = train(korean_lines, vocabulary_size=1500, kind="character")
    shape = GPTConfig(tokenizer.vocabulary_size, 16, layers=1, width=32, heads=2)
    model = save(shape, tokenizer, tmp_path / "characters")
    with pytest.raises(UserError, match=r"llama\.cpp knows byte-level BPE only"):
        export_for(ForeignEngine.GGUF, model, tmp_path / "out.gguf")
    assert not list(tmp_path.glob("out*"))


def test_blocks_of_q8_0_must_fit(tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    shape = GPTConfig(tiny_tokenizer.vocabulary_size, 16, layers=1, width=48, heads=2)
    model = save(shape, tiny_tokenizer, tmp_path / "odd")
    with pytest.raises(UserError, match="width 48 is no multiple of that: choose float16"):
        export_for(ForeignEngine.GGUF, model, tmp_path / "out.gguf", WeightType.Q8_0)


def test_a_tokenizer_larger_than_the_model(tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    shape = GPTConfig(tiny_tokenizer.vocabulary_size - 1, 16, layers=1, width=32, heads=2)
    model = save(shape, tiny_tokenizer, tmp_path / "small")
    with pytest.raises(UserError, match="they do not belong together"):
        export_for(ForeignEngine.VLLM, model, tmp_path / "out")


def test_weights_of_another_shape(tiny_model_directory: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model_directory, model)
    path = model / "config.json"
    path.write_text(path.read_text("utf-8").replace('"n_positions": 128', '"n_positions": 64'))
    with pytest.raises(UserError, match=r"transformer.wpe.weight is \(128, 64\), not \(64, 64\)"):
        export_for(ForeignEngine.VLLM, model, tmp_path / "out")


def test_what_stands_there_is_kept(exported: Exported, tiny_model_directory: Path) -> None:
    there = exported("gguf", "float16")
    before = there.read_bytes()
    with pytest.raises(UserError, match="exists already: remove it or choose another name"):
        export_for(ForeignEngine.GGUF, tiny_model_directory, there)
    assert there.read_bytes() == before


@pytest.mark.parametrize(
    ("engine", "options", "message"),
    [
        ("gguf", {"weights": "int8"}, "gguf stores float32, bfloat16, float16, q8_0"),
        ("vllm", {"weights": "q8_0"}, "vllm stores float32, bfloat16, float16"),
        (None, {"weights": "int8"}, "a model directory stores float32, bfloat16, float16"),
        ("vllm", {"step": 3}, "--step chooses a checkpoint of a run; this is no run"),
    ],
)
def test_options_that_do_not_belong_together(
    engine: str | None,
    options: dict[str, Any],
    message: str,
    tiny_model_directory: Path,
    tmp_path: Path,
) -> None:
    if "weights" in options:
        options = {"weights": WeightType(options["weights"])}
    chosen = ForeignEngine(engine) if engine else None
    with pytest.raises(UserError, match=re.escape(message)) as refused:
        export(tiny_model_directory, tmp_path / "out", chosen, **options)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_what_was_begun_is_taken_away(
    tiny_model_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr("gguf.GGUFWriter.write_tensor_data", full)
    with pytest.raises(OSError, match="no space left"):
        export_for(ForeignEngine.GGUF, tiny_model_directory, tmp_path / "out.gguf")
    assert not list(tmp_path.iterdir())


def test_an_unknown_engine_is_told_the_known_ones(tmp_path: Path) -> None:
    done = command(tmp_path, tmp_path / "out", "--for", "onnx")
    assert done.returncode == 2
    for engine in ForeignEngine:
        assert engine in done.stderr


@pytest.mark.parametrize("package", ["gguf", "ctranslate2"])
def test_a_missing_package_names_the_extra(
    package: str, tiny_model_directory: Path, tmp_path: Path
) -> None:
    raising = f"raise ModuleNotFoundError('no {package}', name='{package}')"
    (tmp_path / f"{package}.py").write_text(raising)
    done = command(tiny_model_directory, tmp_path / "out", "--for", package, path=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == (
        f"hyperclova: this command needs {package}: pip install 'hyperclova[export]'"
    )
