"""Decoding steps of fixed shapes: one token each of up to so many sequences.

Launching a step's operations one by one takes an accelerator's host longer than the accelerator
takes for them. A step whose shapes and addresses stay can be recorded once and replayed. So rows
and chunks are filled up to the next of a few sizes, lengths are data, and keys and values lie in a
pool. The same function runs recorded and not.
"""

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hyperclova.inference.cache import CHUNK
from hyperclova.inference.pool import SCRATCH, ChunkPool
from hyperclova.inference.rows import MakeRows
from hyperclova.model import GPT

logger = logging.getLogger(__name__)

Step = Callable[[], Tensor]
"""Runs on inputs at a fixed place; gives states ``(rows, width)``, good until it runs again."""
Capture = Callable[[Step], Step]
"""Records a step, which it runs for that; what it gives replays the step."""


class StaticDecoder:
    """Runs single positions through all layers, in steps made as they are needed.

    Args:
        rows: the most in one step.
        make_rows: how rows attend.
        capture: records steps; None runs them as they are.
    """

    def __init__(
        self,
        model: GPT,
        pool: ChunkPool,
        rows: int,
        make_rows: MakeRows,
        capture: Capture | None,
    ) -> None:
        self.rows, self._make_rows = rows, make_rows
        self._model, self._pool, self._capture = model, pool, capture
        self._most_chunks = -(-model.config.context_length // CHUNK)
        self._steps: dict[tuple[int, int], tuple[StaticStep, Step]] = {}

    def states(
        self, ids: Sequence[int], positions: Sequence[int], tables: Sequence[Sequence[int]]
    ) -> Tensor:
        """The states ``(tokens, width)`` after one token each of at most ``rows`` sequences; good
        until the next step.

        Args:
            ids, positions: of each token.
            tables: the indices of the chunks that hold what stands before it, and its own place.
        """
        size = (
            _filled_up(len(ids), self.rows),
            _filled_up(max(map(len, tables)), self._most_chunks),
        )
        if size not in self._steps:
            step = StaticStep(self._model, self._pool, self._make_rows, *size)
            self._steps[size] = step, self._recorded(step)
        step, run = self._steps[size]
        step.fill(ids, positions, tables)
        return run()[: len(ids)]

    def _recorded(self, step: "StaticStep") -> Step:
        if self._capture is None:
            return step
        try:
            return self._capture(step)
        except Exception as error:
            logger.warning("steps cannot be recorded, and run slower without: %s", error)
        # The others', too: they may share what was lost with this one (cuBLAS's workspace).
        self._capture = None
        self._steps = {size: (each, each) for size, (each, _) in self._steps.items()}
        return step


def _filled_up(count: int, most: int) -> int:
    """The next power of two, or ``most``."""
    assert 0 < count <= most
    return min(1 << (count - 1).bit_length(), most)


class StaticStep:
    """One token each of ``rows`` sequences of up to ``chunks`` chunks."""

    def __init__(
        self, model: GPT, pool: ChunkPool, make_rows: MakeRows, rows: int, chunks: int
    ) -> None:
        self._model, self._pool, self._make_rows = model, pool, make_rows
        self._rows, self._chunks = rows, chunks
        # A row: its token's id, its position, then the indices of its chunks.
        self._inputs = torch.empty(rows, 2 + chunks, dtype=torch.int64, device=pool.store.device)
        self.fill((), (), ())

    def fill(
        self, ids: Sequence[int], positions: Sequence[int], tables: Sequence[Sequence[int]]
    ) -> None:
        """Set what the next run reads; rows that are left write to the scratch chunk."""
        lines = [
            # What is beyond a row's last chunk is weighed with nothing: any of its own will do.
            [token, position, *table, *table[:1] * (self._chunks - len(table))]
            for token, position, table in zip(
                ids, positions, (list(table) for table in tables), strict=True
            )
        ]
        lines += [[0, 0, *[SCRATCH] * self._chunks]] * (self._rows - len(lines))
        # From pinned memory the copy waits for nobody, and torch keeps it until it has been made.
        pinned = self._inputs.device.type == "cuda"
        self._inputs.copy_(torch.tensor(lines, pin_memory=pinned), non_blocking=True)

    def __call__(self) -> Tensor:
        ids, positions, table = self._inputs[:, 0], self._inputs[:, 1], self._inputs[:, 2:]
        attend = _RowAttention(self._pool, self._make_rows, positions, table)
        return self._model.hidden(ids[None], positions=positions, attend=attend)[0]


class _RowAttention:
    """``attend`` for one position of each sequence, all laid in one row."""

    def __init__(
        self, pool: ChunkPool, make_rows: MakeRows, positions: Tensor, table: Tensor
    ) -> None:
        self._pool, self._rows = pool, make_rows(pool, positions, table)
        self._chunks = table.gather(1, (positions // CHUNK)[:, None])[:, 0]
        self._places = positions % CHUNK

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        # (1, heads, rows, head_width): the rows are sequences now, and come first.
        query, key, value = (each[0].transpose(0, 1) for each in (query, key, value))
        self._pool.write(layer, self._chunks, self._places, key, value)
        return self._rows.attend(layer, query).transpose(0, 1)[None]
