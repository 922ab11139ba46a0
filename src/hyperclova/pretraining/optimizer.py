"""The optimiser, its parameter groups, and the learning rate of every step."""

import math
from typing import Any

from hyperclova.parallel.place import Placed
from hyperclova.pretraining.config import OptimizerSection
from hyperclova.pretraining.muon import Muon


def build_optimizer(placed: Placed, section: OptimizerSection, learning_rate: float) -> Muon:
    """Fused AdamW; weight decay on matrices and embeddings, none on biases and LayerNorm.

    With ``name = "muon"`` the matrices of the blocks take Muon's step instead.
    """
    named = list(placed.trained())
    inner = {p for n, p in named if section.name == "muon" and p.dim() == 2 and "blocks." in n}
    rest = [p for _, p in named if p not in inner]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in rest if p.dim() >= 2], "weight_decay": section.weight_decay},
        {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0},
    ]
    if inner:
        heads = placed.config.heads
        fused = [(p, heads if "query_key_value" in n else 0) for n, p in named if p in inner]
        groups.append(
            {
                "params": [parameter for parameter, _ in fused],
                "heads": [heads for _, heads in fused],
                "weight_decay": section.weight_decay,
                "betas": (section.momentum, section.beta2),
                "orthogonal": True,
            }
        )
    return Muon(
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
