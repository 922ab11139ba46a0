"""The optimiser, its parameter groups, and the learning rate of every step."""

import math
from typing import Any

import torch

from hyperclova.model.mup import rate_factor
from hyperclova.parallel.place import Placed
from hyperclova.pretraining.config import OptimizerSection
from hyperclova.pretraining.muon import Muon


def build_optimizer(placed: Placed, section: OptimizerSection, learning_rate: float) -> Muon:
    """Fused AdamW; weight decay on matrices and embeddings, none on biases and LayerNorm.

    With ``name = "muon"`` the matrices of the blocks take Muon's step instead. A wide model that
    keeps a narrow one's hyperparameters gives some groups a ``rate_factor``
    (:func:`hyperclova.model.mup.rate_factor`); what a step decays does not change with it.
    """
    shape = placed.config
    groups: dict[tuple[bool, bool, float], dict[str, Any]] = {}
    for name, parameter in placed.trained():
        is_matrix = parameter.dim() >= 2
        orthogonal = section.name == "muon" and is_matrix and name.startswith("blocks.")
        factor = rate_factor(name, parameter.dim(), shape, orthogonal)
        group = groups.setdefault(
            (is_matrix, orthogonal, factor),
            {
                "params": [],
                "rate_factor": factor,
                "weight_decay": section.weight_decay / factor if is_matrix else 0.0,
            },
        )
        group["params"].append(parameter)
        if orthogonal:
            group |= {"orthogonal": True, "betas": (section.momentum, section.beta2)}
            group.setdefault("heads", []).append(shape.heads if "query_key_value" in name else 0)
    optimizer = Muon(
        list(groups.values()),
        lr=learning_rate,
        betas=(section.beta1, section.beta2),
        eps=section.epsilon,
        fused=True,
    )
    set_learning_rate(optimizer, learning_rate)
    return optimizer


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Let the next steps use ``rate``, times each group's factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_factor"]


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
