"""AdamW, its parameter groups, and the learning rate of every step."""

import math

import torch
from torch import nn

from hyperclova.pretraining.config import OptimizerSection


def build_optimizer(
    model: nn.Module, section: OptimizerSection, learning_rate: float
) -> torch.optim.AdamW:
    """Fused AdamW; weight decay on matrices and embeddings, none on biases and LayerNorm."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": section.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=learning_rate,
        betas=(section.beta1, section.beta2),
        eps=section.epsilon,
        fused=True,
    )


def learning_rate(tokens: int, total_tokens: int, peak: float, section: OptimizerSection) -> float:
    """Linear warm-up, then a cosine from the peak to ``final_ratio`` of it.

    Args:
        tokens: seen after the step that uses this rate.
        total_tokens: of the whole run.
    """
    if tokens < section.warmup_tokens:
        return peak * tokens / section.warmup_tokens
    span = max(1, total_tokens - section.warmup_tokens)
    progress = min(1.0, (tokens - section.warmup_tokens) / span)
    low = peak * section.final_ratio
    return low + (peak - low) * (1 + math.cos(math.pi * progress)) / 2
