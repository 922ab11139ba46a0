"""The share of a GPT that one pipeline stage runs, from its input to its output or to the loss."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from hyperclova.model.gpt import GPT, Attend
from hyperclova.parallel.documents import (
    DocumentAttention,
    document_numbers,
    document_positions,
)
from hyperclova.parallel.tensor import gather_states

Objective = Callable[[Tensor, Tensor, Tensor, dist.ProcessGroup | None], Tensor]
"""``objective(states, head, targets, group)``: the loss summed over targets, a scalar. States are
``(batch, time, width)``; the head is ``(vocabulary, width)``, or this device's rows of it where
``group`` holds the others."""

Recompute = Literal["none", "selective", "full"]


class Part(nn.Module):
    """Layers of a GPT; the first part begins with tokens, the last one ends with the loss.

    A model that one stage runs is one part that is first and last.

    Args:
        model: with the layers that belong here and no others; its ends may be missing.
        objective: of the last part.
        tensor_mesh: the devices that :func:`shard_tensors` divided it over, if any.
        documents: id of end-of-text, if packed documents shall not see one another.
        attend: attention over a whole window, in place of PyTorch's.
    """

    def __init__(
        self,
        model: GPT,
        first: bool,
        last: bool,
        objective: Objective,
        recompute: Recompute = "none",
        tensor_mesh: DeviceMesh | None = None,
        sequence_parallel: bool = True,
        documents: int | None = None,
        attend: Attend | None = None,
    ) -> None:
        super().__init__()
        self.model, self.first, self.last = model, first, last
        self.objective, self.recompute = objective, recompute
        self.tensor_mesh, self.sequence_parallel = tensor_mesh, sequence_parallel
        self.documents, self.attend = documents, attend

    @property
    def layers(self) -> str:
        """Which layers are here, for telling parts apart."""
        return ",".join(self.model.blocks)

    def forward(
        self,
        x: Tensor,
        targets: Tensor | None = None,
        divisors: Tensor | None = None,
        tokens: Tensor | None = None,
    ) -> Tensor:
        """States for the next part, or the loss.

        Args:
            x: tokens ``(batch, time)`` for the first part, else the states of the one before.
            targets: ``(batch, time)``, for the last part.
            divisors: ``(batch,)``, all alike: what the summed loss is divided by. (A schedule
                cuts every input into rows, hence one for each.) None leaves the sum.
            tokens: what the first part was given, for others that keep documents apart.
        """
        model = self.model
        attend = self.attend
        positions = torch.arange(x.shape[1], device=x.device).unsqueeze(0)
        if self.documents is not None:
            if self.first:
                tokens = x
            assert tokens is not None
            numbers = document_numbers(tokens, self.documents)
            positions = document_positions(numbers)
            attend = DocumentAttention(numbers, model.config.dropout if self.training else 0.0)
        if self.first:
            x = model.embed(model.token_embedding(x), positions)
        for block in model.blocks.values():
            if self.recompute == "none" or not torch.is_grad_enabled():
                x = block(x, attend)
            else:
                x = self._recomputed(block, x, attend)
        if not self.last:
            return x
        states, head, group = model.finish(x), model.token_embedding.weight, None
        if self.tensor_mesh is not None:
            states, head, group = gather_states(
                states, head, self.tensor_mesh, self.sequence_parallel
            )
        assert targets is not None
        loss = self.objective(states, head, targets, group)
        return loss if divisors is None else loss / divisors[0]

    def _recomputed(self, block: nn.Module, x: Tensor, attend: Attend | None) -> Tensor:
        extra: dict[str, Any] = {}
        if self.recompute == "selective":
            extra["context_fn"] = partial(create_selective_checkpoint_contexts, _keep_products)
        result: Tensor = checkpoint(block, x, attend, use_reentrant=False, **extra)
        return result


_PRODUCTS = frozenset(
    {
        "mm",
        "addmm",
        "_scaled_mm",
        "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_cudnn_attention",
    }
)


def _keep_products(context: Any, operation: Any, *_: Any, **__: Any) -> CheckpointPolicy:
    """Keep what is dear to compute (Korthikanti et al. 2022, §5): products and attention."""
    name = operation.overloadpacket.__name__ if hasattr(operation, "overloadpacket") else ""
    return CheckpointPolicy.MUST_SAVE if name in _PRODUCTS else CheckpointPolicy.PREFER_RECOMPUTE
