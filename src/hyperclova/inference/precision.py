"""In which precision the engine computes."""

import torch
from torch import nn

from hyperclova.parallel.device import bfloat16_in_hardware as bfloat16_in_hardware


def round_linear_layers(model: nn.Module, dtype: torch.dtype) -> None:
    """Hold the weights and biases of every ``nn.Linear`` in ``dtype``, in place.

    Embeddings and LayerNorms stay as they are. Run under autocast to ``dtype``, the model then
    computes as autocast always does, without rounding its matrices anew in every pass.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.to(dtype)
