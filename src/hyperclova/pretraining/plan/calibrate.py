"""This machine's processor as one more device, measured on the spot.

Everything is timed in processor time, so that other programs on the machine count little, and
taken as the best of a few repetitions. With several threads a second of each counts.
"""

import math
import os
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from hyperclova.pretraining.plan.assumptions import Assumptions
from hyperclova.pretraining.plan.gpu import Gpu

_PRODUCTS = ((256, 256, 256), (512, 256, 1024), (512, 1024, 256), (1024, 512, 2048), (1536,) * 3)


def this_cpu(repetitions: int = 5) -> Gpu:
    """Measure products, attention, element-wise work and copying in float32: some seconds."""
    peak, constant = _products(repetitions)
    attention = _attention(repetitions)
    return Gpu(
        title=f"this processor, {torch.get_num_threads()} threads",
        memory_gb=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9,
        float32_tflops=peak / 1e12,
        memory_gb_s=_copying(repetitions) / 1e9,
        link_gb_s=1.0,
        network_gb_s=0.1,
        host_gb_s=1.0,
        host_memory_gb=0.0,
        per_node=1,
        watts=0.0,
        server_watts=0.0,
        dollars_per_hour=0.0,
        matmul_efficiency=1.0,
        attention_efficiency=attention / peak,
        source="measured",
        elementwise_gb_s=_elementwise(repetitions) / 1e9,
        shape_constant=constant,
    )


def cpu_assumptions() -> Assumptions:
    """What differs from a GPU: rates are measured ones, nothing is launched, chunks are small."""
    return Assumptions(
        memory_efficiency=1.0,
        eager_factor=1.0,
        host_seconds=0.0,
        step_seconds=0.0,
        availability=1.0,
        loss_chunk_mib=128,
        fixed_gb=0.5,
    )


def _best(repetitions: int, run: Callable[[], object]) -> float:
    run()
    seconds = []
    for _ in range(repetitions):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return min(seconds) / torch.get_num_threads()


def _products(repetitions: int) -> tuple[float, float]:
    """The rate of large products, FLOP/s, and the constant that says what small ones lose.

    Each is timed with the two products of its backward pass, as training has them.
    """
    measured = []
    for m, k, n in _PRODUCTS:
        inputs, weight, gradient = torch.randn(m, k), torch.randn(n, k), torch.randn(m, n)
        inputs.requires_grad_(), weight.requires_grad_()

        def run(inputs: Tensor = inputs, weight: Tensor = weight, out: Tensor = gradient) -> None:
            inputs.grad = weight.grad = None
            torch.autograd.backward(functional.linear(inputs, weight), out)

        measured.append((m, k, n, 6 * m * k * n / _best(repetitions, run)))

    def peaks(constant: float) -> list[float]:
        return [
            rate * math.prod((size + constant) / size for size in (m, k, n))
            for m, k, n, rate in measured
        ]

    def spread(constant: float) -> float:
        logarithms = [math.log(peak) for peak in peaks(constant)]
        mean = sum(logarithms) / len(logarithms)
        return sum((each - mean) ** 2 for each in logarithms)

    constant = min((0.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0), key=spread)
    fitted = peaks(constant)
    return math.exp(sum(math.log(peak) for peak in fitted) / len(fitted)), constant


def _attention(repetitions: int) -> float:
    """FLOP/s of causal attention, forward and backward, only half the positions counted."""
    batch, heads, time_, width = 2, 4, 512, 64
    query, key, value = (
        torch.randn(batch, heads, time_, width, requires_grad=True) for _ in range(3)
    )

    def run() -> None:
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        attended.backward(torch.ones_like(attended))  # type: ignore[no-untyped-call]

    work = 3.5 * 2 * batch * heads * time_ * time_ * width
    return work / _best(repetitions, run)


def _elementwise(repetitions: int) -> float:
    """Bytes a second of what surrounds the products of a layer, as ``compute.py`` counts them."""
    tokens, d = 1024, 512
    x = torch.randn(tokens, d, requires_grad=True)
    inner = torch.randn(tokens, 4 * d, requires_grad=True)
    gain, shift = torch.ones(d, requires_grad=True), torch.zeros(d, requires_grad=True)

    def run() -> None:
        y = x
        for _ in range(2):
            y = y + functional.layer_norm(y, (d,), gain, shift)
        z = functional.gelu(inner, approximate="tanh")
        torch.autograd.backward((y, z), (torch.ones_like(y), torch.ones_like(z)))
        for _ in range(2):
            inner.grad.sum(dim=0)  # type: ignore[union-attr]
        x.grad = inner.grad = None

    elements = tokens * d * (10 + 8 + 14 + 12 + 8)
    return 4 * elements / _best(repetitions, run)


def _copying(repetitions: int) -> float:
    source = torch.randn(16 << 20)
    target = torch.empty_like(source)
    return 2 * 4 * source.numel() / _best(repetitions, lambda: target.copy_(source))
