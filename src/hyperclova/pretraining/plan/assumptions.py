"""What the planner takes for granted, in one place, each with its reason.

``shape_constant``, ``overlap``, ``interference`` and ``eager_factor``, and the GPUs' efficiencies,
were chosen to match the published runs in ``published.toml``; the rest is stated.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Assumptions:
    """Numbers that no data sheet gives. Change one and every figure changes with it."""

    shape_constant: float = 128.0
    """A product with a dimension of ``n`` reaches ``n / (n + constant)`` of the efficiency of a
    large one, for each of its three dimensions: the start and end of a kernel do no work."""
    memory_efficiency: float = 0.85
    """Share of the memory bandwidth that element-wise kernels and the optimiser reach."""
    link_efficiency: float = 0.75
    """Share of the bandwidth within a server that collectives reach."""
    network_efficiency: float = 0.75
    """Share of the bandwidth between servers that collectives reach."""
    link_latency: float = 15e-6
    """Seconds a collective within a server takes at least."""
    network_latency: float = 40e-6
    """The same between servers, and as much again for every eighth server."""
    overlap: float = 0.5
    """Share of a layer's computation behind which FSDP's traffic can hide."""
    interference: float = 0.4
    """Traffic that hides still takes this share of its time: it uses the same memory and some of
    the same cores."""
    tensor_overlap: float = 0.0
    """Of tensor parallelism's traffic: none is hidden, each product waits for it."""
    pipeline_overlap: float = 0.5
    """Share of the traffic between pipeline stages that hides behind other microbatches."""
    eager_factor: float = 2.0
    """Memory traffic of element-wise work without torch.compile, over that with it. Schedules
    that split the backward pass are planned without."""
    split_overhead: float = 0.05
    """Schedules that split the backward pass make it so much longer: twice the launches, and
    gradients that wait in memory."""
    host_seconds: float = 0.2e-3
    """Least time of a layer's forward pass on the host, which launches it; twice that backward."""
    step_seconds: float = 10e-3
    """Of every step on the host: data, scheduler, metrics."""
    slowdown_per_doubling: float = 0.01
    """Each doubling of the number of servers makes all wait 1 % more for the slowest."""
    availability: float = 0.95
    """Share of the days in which the run makes progress: saves, evaluation, faults, restarts."""
    loss_chunk_mib: int = 256
    """Logits that exist at a time, in float32, as ``pretraining/loss.py`` has it."""
    fixed_gb: float = 2.5
    """Memory of the driver, of libraries and of collectives' channels."""
    headroom: float = 0.05
    """Share of the memory that a plan leaves free."""
    fragmentation: float = 0.08
    """Of the memory that comes and goes, so much more lies in gaps."""
    load: float = 0.85
    """Share of a server's highest power that training draws."""
    power_usage_effectiveness: float = 1.2
    """Energy of the data centre over that of its servers."""
    caution: float = 1.3
    """Factor on the days for a cautious reader. Of the published runs that the planner was not
    fitted to, the worst took 1.23 times as long as it says."""

    def loss_chunk_rows(self, vocabulary: float) -> int:
        """Positions whose logits exist at a time; ``vocabulary`` is one device's part."""
        return max(64, (self.loss_chunk_mib << 20) // (4 * int(vocabulary)))
