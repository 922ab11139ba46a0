"""Accelerators, by the data sheet."""

import functools
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

from hyperclova import configuration
from hyperclova.errors import UserError


@dataclass(frozen=True)
class Gpu:
    """One device and what connects it; ``gpus.toml`` explains every field."""

    title: str
    memory_gb: float
    float32_tflops: float
    memory_gb_s: float
    link_gb_s: float
    network_gb_s: float
    host_gb_s: float
    host_memory_gb: float
    per_node: int
    watts: float
    server_watts: float
    dollars_per_hour: float
    matmul_efficiency: float
    attention_efficiency: float
    source: str
    bfloat16_tflops: float | None = None
    fitted: bool = False
    elementwise_gb_s: float | None = None
    """Rate of element-wise work where it is not the memory's (processors)."""
    shape_constant: float | None = None
    """In place of :attr:`Assumptions.shape_constant`, where it was measured."""

    @property
    def element_bytes(self) -> int:
        """Of one activation: training runs in bfloat16 if the device has it."""
        return 4 if self.bfloat16_tflops is None else 2

    @property
    def precision(self) -> str:
        return "float32" if self.bfloat16_tflops is None else "bfloat16"

    @property
    def peak(self) -> float:
        """FLOP/s of matrix products in the precision of training: what MFU is a share of."""
        return (self.bfloat16_tflops or self.float32_tflops) * 1e12


def gpu_named(name: str) -> Gpu:
    """The device called ``name`` in ``gpus.toml``.

    Raises:
        UserError: there is none; the message names them all.
    """
    table = _table()
    if name not in table:
        raise UserError(f"no GPU {name!r}: choose one of {', '.join(table)}, this-cpu")
    return configuration.build(Gpu, table[name], where=f"gpus.toml: {name}")


@functools.cache
def _table() -> dict[str, dict[str, Any]]:
    return tomllib.loads(
        resources.files(__package__).joinpath("gpus.toml").read_text(encoding="utf-8")
    )


def gpu_names() -> list[str]:
    return list(_table())
