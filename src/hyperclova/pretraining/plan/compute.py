"""How long one device works on one layer and on the head: products, attention, element-wise work.

A product of ``(m, k)`` and ``(k, n)`` takes its ``2 m k n`` operations at the peak, times the
device's efficiency, times :attr:`Assumptions.shape_constant`'s factor for each dimension; or as
long as its matrices take to pass the memory, if that is longer. Their sum over all products is
what :func:`hyperclova.model.cost.training_flops_per_token` counts, except that the head's is on
the last stage only, and causal attention does half of what is counted.
"""

from dataclasses import dataclass

from hyperclova.pretraining.plan.assumptions import Assumptions
from hyperclova.pretraining.plan.gpu import Gpu
from hyperclova.pretraining.plan.workload import Setting, Workload

SPLIT_BACKWARD = ("zero-bubble", "zero-bubble-v", "dual-pipe-v")
"""Schedules that compute weights' gradients apart, to fill the bubble."""


@dataclass(frozen=True)
class Passes:
    """Seconds of a forward and of a backward pass."""

    forward: float
    backward: float


@dataclass(frozen=True)
class Device:
    gpu: Gpu
    assumed: Assumptions

    def product(self, m: float, k: float, n: float) -> float:
        """Seconds of one matrix product."""
        gpu, constant = self.gpu, self.gpu.shape_constant
        if constant is None:
            constant = self.assumed.shape_constant
        share = 1.0
        for size in (m, k, n):
            share *= size / (size + constant)
        work = 2 * m * k * n / (gpu.peak * gpu.matmul_efficiency * share)
        return max(work, self.move((m * k + k * n + m * n) * gpu.element_bytes))

    def move(self, size: float) -> float:
        """Seconds in which ``size`` bytes pass the memory."""
        return size / (self.gpu.memory_gb_s * 1e9 * self.assumed.memory_efficiency)

    def elementwise(self, size: float) -> float:
        """Seconds of element-wise work that reads and writes ``size`` bytes."""
        if self.gpu.elementwise_gb_s:
            return size / (self.gpu.elementwise_gb_s * 1e9)
        return self.move(size)

    def layer(self, work: Workload, setting: Setting) -> Passes:
        """One layer on one microbatch, without recomputing and without traffic.

        Element-wise, in elements per token: forward 10 d along the residual stream (two
        LayerNorms read and write, two sums read two and write one) and 8 d in the MLP (GELU
        reads and writes 4 d); backward 14 d and 12 d, and 9 d for the biases' gradients.
        Attention's backward pass does two and a half times the work of its forward pass.
        """
        d, t, layout = work.shape.width, setting.layout.tp, setting.layout
        tokens = setting.microbatch_samples * work.sequence_length
        products = (
            self.product(tokens, d, 3 * d / t)
            + self.product(tokens, d / t, d)
            + self.product(tokens, d, 4 * d / t)
            + self.product(tokens, 4 * d / t, d)
        )
        attended = 2 * tokens * work.sequence_length * d / t  # causal: half of 4 T d per token
        attention = attended / (self.gpu.peak * self.gpu.attention_efficiency)
        stream = d / t if layout.sequence_parallel else d
        scale = tokens * self.gpu.element_bytes * self.eager(work, setting)
        return Passes(
            products + attention + self.elementwise(scale * (10 * stream + 8 * d / t)),
            2 * products
            + 2.5 * attention
            + self.elementwise(scale * (14 * stream + 12 * d / t + 9 * d / t)),
        )

    def eager(self, work: Workload, setting: Setting) -> float:
        """Factor on element-wise work; schedules that split the backward pass can't be compiled."""
        layout = setting.layout
        split = layout.pp > 1 and layout.schedule in SPLIT_BACKWARD
        return self.assumed.eager_factor if split or not work.compiled else 1.0

    def head(self, work: Workload, setting: Setting) -> float:
        """Output head and loss, both passes: three products; some 26 bytes pass the memory for
        each logit, and the head's gradient (12 bytes an element) and the head for each chunk."""
        d, vocabulary = work.shape.width, work.shape.vocab_size / setting.layout.tp
        tokens = setting.microbatch_samples * work.sequence_length
        rows = min(tokens, self.assumed.loss_chunk_rows(vocabulary))
        chunk = 3 * self.product(rows, d, vocabulary)
        chunk += self.elementwise(rows * vocabulary * 26) + self.move(12 * vocabulary * d)
        return chunk * tokens / rows

    def embedding(self, work: Workload, setting: Setting) -> float:
        """Look-up and its gradient, both passes; the gradient is as large as the table."""
        d, t = work.shape.width, setting.layout.tp
        tokens = setting.microbatch_samples * work.sequence_length
        size = self.gpu.element_bytes
        return self.elementwise(8 * tokens * d * size) + self.move(
            2 * work.shape.vocab_size / t * d * size
        )

    def optimizer(self, elements: float) -> float:
        """AdamW reads four float32 values and writes three; the norm and clipping, three more."""
        return self.move(40 * elements)
