"""A model directory: ``config.json`` and ``model.safetensors`` in GPT-2's layout.

The tokenizer's files and the model card stand beside them; this module reads and writes the
weights and the shape, which load in ``transformers`` as they are.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch.overrides import TorchFunctionMode

from hyperclova.errors import UserError
from hyperclova.model.convert import config_from_gpt2, config_to_gpt2, from_gpt2, to_gpt2
from hyperclova.model.gpt import GPT, GPTConfig

CONFIG = "config.json"
WEIGHTS = "model.safetensors"


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
    path = Path(directory) / WEIGHTS
    try:
        stored = safetensors.torch.load_file(path, device=str(device))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; is {directory} a model directory?") from None
    except SafetensorError as error:
        raise UserError(f"{path}: not a whole safetensors file: {error}") from None
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
    """Write ``config.json`` and ``model.safetensors``; each file is replaced atomically.

    Args:
        dtype: of the stored weights. ``float16`` or ``bfloat16`` halve the file and round.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    state = {
        name: tensor.detach().to("cpu", dtype)
        for name, tensor in to_gpt2(model.state_dict(), model.config).items()
    }
    tree = config_to_gpt2(model.config, end_of_text_id)
    tree["dtype"] = str(dtype).removeprefix("torch.")
    weights = directory / (WEIGHTS + ".incomplete")
    safetensors.torch.save_file(state, weights, metadata={"format": "pt"})
    weights.chmod(0o644)  # safetensors keeps its files to their owner; a model is to be shared
    weights.replace(directory / WEIGHTS)
    config = directory / (CONFIG + ".incomplete")
    config.write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")
    config.replace(directory / CONFIG)
