"""A model directory for engines of other makes: vLLM, CTranslate2, llama.cpp.

All three know GPT-2's architecture. What they get are the weights and the vocabulary; none of them
has the morpheme analyser, so a text becomes the model's own ids only with
:class:`hyperclova.tokenizer.Tokenizer`, and ids are what such an engine is to be given.
"""

import shutil
from enum import StrEnum
from importlib import import_module
from pathlib import Path

from hyperclova.errors import UserError


class ForeignEngine(StrEnum):
    """Who is to load what is written."""

    VLLM = "vllm"
    CTRANSLATE2 = "ctranslate2"
    GGUF = "gguf"


class WeightType(StrEnum):
    """How weights are stored. Each engine has its own; see :data:`STORED`."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT16 = "int16"
    INT8 = "int8"
    INT8_BFLOAT16 = "int8_bfloat16"
    INT8_FLOAT16 = "int8_float16"
    Q8_0 = "q8_0"


_FLOATS = (WeightType.FLOAT32, WeightType.BFLOAT16, WeightType.FLOAT16)

STORED: dict[ForeignEngine | None, tuple[WeightType, ...]] = {
    None: _FLOATS,
    ForeignEngine.VLLM: _FLOATS,
    ForeignEngine.CTRANSLATE2: (
        *_FLOATS,
        WeightType.INT16,
        WeightType.INT8,
        WeightType.INT8_BFLOAT16,
        WeightType.INT8_FLOAT16,
    ),
    ForeignEngine.GGUF: (*_FLOATS, WeightType.Q8_0),
}
"""The types that each format has; None is our own model directory."""


def check_weights(engine: ForeignEngine | None, weights: WeightType) -> None:
    """
    Raises:
        UserError: the format has no such type; the message names those that it has.
    """
    if weights not in STORED[engine]:
        raise UserError(
            f"--weights {weights}: {engine or 'a model directory'} stores "
            f"{', '.join(STORED[engine])}"
        )


def export_for(
    engine: ForeignEngine,
    directory: Path,
    output: Path,
    weights: WeightType = WeightType.FLOAT32,
) -> None:
    """Write what ``engine`` loads; ``output`` appears whole or not at all.

    Args:
        directory: a model directory with its tokenizer.
        output: the directory to write, for GGUF the file.

    Raises:
        UserError: ``output`` exists, the format has no such type of weights, or the model or its
            tokenizer has something that the engine doesn't know.
        ModuleNotFoundError: the engine's library is not installed (the extra ``export``).
    """
    check_weights(engine, weights)
    if output.exists():
        raise UserError(f"{output} exists already: remove it or choose another name")
    # Not at the top: the command line needs the names above where torch is not.
    from hyperclova.inference.exports.source import read_source

    # Modules are called like the formats, and each imports the library of its own.
    writer = import_module(f"{__name__}.{engine}")
    source = read_source(directory)
    partial = output.with_name(f"{output.name}.incomplete")
    _remove(partial)
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        writer.write(source, partial, weights)
        partial.replace(output)
    except BaseException:
        _remove(partial)
        raise


def _remove(path: Path) -> None:
    """A directory or a file, whichever it is, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
