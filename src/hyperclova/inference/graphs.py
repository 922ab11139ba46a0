"""Steps recorded as CUDA graphs: one launch instead of one for each operation."""

import torch
from torch import Tensor

from hyperclova.inference.static import Step

_WARM_UP = 3  # runs before recording, in which libraries choose kernels and take their workspaces


class GraphCapture:
    """Records steps on one stream, whose graphs share their memory; never two at once.

    Graphs of one capture must not be dropped one by one: those recorded on the same stream share
    cuBLAS's workspace, which PyTorch may free with the first of them.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        with torch.cuda.device(device):
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._memory = torch.cuda.graph_pool_handle()

    def __call__(self, step: Step) -> Step:
        """Run and record ``step``, on the thread that will replay it.

        Raises:
            RuntimeError: something in it cannot be recorded, or there is no memory.
        """
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device):
            caller = torch.cuda.current_stream()
            self._stream.wait_stream(caller)
            # Warmed up on the stream that records: handles of libraries belong to stream and
            # thread. This context also brings the caller's stream back if recording fails.
            with torch.cuda.stream(self._stream):
                for _ in range(_WARM_UP):
                    step()
                # Other threads may take memory meanwhile, for gradients.
                with torch.cuda.graph(
                    graph,
                    pool=self._memory,
                    stream=self._stream,
                    capture_error_mode="thread_local",
                ):
                    states = step()
            caller.wait_stream(self._stream)

        def replay() -> Tensor:
            graph.replay()
            return states

        return replay
