"""Gradients of a loss with respect to input embeddings, many requests at a time.

What p-tuning (Liu et al. 2021, arXiv:2103.10385), prompt tuning and AutoPrompt (Shin et al. 2020,
arXiv:2010.15980) need of a model whose weights stay as they are.
"""

import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hyperclova.errors import UserError
from hyperclova.inference.gradient_rows import Row, RowBuilder
from hyperclova.inference.protocol import GradientRequest, Gradients
from hyperclova.model import GPT, GPTConfig
from hyperclova.model.cost import activation_bytes
from hyperclova.model.directory import load_config, load_model
from hyperclova.parallel.device import bfloat16_in_hardware
from hyperclova.tokenizer import Tokenizer

_LOGITS_BYTES = 16 << 20
"""Of logits that exist at once, in float32."""


class Differentiator:
    """Differentiates a model directory's model. Safe to use from many threads, one at a time.

    The model is read at the first request: plain weights for autograd, a copy of their own.

    Args:
        directory: a model directory.
        tokenizer: its tokenizer.
        device: where to run; None takes a CUDA device if there is one.
        dtype: of the blocks' matrix products; None is bfloat16 where the hardware computes in
            it, else float32. The residual stream, the head and the softmax are in float32, or
            wider if ``dtype`` is.
        memory_bytes: the most that a batch may need besides the weights, by
            :func:`batch_bytes`; requests that need more together run in several batches.
        encoding: held while the tokenizer is in use, which is not made for many threads; the
            lock of others that use the same one.

    Raises:
        UserError: there is no model in the directory.
    """

    def __init__(
        self,
        directory: Path | str,
        tokenizer: Tokenizer,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        memory_bytes: int = 4 << 30,
        encoding: contextlib.AbstractContextManager[object] | None = None,
    ) -> None:
        self.directory = Path(directory)
        self.config = load_config(directory)
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        if dtype is None:
            dtype = torch.bfloat16 if bfloat16_in_hardware(self.device) else torch.float32
        self.dtype = dtype
        self.memory_bytes = memory_bytes
        self._encoding = encoding or threading.Lock()
        self._rows = RowBuilder(
            tokenizer.encode,
            tokenizer.vocabulary_size,
            self.config.context_length,
            self.config.width,
        )
        self._computing = threading.Lock()
        self._model: GPT | None = None

    def gradients(self, requests: Sequence[GradientRequest]) -> list[Gradients]:
        """Loss, log-probabilities and gradient of each request, in order.

        Every request is checked, and the memory of every batch estimated, before anything runs.

        Raises:
            UserError: a request can't be answered, or needs more memory than ``memory_bytes``
                alone; the message names the field, and the request if there are several.
        """
        rows = []
        for number, request in enumerate(requests):
            try:
                with self._encoding:
                    row = self._rows.build(request)
                self._check_memory(row)
            except UserError as error:
                name = f"requests[{number}]: " if len(requests) > 1 else ""
                raise UserError(f"{name}{error}") from None
            rows.append(row)
        results: dict[int, Gradients] = {}
        # The caller may have switched gradients off for work of its own.
        with self._computing, torch.inference_mode(False), torch.enable_grad():
            for batch in self._divide(rows):
                answers = self._differentiate([rows[place] for place in batch])
                results.update(zip(batch, answers, strict=True))
        return [results[place] for place in range(len(rows))]

    @property
    def model(self) -> GPT:
        """The model, read if it has not been."""
        if self._model is None:
            exact = torch.promote_types(self.dtype, torch.float32)
            model = load_model(self.directory, exact, self.device).requires_grad_(False)
            if self.dtype != exact:
                _round_linear_layers(model, self.dtype)
            self._model = model
        return self._model

    def _check_memory(self, row: Row) -> None:
        needed = batch_bytes(self.config, [row], self._element_bytes)
        if needed > self.memory_bytes:
            raise UserError(
                f"gradients of this prompt and its targets, {len(row)} tokens, need about "
                f"{needed / 2**20:,.0f} MiB, more than the bound of "
                f"{self.memory_bytes / 2**20:,.0f} MiB (memory_bytes): shorten the prompt or "
                "raise the bound"
            )

    @property
    def _element_bytes(self) -> int:
        return torch.promote_types(self.dtype, torch.float32).itemsize

    def _divide(self, rows: list[Row]) -> list[list[int]]:
        """Places of rows that run together: of similar length, and within the bound."""
        # A batch of its own costs about as much as this many positions (launching each
        # operation, reading the weights): more padding than that isn't worth saving it.
        worth = 32 if self.device.type == "cpu" else 4096
        batches: list[list[int]] = []
        batch: list[Row] = []
        padding = 0
        for place in sorted(range(len(rows)), key=lambda place: -len(rows[place])):
            row = rows[place]
            padding += len(batch[0]) - len(row) if batch else 0
            batch.append(row)
            bytes_together = batch_bytes(self.config, batch, self._element_bytes)
            if len(batch) > 1 and (padding > worth or bytes_together > self.memory_bytes):
                batch, padding = [row], 0
            if len(batch) == 1:
                batches.append([])
            batches[-1].append(place)
        return batches

    def _differentiate(self, rows: list[Row]) -> list[Gradients]:
        """One forward and one backward pass."""
        model = self.model
        ids, positions, branches = (
            _padded([getattr(row, name) for row in rows]).to(self.device)
            for name in ("ids", "positions", "branches")
        )
        embeddings = model.token_embedding(ids)
        for place, row in enumerate(rows):
            for start, soft in row.soft:
                embeddings[place, start : start + len(soft)] = torch.tensor(soft.table)
        embeddings.requires_grad_()
        with self._autocast():
            attend = _BranchedAttention(branches) if any(row.branched for row in rows) else None
            hidden = model.hidden(embeddings=embeddings, positions=positions, attend=attend)
        logprobs = _target_logprobs(hidden, model.token_embedding.weight, rows)
        losses = torch.stack(
            [_loss(part, row.choices) for part, row in zip(logprobs, rows, strict=True)]
        )
        # A request's loss depends on its own embeddings alone, so the sum's gradient is each's.
        (gradient,) = torch.autograd.grad(losses.sum(), embeddings)
        values = gradient.to("cpu", torch.float32).numpy()
        return [
            Gradients(
                loss,
                tuple(part[: len(row.choices[0])].tolist()),
                np.ascontiguousarray(values[place, row.wanted]),
            )
            for place, (row, loss, part) in enumerate(
                zip(rows, losses.tolist(), logprobs, strict=True)
            )
        ]

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.dtype.itemsize >= torch.float32.itemsize:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)


