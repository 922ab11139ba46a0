"""Attention of single positions that reads a pool's chunks where they are, in Triton.

Gathering writes what a step attends to once more and reads it again; here it is read once. Each
chunk of each row and head is a program of its own, so that one long sequence occupies a GPU, too; a
second kernel joins them by their sums of exponentials (Dao et al. 2022, arXiv:2205.14135, §3.1).
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from hyperclova.inference.cache import CHUNK
from hyperclova.inference.pool import ChunkPool

_BLOCK = 64  # positions at a time; divides CHUNK


class PagedRows:
    """As :class:`~hyperclova.inference.rows.GatheredRows`, without copies and without a mask.

    Nothing is read but what stands at the rows' own positions and before them.
    """

    def __init__(self, pool: ChunkPool, positions: Tensor, table: Tensor) -> None:
        self._pool, self._positions, self._table = pool, positions, table

    def attend(self, layer: int, query: Tensor) -> Tensor:
        keys, values = self._pool.store[layer]
        rows, heads, width = query.shape
        chunks = self._table.shape[1]
        query = query.contiguous()
        partial = query.new_empty(rows, heads, chunks, width, dtype=torch.float32)
        sums = query.new_empty(rows, heads, chunks, dtype=torch.float32)
        attended = torch.empty_like(query)
        padded = triton.next_power_of_2(width)
        with torch.cuda.device_of(query):  # Triton launches on the current device
            _attend_chunk[(rows, heads, chunks)](
                *(query, keys, values, self._positions, self._positions.stride(0)),
                *(self._table, self._table.stride(0), partial, sums, width**-0.5),
                heads=heads,
                chunks=chunks,
                chunk_length=CHUNK,
                width=width,
                padded=padded,
                block=_BLOCK,
            )
            _join[(rows, heads)](
                *(partial, sums, attended),
                heads=heads,
                chunks=chunks,
                padded_chunks=triton.next_power_of_2(chunks),
                width=width,
                padded=padded,
            )
        return attended


@triton.jit
def _attend_chunk(
    query,
    keys,
    values,
    positions,
    positions_stride,
    table,
    table_stride,
    partial,
    sums,
    scale,
    heads: tl.constexpr,
    chunks: tl.constexpr,
    chunk_length: tl.constexpr,
    width: tl.constexpr,
    padded: tl.constexpr,
    block: tl.constexpr,
):
    """One row and head over one chunk: attended values, and the logarithm of the sum of
    exponentials, which is -inf where the row has not come so far.

    ``query`` is ``(rows, heads, width)``; ``keys`` and ``values`` are ``(all chunks, chunk_length,
    heads, width)``; ``partial`` is ``(rows, heads, chunks, width)`` and ``sums`` the same without
    ``width``. A table's rows are contiguous.
    """
    row, head, chunk = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    position = tl.load(positions + row * positions_stride).to(tl.int32)
    into = (row * heads + head) * chunks + chunk
    until = tl.minimum(position + 1 - chunk * chunk_length, chunk_length)
    if until <= 0:
        tl.store(sums + into, float("-inf"))
    else:
        across = tl.arange(0, padded)
        inside = across < width
        asked = tl.load(query + (row * heads + head) * width + across, mask=inside, other=0.0)
        asked = asked.to(tl.float32) * scale
        index = tl.load(table + row * table_stride + chunk).to(tl.int64)
        begin = index * (chunk_length * heads * width) + head * width
        largest = tl.full([], float("-inf"), tl.float32)
        total = tl.full([], 0.0, tl.float32)
        attended = tl.zeros([padded], tl.float32)
        for start in range(0, until, block):
            along = start + tl.arange(0, block)
            seen = along < until
            there = begin + along[:, None] * (heads * width) + across[None, :]
            both = seen[:, None] & inside[None, :]
            key = tl.load(keys + there, mask=both, other=0.0).to(tl.float32)
            scores = tl.where(seen, tl.sum(key * asked[None, :], 1), float("-inf"))
            above = tl.maximum(largest, tl.max(scores, 0))
            weights = tl.exp(scores - above)
            kept = tl.exp(largest - above)
            value = tl.load(values + there, mask=both, other=0.0).to(tl.float32)
            attended = attended * kept + tl.sum(weights[:, None] * value, 0)
            total = total * kept + tl.sum(weights, 0)
            largest = above
        tl.store(partial + into * width + across, attended / total, mask=inside)
        tl.store(sums + into, largest + tl.log(total))


@triton.jit
def _join(
    partial,
    sums,
    attended,
    heads: tl.constexpr,
    chunks: tl.constexpr,
    padded_chunks: tl.constexpr,
    width: tl.constexpr,
    padded: tl.constexpr,
):
    """One row and head: its chunks' results, each weighed by its share of the exponentials."""
    at = tl.program_id(0) * heads + tl.program_id(1)
    chunk = tl.arange(0, padded_chunks)
    across = tl.arange(0, padded)
    inside = across < width
    sum_ = tl.load(sums + at * chunks + chunk, mask=chunk < chunks, other=float("-inf"))
    shares = tl.exp(sum_ - tl.max(sum_, 0))
    # Nobody has written what a row has not come to.
    written = (sum_ > float("-inf"))[:, None] & inside[None, :]
    there = partial + (at * chunks + chunk)[:, None] * width + across[None, :]
    parts = tl.load(there, mask=written, other=0.0)
    joined = tl.sum(parts * shares[:, None], 0) / tl.sum(shares, 0)
    tl.store(attended + at * width + across, joined.to(attended.dtype.element_ty), mask=inside)
