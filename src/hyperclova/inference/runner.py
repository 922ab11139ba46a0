"""The model as the engine runs it: on a device, in a precision, with packed matrices.

On CPUs the matrices are packed once for oneDNN. That is faster than the default path for the few
rows of a decoding step (twice as fast at 4 to 16 rows on an AVX2 machine), and on the machines
we measured a row's result does not depend, to the last bit, on how many rows stand beside it.
That is why the same seed gives the same text alone and in a batch.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from hyperclova.model import GPT, GPTConfig
from hyperclova.model.directory import load_model
from hyperclova.model.gpt import Attend

_ROWS_HINT = 8  # oneDNN chooses a blocking for this many rows; others run with it, too


class PackedLinear(nn.Module):
    """``nn.Linear`` for inference in float32 on a CPU, its matrix in oneDNN's blocked layout."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(
            weight.detach().contiguous(), _ROWS_HINT
        )
        self._bias = None if bias is None else bias.detach()

    @staticmethod
    def available(weight: Tensor) -> bool:
        """Whether this torch and this matrix allow packing."""
        return (
            torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
            and hasattr(torch.ops.mkldnn, "_linear_pointwise")
            and weight.device.type == "cpu"
            and weight.dtype == torch.float32
        )

    def forward(self, x: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._packed, self._bias, "none", [], ""
        )
        return product


class Runner:
    """Runs a model directory's weights.

    Args:
        directory: a model directory.
        device: where to run; None takes a CUDA device if there is one.
        dtype: of weights and caches; None is bfloat16 on CUDA devices that compute in it, else
            float32. Logits are float32 always.

    Raises:
        UserError: the directory holds no model that can be loaded.
    """

    def __init__(
        self,
        directory: Path | str,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        if dtype is None:
            fast = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
            dtype = torch.bfloat16 if fast else torch.float32
        self.dtype = dtype
        self._model: GPT = load_model(directory, dtype=dtype, device=self.device)
        self.config: GPTConfig = self._model.config
        self.parameters = sum(p.numel() for p in self._model.parameters())
        self._head = _head(self._model)
        _pack(self._model)

    def hidden(self, tokens: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """The states ``(batch, time, width)`` after tokens ``(batch, time)``."""
        return self._model.hidden(
            tokens.to(self.device), positions=positions.to(self.device), attend=attend
        )

    def project(self, hidden: Tensor) -> Tensor:
        """Logits ``(rows, vocab_size)`` of states ``(rows, width)``, float32, on the CPU."""
        logits: Tensor = self._head(hidden.float())
        return logits.cpu()


def _head(model: GPT) -> nn.Module:
    # float32 whatever the model's precision: bfloat16 logits would round log-probabilities to
    # two digits.
    weight = model.token_embedding.weight.detach().float()
    if PackedLinear.available(weight):
        return PackedLinear(weight, None)
    head = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    head.weight = nn.Parameter(weight, requires_grad=False)
    return head


def _pack(module: nn.Module) -> None:
    """Replace every linear layer below ``module`` by its packed form, where that is possible."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear) and PackedLinear.available(child.weight):
            setattr(module, name, PackedLinear(child.weight, child.bias))
        else:
            _pack(child)