def batch_bytes(config: GPTConfig, rows: Sequence[Row], bytes_per_element: int = 4) -> int:
    """Memory that a batch of rows needs besides the weights, an estimate from above.

    What autograd keeps (:func:`hyperclova.model.cost.activation_bytes`; with frozen weights it
    keeps less), the embeddings and their gradient, what the widest layer holds while it runs
    (``12 d`` a token), the states that predict with their expected embeddings and gradients, the
    logits that exist at once, and the mask of rows whose choices are read side by side.
    """
    batch, longest = len(rows), max(map(len, rows))
    tokens = batch * longest
    states = sum(row.states for row in rows)
    targets = sum(len(row.places) for row in rows)
    elements = (2 + 12) * tokens * config.width + (3 * states + 3 * targets) * config.width
    elements += min(states, _logits_rows(config.vocab_size)) * config.vocab_size
    if any(row.branched for row in rows):
        elements += 2 * batch * longest * longest
    return activation_bytes(config, batch, longest, bytes_per_element) + (
        elements * bytes_per_element
    )


def _round_linear_layers(model: nn.Module, dtype: torch.dtype) -> None:
    """Hold the weights and biases of every ``nn.Linear`` in ``dtype``, in place.

    Embeddings and LayerNorms stay as they are. Run under autocast to ``dtype``, the model then
    computes as autocast always does, without rounding its matrices anew in every pass.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.to(dtype)


def _logits_rows(vocabulary_size: int) -> int:
    return max(1, _LOGITS_BYTES // (4 * vocabulary_size))


def _padded(arrays: list[np.ndarray[Any, np.dtype[np.int64]]]) -> Tensor:
    """``(rows, longest)``, zeros on the right: causal attention never looks at them."""
    padded = np.zeros((len(arrays), max(map(len, arrays))), dtype=np.int64)
    for place, array in enumerate(arrays):
        padded[place, : len(array)] = array
    return torch.from_numpy(padded)


class _BranchedAttention:
    """Attention in which tokens see the prompt and their own branch."""

    def __init__(self, branches: Tensor) -> None:
        asks, seen = branches.unsqueeze(2), branches.unsqueeze(1)
        self._mask = ((seen == 0) | (seen == asks)).tril().unsqueeze(1)

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=self._mask)


class _LogNormaliser(torch.autograd.Function):
    """``log Σ_v exp(h · e_v)`` of states ``(states, width)`` over embeddings ``(ids, width)``.

    Its gradient in ``h`` is the expected embedding ``Σ_v p_v e_v``. It is computed right away,
    a few states at a time, so that logits are never kept.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor) -> Tensor:
        normaliser = states.new_empty(len(states))
        expected = torch.empty_like(states)
        size = _logits_rows(len(weight))
        for start in range(0, len(states), size):
            part = slice(start, start + size)
            logits = states[part] @ weight.t()
            largest = logits.amax(dim=1, keepdim=True)
            exponentials = logits.sub_(largest).exp_()
            total = exponentials.sum(dim=1, keepdim=True)
            torch.mm(exponentials, weight, out=expected[part])
            expected[part] /= total
            normaliser[part] = (largest + total.log()).squeeze(1)
        ctx.save_for_backward(expected)
        return normaliser

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (expected,) = ctx.saved_tensors
        return gradients[0].unsqueeze(1) * expected, None


def _target_logprobs(hidden: Tensor, weight: Tensor, rows: list[Row]) -> list[Tensor]:
    """For each row, the log-probabilities of its choices' tokens, one after another.

    Only states that predict one of them meet the head, and each of them once, though several
    choices begin after the same one.
    """
    states = torch.cat(
        [hidden[place, row.prompt - 1 : len(row)] for place, row in enumerate(rows)]
    ).to(weight.dtype)
    starts = np.cumsum([0, *(row.states for row in rows)])
    places = np.concatenate(
        [start + row.places - (row.prompt - 1) for start, row in zip(starts, rows, strict=False)]
    )
    targets = [token for row in rows for choice in row.choices for token in choice]
    at = torch.from_numpy(places).to(hidden.device)
    logits = (states[at] * weight[torch.tensor(targets, device=hidden.device)]).sum(dim=1)
    normaliser: Tensor = _LogNormaliser.apply(states, weight)  # type: ignore[no-untyped-call]
    return list(torch.split(logits - normaliser[at], [len(row.places) for row in rows]))


def _loss(logprobs: Tensor, choices: tuple[tuple[int, ...], ...]) -> Tensor:
    """A scalar; see :class:`GradientRequest`."""
    if len(choices) == 1:
        return -logprobs.mean()
    parts = torch.split(logprobs, [len(choice) for choice in choices])
    scores = torch.stack([part.sum() for part in parts])
    return scores.logsumexp(dim=0) - scores[0]
