"""A model directory: ``config.json`` and ``model.safetensors`` in GPT-2's layout.

Large models have several files of weights and an index, as ``transformers`` writes them.

The tokenizer's files and the model card stand beside them; this module reads and writes the
weights and the shape, which load in ``transformers`` as they are.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.overrides import TorchFunctionMode

from hyperclova.durable import write_json
from hyperclova.errors import UserError
from hyperclova.model.convert import (
    checked_gpt2,
    config_from_gpt2,
    config_to_gpt2,
    from_gpt2,
    name_pairs,
    to_gpt2,
    to_gpt2_tensor,
)
from hyperclova.model.gpt import GPT, GPTConfig

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def load_config(directory: Path | str) -> GPTConfig:
    """The model's shape, without its weights.

    Raises:
        UserError: no readable GPT-2 ``config.json`` there.
    """
    path = Path(directory) / CONFIG
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; is {directory} a model directory?") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{path}: not a JSON object")
    return config_from_gpt2(tree, where=str(path))


def load_model(
    directory: Path | str,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> GPT:
    """Load a model directory, ours or any other of the GPT-2 architecture, in evaluation mode.

    Raises:
        UserError: a file is missing or broken, a parameter is missing, or a shape does not fit.
    """
    config = load_config(directory)
    path, stored = _read_weights(Path(directory), str(device))
    state = {
        name: tensor.to(dtype)
        for name, tensor in from_gpt2(stored, config, where=str(path)).items()
    }
    with torch.device("meta"), _Undrawn():
        model = GPT(config)
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: weights do not fit {CONFIG}: {reason}") from None
    return model.eval()


def load_gpt2(directory: Path | str) -> tuple[GPTConfig, dict[str, Tensor]]:
    """The shape of a model directory and its tensors as they are stored: GPT-2's names and order.

    The tensors are mapped from their files, so that memory is taken only by what is read.

    Raises:
        UserError: as for :func:`load_model`.
    """
    config = load_config(directory)
    path, stored = _read_weights(Path(directory), "cpu")
    tensors = checked_gpt2(stored, config, where=str(path))
    with torch.device("meta"), _Undrawn():
        expected = to_gpt2(GPT(config).state_dict(), config)
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise UserError(
                f"{path}: weights do not fit {CONFIG}: {name} is {tuple(tensor.shape)}, "
                f"not {tuple(expected[name].shape)}"
            )
    return config, tensors


class _Undrawn(TorchFunctionMode):
    """Skips ``torch.nn.init``: on the meta device it draws nothing but loads torch's compiler."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        arguments: tuple[Any, ...] = (),
        keywords: dict[str, Any] | None = None,
    ) -> Any:
        keywords = keywords or {}
        if getattr(function, "__module__", "") == "torch.nn.init":
            return keywords["tensor"] if "tensor" in keywords else arguments[0]
        return function(*arguments, **keywords)


def save_model(
    model: GPT,
    directory: Path | str,
    dtype: torch.dtype = torch.float32,
    end_of_text_id: int = 0,
) -> None:
    """Write ``config.json`` and the weights of a model in memory; see :func:`save_weights`."""
    state = model.state_dict()

    def read(names: Sequence[str]) -> dict[str, Tensor]:
        return {name: state[name] for name in names}

    save_weights(model.config, read, directory, dtype, end_of_text_id)


def save_weights(
    config: GPTConfig,
    read: Callable[[Sequence[str]], Mapping[str, Tensor]],
    directory: Path | str,
    dtype: torch.dtype = torch.float32,
    end_of_text_id: int = 0,
    file_bytes: int = 4 << 30,
) -> None:
    """Write ``config.json`` and the weights, a file at a time; each file is replaced atomically.

    Weights of more than ``file_bytes`` are divided, as the Hugging Face hub does it, into
    ``model-00001-of-0000N.safetensors`` with an index: memory is needed for one file only.

    Args:
        read: gives the parameters called so in :class:`GPT`.
        dtype: of the stored weights. ``float16`` or ``bfloat16`` halve the file and round.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with torch.device("meta"), _Undrawn():
        shapes = {name: p.shape for name, p in GPT(config).named_parameters()}
    files: list[list[str]] = [[]]
    filled = 0
    for name, shape in shapes.items():
        size = shape.numel() * dtype.itemsize
        if files[-1] and filled + size > file_bytes:
            files.append([])
            filled = 0
        files[-1].append(name)
        filled += size
    theirs = name_pairs(config.layers, config.query_key_norm)
    weight_map: dict[str, str] = {}
    for number, names in enumerate(files, 1):
        file = WEIGHTS if len(files) == 1 else f"model-{number:05}-of-{len(files):05}.safetensors"
        state = {
            theirs[name]: to_gpt2_tensor(name, tensor.detach().float(), config).to("cpu", dtype)
            for name, tensor in read(names).items()
        }
        partial = directory / (file + ".incomplete")
        safetensors.torch.save_file(state, partial, metadata={"format": "pt"})
        partial.chmod(0o644)  # safetensors keeps its files to their owner; a model is to be shared
        partial.replace(directory / file)
        weight_map.update(dict.fromkeys(state, file))
    total = sum(shape.numel() for shape in shapes.values()) * dtype.itemsize
    if len(files) == 1:
        (directory / INDEX).unlink(missing_ok=True)
    else:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        write_json(directory / INDEX, index)
        (directory / WEIGHTS).unlink(missing_ok=True)
    tree = config_to_gpt2(config, end_of_text_id)
    tree["dtype"] = str(dtype).removeprefix("torch.")
    write_json(directory / CONFIG, tree)


def _read_weights(directory: Path, device: str) -> tuple[Path, dict[str, Tensor]]:
    """All tensors of a model directory, and the file to blame if they don't fit."""
    index, files = directory / INDEX, [WEIGHTS]
    if index.exists():
        try:
            weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            files = sorted(set(weight_map.values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{index}: not an index of safetensors files: {error!r}") from None
    stored: dict[str, Tensor] = {}
    for file in files:
        path = directory / file
        try:
            stored |= safetensors.torch.load_file(path, device=device)
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; is {directory} a model directory?") from None
        except SafetensorError as error:
            raise UserError(f"{path}: not a whole safetensors file: {error}") from None
    return (index if index.exists() else directory / WEIGHTS), stored
