"""Attention of one position of each sequence over a pool, in steps of fixed shapes."""

import importlib.util
import logging
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from hyperclova.inference.cache import CHUNK
from hyperclova.inference.pool import SCRATCH, ChunkPool

logger = logging.getLogger(__name__)


class Rows(Protocol):
    """The rows of one step, whose keys and values have been stored."""

    def attend(self, layer: int, query: Tensor) -> Tensor:
        """What each row's ``query``, ``(rows, heads, head_width)``, attends to; same shape."""
        ...


MakeRows = Callable[[ChunkPool, Tensor, Tensor], Rows]
"""Takes a pool, the rows' positions ``(rows,)`` and the indices of their chunks
``(rows, chunks)``."""


class GatheredRows:
    """Rows whose chunks are copied side by side for PyTorch's attention with a mask."""

    def __init__(self, pool: ChunkPool, positions: Tensor, table: Tensor) -> None:
        self._pool, self._table = pool, table
        at = torch.arange(table.shape[1] * CHUNK, device=table.device)
        mask = torch.zeros(at.shape, dtype=pool.store.dtype, device=table.device)
        unseen = at > positions[:, None]
        self._mask = mask.masked_fill(unseen, float("-inf"))[:, None, None]

    def attend(self, layer: int, query: Tensor) -> Tensor:
        keys, values = self._pool.gather(layer, self._table)
        attended = functional.scaled_dot_product_attention(
            query[:, :, None], keys, values, attn_mask=self._mask
        )
        return attended[:, :, 0]


def rows_for(pool: ChunkPool) -> MakeRows:
    """The fastest way for the pool's device: on CUDA the kernel in :mod:`~.paged`, if Triton is
    there and the kernel does on this GPU what it should."""
    if pool.store.device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return GatheredRows
    try:
        from hyperclova.inference.paged import PagedRows

        _check(pool, PagedRows)
    except Exception as error:
        logger.warning("attention by Triton is left out, and steps are slower: %s", error)
        return GatheredRows
    return PagedRows


def _check(pool: ChunkPool, make: MakeRows) -> None:
    """Hold a kernel, which has been compiled here and now, to attention on the CPU.

    Raises:
        RuntimeError: they differ.
    """
    store = pool.store
    layers, _, _, _, heads, width = store.shape
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(layers, 2, CHUNK, heads, width, generator=generator).to(store.dtype)
    query = torch.randn(4, heads, width, generator=generator).to(store.dtype)
    positions = [0, 1, CHUNK // 3, 2 * CHUNK - 1]
    store[:, :, SCRATCH] = drawn.to(store.device)
    table = torch.full((4, 2), SCRATCH, device=store.device)
    rows = make(pool, torch.tensor(positions, device=store.device), table)
    found = rows.attend(layers - 1, query.to(store.device)).cpu().float()
    store[:, :, SCRATCH] = 0
    keys, values = drawn[-1].repeat(1, 2, 1, 1).transpose(1, 2).float()
    for row, position in enumerate(positions):
        seen = slice(position + 1)
        expected = functional.scaled_dot_product_attention(
            query[row, :, None].float(), keys[:, seen], values[:, seen]
        )
        # A few digits of the type, at values of about 1.
        allowed = 8 * torch.finfo(store.dtype).eps + 1e-5
        if not (found[row] - expected[:, 0]).abs().max() < allowed:
            raise RuntimeError("its results are not those of PyTorch")
