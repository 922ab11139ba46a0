"""Steps that would harm the model are not applied: skipped, counted and written down.

A step is skipped when its loss or the norm of its gradient is not finite, or, if asked for, lies
more than so many standard deviations above the mean of the steps before (the skip-step
optimisers of OLMo-core do so). The decision is made on the device, from values that all
processes share, and reaches the optimiser as a tensor: nobody waits for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from hyperclova.errors import UserError


@dataclass(frozen=True)
class Skipped:
    """A step that was not applied."""

    step: int
    reason: Literal["not finite", "spike"]
    loss: float | None
    """Nats per token; None if it was not finite."""
    gradient_norm: float | None

    def __str__(self) -> str:
        loss, norm = (
            "not finite" if value is None else f"{value:.4g}"
            for value in (self.loss, self.gradient_norm)
        )
        return f"skipped ({self.reason}): loss {loss}, norm {norm}"


class Guard:
    """Decides for every step whether it is applied.

    All processes of a run must use it alike; they decide alike, since they first agree on the
    values. Skipped steps stay out of weights and optimiser state, and in the order of data: the
    next step takes the next batch.

    Args:
        spikes: skip what lies so many standard deviations above the mean; 0 skips only what is
            not finite.
        window: how many steps mean and deviation are taken over. With fewer than half of them
            seen nothing counts as a spike.
        patience: so many skipped steps in a row end the run.
        device: where losses are.
    """

    def __init__(self, spikes: float, window: int, patience: int, device: torch.device) -> None:
        self._spikes, self._patience = spikes, patience
        self._places = torch.arange(window, device=device)
        self._window = torch.zeros(2, window, device=device)  # losses; norms
        self._seen = torch.zeros((), dtype=torch.int64, device=device)
        self._in_a_row = torch.zeros((), dtype=torch.int64, device=device)
        self._total = torch.zeros((), dtype=torch.int64, device=device)
        self._pending: list[tuple[int, Tensor]] = []

    def judge(self, step: int, loss: Tensor, gradient_norm: Tensor) -> Tensor:
        """Whether to skip a step: 1.0 or 0.0, a scalar on the device.

        Give it to the optimiser as ``found_inf``, which PyTorch's fused optimisers heed without
        asking the device.

        Args:
            loss: of the whole batch, a scalar.
            gradient_norm: of the whole gradient, before clipping, a scalar.
        """
        device = self._places.device
        values = torch.stack((loss.detach().to(device), gradient_norm.detach().to(device))).float()
        values = values.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=torch.inf)
        if dist.is_initialized():
            # The last bits of a sum may differ between processes, their decision must not.
            dist.all_reduce(values, dist.ReduceOp.MAX)
        finite = values.isfinite().all()
        skip = ~finite
        if self._spikes:
            limits = self._limits()
            skip = skip | (values > limits).any()
            # What is cut off at the limit moves it a little: a single spike hardly, a lasting
            # change enough to be taken for normal before long.
            self._remember(torch.minimum(values, limits), finite)
        self._in_a_row = torch.where(skip, self._in_a_row + 1, 0)
        self._total = self._total + skip
        self._pending.append((step, torch.cat((values, skip.float().unsqueeze(0)))))
        return skip.float()

    def take(self) -> list[Skipped]:
        """The steps skipped since the last call. Waits for the device."""
        if not self._pending:
            return []
        steps = [step for step, _ in self._pending]
        rows = torch.stack([row for _, row in self._pending]).tolist()
        self._pending.clear()
        return [
            Skipped(
                step,
                "spike" if max(loss, norm) < torch.inf else "not finite",
                loss if loss < torch.inf else None,
                norm if norm < torch.inf else None,
            )
            for step, (loss, norm, skip) in zip(steps, rows, strict=True)
            if skip
        ]

    @property
    def total(self) -> int:
        """Steps skipped in the whole run. Waits for the device."""
        return int(self._total)

    def check(self, step: int) -> None:
        """Whether it makes sense to go on. Waits for the device.

        Raises:
            UserError: too many steps in a row were skipped.
        """
        in_a_row = int(self._in_a_row)
        if in_a_row >= self._patience:
            raise UserError(
                f"the last {in_a_row} steps up to step {step} were skipped (see 'skipped' in "
                "metrics.jsonl): lower optimizer.learning_rate or lengthen "
                "optimizer.warmup_tokens, and --resume; if that is no help, the weights were bad "
                "before: remove the newest checkpoint"
            )

    def state(self) -> dict[str, Any]:
        """All that later decisions depend on, as plain data that JSON keeps to the last bit."""
        state: dict[str, Any] = {"in_a_row": int(self._in_a_row), "total": int(self._total)}
        if self._spikes:
            state["seen"] = int(self._seen)
            state["losses"], state["gradient_norms"] = self._window.tolist()
        return state

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state`. Another length of the window begins it anew."""
        self._in_a_row.fill_(state["in_a_row"])
        self._total.fill_(state["total"])
        window = torch.tensor([state.get("losses", []), state.get("gradient_norms", [])])
        if self._spikes and window.shape == self._window.shape:
            self._seen.fill_(state["seen"])
            self._window.copy_(window)

    def _limits(self) -> Tensor:
        """Loss and gradient norm above which a step is a spike, ``(2,)``."""
        known = self._places < self._seen
        count = known.sum()
        mean = (self._window * known).sum(1) / count.clamp_min(1)
        squares = ((self._window - mean.unsqueeze(1)) * known).square().sum(1)
        limits = mean + self._spikes * (squares / (count - 1).clamp_min(1)).sqrt()
        enough = self._seen >= max(2, len(self._places) // 2)
        return torch.where(enough, limits, torch.inf)

    def _remember(self, values: Tensor, finite: Tensor) -> None:
        here = (self._places == self._seen % len(self._places)) & finite
        self._window = torch.where(here, values.unsqueeze(1), self._window)
        self._seen = self._seen + finite
