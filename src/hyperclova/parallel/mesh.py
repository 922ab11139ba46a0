"""The processes of a run, and the grid they form."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from hyperclova.parallel.layout import Layout
from hyperclova.parallel.rendezvous import join

PIPELINE, REPLICAS, SHARDS, TENSOR = "pp", "replicas", "shards", "tp"


@contextmanager
def world(timeout_seconds: float = 600.0) -> Iterator[int]:
    """Join the processes that ``torchrun`` started; yields how many there are.

    Started without ``torchrun``, there is one process and nothing to join. Accelerators talk
    through their own library, processors through gloo, which also carries checkpoints.
    """
    if dist.is_initialized():  # by whoever calls us
        yield dist.get_world_size()
        return
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes == 1:
        yield 1
        return
    backend = "cpu:gloo"
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is not None:
        torch.accelerator.set_device_index(int(os.environ.get("LOCAL_RANK", "0")))
        backend += f",{accelerator.type}:{dist.get_default_backend_for_device(accelerator)}"
    join(backend, timeout_seconds)
    try:
        yield processes
    finally:
        dist.destroy_process_group()


@dataclass(frozen=True)
class Grid:
    """A resolved layout laid over the processes, seen from this one."""

    layout: Layout
    mesh: DeviceMesh

    @classmethod
    def build(cls, layout: Layout, device: torch.device) -> "Grid":
        """Every process calls this with the same layout."""
        mesh = init_device_mesh(
            device.type,
            (layout.pp, layout.replicas, layout.shards, layout.tp),
            mesh_dim_names=(PIPELINE, REPLICAS, SHARDS, TENSOR),
        )
        mesh[REPLICAS, SHARDS]._flatten("data")
        return cls(layout, mesh)

    @property
    def pipeline_rank(self) -> int:
        return self.mesh.get_local_rank(PIPELINE)

    @property
    def data_rank(self) -> int:
        """Which of the ``dp`` parts of a batch is this process's."""
        return self.mesh.get_local_rank(REPLICAS) * self.layout.shards + self.mesh.get_local_rank(
            SHARDS
        )

    @property
    def tensor(self) -> DeviceMesh:
        return self.mesh[TENSOR]

    @property
    def shards(self) -> DeviceMesh:
        """What FSDP divides over: one axis, or two where there are replicas."""
        return self.mesh[REPLICAS, SHARDS] if self.layout.replicas > 1 else self.mesh[SHARDS]

    @property
    def data_group(self) -> dist.ProcessGroup:
        return self.mesh["data"].get_group()

    @property
    def pipeline_group(self) -> dist.ProcessGroup:
        return self.mesh.get_group(PIPELINE)
