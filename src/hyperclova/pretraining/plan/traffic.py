"""How long collectives take: bandwidth within a server and between servers, and latency.

Devices are numbered as :class:`Layout` lays them: tensor-parallel groups are neighbours, then
FSDP groups, then replicas, then pipeline stages.
"""

import math
from dataclasses import dataclass

from hyperclova.parallel.layout import Layout
from hyperclova.pretraining.plan.assumptions import Assumptions
from hyperclova.pretraining.plan.gpu import Gpu


@dataclass(frozen=True)
class Group:
    """Devices that take part in a collective."""

    members: int
    here: int
    """Of them, on one server."""

    @property
    def servers(self) -> int:
        return math.ceil(self.members / self.here)


@dataclass(frozen=True)
class Wires:
    gpu: Gpu
    assumed: Assumptions

    def tensor(self, layout: Layout) -> Group:
        return Group(layout.tp, layout.tp)

    def shards(self, layout: Layout) -> Group:
        here = max(1, min(layout.shards, self.gpu.per_node // layout.tp))
        return Group(layout.shards, here)

    def replicas(self, layout: Layout) -> Group:
        stride = layout.shards * layout.tp
        here = max(1, min(layout.replicas, self.gpu.per_node // stride))
        return Group(layout.replicas, here)

    def gather(self, group: Group, size: float) -> float:
        """Seconds until every member has all ``size`` bytes, of which each has an equal part.

        Reduce-scatter takes as long. Between servers, all members of a server bring in a part.
        """
        if group.members == 1:
            return 0.0
        within = size * (group.members - 1) / group.members
        within /= self.gpu.link_gb_s * 1e9 * self.assumed.link_efficiency
        if group.servers == 1:
            return within + self.assumed.link_latency
        between = size * (group.servers - 1) / group.servers / group.here
        between /= self.gpu.network_gb_s * 1e9 * self.assumed.network_efficiency
        latency = self.assumed.network_latency * (1 + group.servers / 8)
        return (max(within, between) if group.here > 1 else between) + latency

    def reduce(self, group: Group, size: float) -> float:
        """Seconds until every member has the sum of everybody's ``size`` bytes."""
        return 2 * self.gather(group, size)

    def send(self, layout: Layout, size: float) -> float:
        """Seconds from one pipeline stage to the next."""
        near = layout.groups * layout.tp < self.gpu.per_node
        if near:
            rate = self.gpu.link_gb_s * self.assumed.link_efficiency
            return size / (rate * 1e9) + self.assumed.link_latency
        rate = self.gpu.network_gb_s * self.assumed.network_efficiency
        return size / (rate * 1e9) + self.assumed.network_latency
