"""The model as the engine runs it: on a device, in a precision, with packed matrices."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from hyperclova.errors import UserError
from hyperclova.inference.attention import SpanAttention
from hyperclova.inference.linear import Kind, PackedLinear, int8_available, kind_for, pack
from hyperclova.inference.native.decoder import NativeDecoder
from hyperclova.inference.native.linear import NativeInt8Linear, NativeLinear
from hyperclova.inference.protocol import Precision
from hyperclova.model import GPT, GPTConfig
from hyperclova.model.cost import parameters
from hyperclova.model.directory import load_config, load_model
from hyperclova.parallel.device import bfloat16_in_hardware

_WORTH_INT8 = 30_000_000
"""Parameters from which reading the weights takes longer than quantising activations by PyTorch's
operations; with kernels of our own it always does."""
_WORTH_THREADS = 30_000_000
"""Parameters from which sharing a step between threads gains more than they wait for each other."""


class Runner:
    """Runs a model directory's weights.

    Args:
        directory: a model directory.
        device: where to run; None takes a CUDA device if there is one.
        precision: of weights and products; None is bfloat16 on CUDA devices that compute in it,
            else float32; ``fast`` takes int8 on CPUs, for small models only with kernels of our
            own. ``int8`` quantises the matrices and is for CPUs. Logits are float32 always.

    Raises:
        UserError: the directory holds no model that can be loaded, or the device cannot compute
            in that precision.
    """

    def __init__(
        self,
        directory: Path | str,
        device: torch.device | str | None = None,
        precision: Precision | None = None,
    ) -> None:
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        if precision in (None, "fast"):
            precision = _precision(self.device, load_config(directory), precision == "fast")
        if precision == "int8" and self.device.type != "cpu":
            raise UserError(f"precision int8 is for CPUs, not for {self.device.type}: use bfloat16")
        self.precision = precision
        self.dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        """Of activations, keys and values."""
        self._model: GPT = load_model(directory, dtype=self.dtype, device=self.device)
        self.config: GPTConfig = self._model.config
        self.parameters = sum(p.numel() for p in self._model.parameters())
        self.threads = torch.get_num_threads() if self.parameters >= _WORTH_THREADS else 1
        """For PyTorch's operations; whoever runs the model sets them on its thread."""
        kind = kind_for(precision, self.device)
        with warnings.catch_warnings():
            # torch tells everybody who quantises of its plans for another package.
            warnings.simplefilter("ignore")
            self._head = _head(self._model, kind)
            pack(self._model, kind)
        decodes = issubclass(kind, NativeLinear) and NativeDecoder.available(self.config)
        self._decoder = NativeDecoder(self._model) if decodes else None

    def states(
        self,
        ids: Sequence[int],
        positions: Sequence[int],
        attend: SpanAttention,
        places: Sequence[int] = (),
        embeddings: Sequence[Tensor] = (),
    ) -> Tensor:
        """The states ``(tokens, width)`` after tokens of one or more sequences.

        Args:
            ids, positions: of each token.
            places: indices of tokens that are no tokens but rows of ``embeddings``, in order.
            embeddings: tensors ``(rows, width)``, float32.
        """
        single = attend.single
        if self._decoder is not None and single is not None and not places:
            return self._decoder.states(ids, positions, single)
        x = self._model.token_embedding(torch.tensor(ids, device=self.device))
        if places:
            x[list(places)] = torch.cat(list(embeddings)).to(x)
        at = torch.tensor(positions, device=self.device)
        return self._model.hidden(embeddings=x[None], positions=at, attend=attend)[0]

    def project(self, states: Tensor) -> Tensor:
        """Logits ``(rows, vocab_size)`` of states ``(rows, width)``, float32, on the CPU."""
        logits: Tensor = self._head(states.float())
        return logits.cpu()


def _precision(device: torch.device, config: GPTConfig, fast: bool) -> Precision:
    if device.type == "cuda":
        return "bfloat16" if bfloat16_in_hardware(device) else "float32"
    if not (fast and int8_available()):
        return "float32"
    worthwhile = NativeInt8Linear.available() or parameters(config) >= _WORTH_INT8
    return "int8" if worthwhile else "float32"


def _head(model: GPT, kind: Kind) -> nn.Module:
    # float32 where the model is bfloat16, whose logits would round log-probabilities to two
    # digits.
    weight = model.token_embedding.weight.detach().float()
    if kind is not PackedLinear or PackedLinear.available(weight):
        return kind(weight, None)
    head = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    head.weight = nn.Parameter(weight, requires_grad=False)
    return head
