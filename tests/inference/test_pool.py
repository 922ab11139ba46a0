"""A pool of chunks: who has which, and attention over them."""

import gc
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from hyperclova.errors import UserError
from hyperclova.inference import pool as pool_module
from hyperclova.inference.attention import Span
from hyperclova.inference.cache import CHUNK, Chunk, KeyValues, OutOfChunks
from hyperclova.inference.pool import SCRATCH, ChunkPool
from hyperclova.inference.pooled import PooledAttention
from hyperclova.model import GPTConfig

CONFIG = GPTConfig(vocab_size=64, context_length=640, layers=2, width=64, heads=4)
CPU = torch.device("cpu")
CHUNK_BYTES = 2 * 2 * 64 * CHUNK * 4


def pool_of(chunks: int) -> ChunkPool:
    """With so many that can be had."""
    return ChunkPool(CONFIG, torch.float32, CPU, chunks + 1)


def test_chunks_lie_in_the_pool() -> None:
    pool = pool_of(3)
    chunks = [pool.chunk() for _ in range(3)]
    assert {SCRATCH, *(chunk.index for chunk in chunks)} == {0, 1, 2, 3}
    for chunk in chunks:
        assert chunk.store.shape == (2, 2, 4, CHUNK, 16)
        assert chunk.bytes == CHUNK_BYTES
        chunk.store.fill_(chunk.index)
    assert [pool.store[:, :, n].unique().tolist() for n in range(4)] == [[0], [1], [2], [3]]


def test_a_chunk_goes_back_with_the_last_reference() -> None:
    pool = pool_of(2)
    cache = KeyValues(pool)
    cache.reserve(300)
    cache.length = 300
    fork = cache.fork()
    assert pool.free == 0
    del cache
    assert pool.free == 0
    del fork
    assert pool.free == 2


def test_a_chunk_is_empty_whatever_was_left_in_it() -> None:
    pool = pool_of(1)
    chunk = pool.chunk()
    chunk.store.fill_(float("nan"))
    del chunk
    assert not pool.chunk().store.any()


def test_a_fork_copies_what_it_goes_on_from() -> None:
    pool = pool_of(2)
    cache = KeyValues(pool)
    cache.reserve(70)
    cache.chunks[0].store.fill_(1)
    cache.length = 65
    fork = cache.fork()
    fork.reserve(1)
    assert fork.chunks[0].index != cache.chunks[0].index
    assert torch.equal(fork.chunks[0].store[..., :65, :], cache.chunks[0].store[..., :65, :])
    assert not fork.chunks[0].store[..., 65:, :].any()


def test_more_than_there_are() -> None:
    pool = pool_of(2)
    cache = KeyValues(pool)
    with pytest.raises(OutOfChunks, match="2 chunks of 256 positions are in use"):
        cache.reserve(600)
    # What it got stays its own, and will do for less.
    cache.reserve(500)
    del cache
    gc.collect()
    assert pool.free == 2


def test_others_give_back_what_they_can_spare() -> None:
    pool = pool_of(2)
    kept = [pool.chunk(), pool.chunk()]

    def reclaim() -> bool:
        if kept:
            kept.pop()
            return True
        return False

    pool.reclaim = reclaim
    taken: list[Chunk] = [pool.chunk()]
    assert len(kept) == 1
    taken.append(pool.chunk())
    assert not kept
    with pytest.raises(OutOfChunks):
        pool.chunk()


@pytest.mark.parametrize(
    ("free", "chunks"),
    [
        # 3 chunks a context and one for a fork, for 5 rows; 2 for prompts; scratch
        (1 << 40, 5 * 4 + 2 + 1),
        (16 * CHUNK_BYTES, 12),
    ],
)
def test_its_size(monkeypatch: pytest.MonkeyPatch, free: int, chunks: int) -> None:
    monkeypatch.setattr(pool_module, "free_memory_of", lambda device: float(free))
    pool = ChunkPool.for_rows(CONFIG, torch.float32, CPU, 5, 2 * CHUNK_BYTES)
    assert pool.free + 1 == pool.store.shape[2] == chunks


def test_too_little_memory_for_one_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "free_memory_of", lambda device: 5.0 * CHUNK_BYTES)
    with pytest.raises(UserError, match="cpu has too little memory for keys and values"):
        ChunkPool.for_rows(CONFIG, torch.float32, CPU, 1, 0)


# -- attention of prompts --------------------------------------------------------------------------


def inputs(seed: int, length: int) -> Tensor:
    """Query, key and value in all layers: ``(layers, 3, heads, length, head_width)``."""
    shape = (CONFIG.layers, 3, CONFIG.heads, length, CONFIG.head_width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2


def causal(rows: Tensor) -> Tensor:
    query, key, value = rows.double().unbind(1)
    return functional.scaled_dot_product_attention(query, key, value, is_causal=True).float()


def read(pool: ChunkPool, spans: Sequence[tuple[KeyValues, Tensor]]) -> list[Tensor]:
    """Read the next rows of several sequences in one pass; what each of them attends to."""
    counts = [rows.shape[3] for _, rows in spans]
    for (cache, _), count in zip(spans, counts, strict=True):
        cache.reserve(count)
    asked = [Span(cache, count) for (cache, _), count in zip(spans, counts, strict=True)]
    attend = PooledAttention(asked, pool)
    together = torch.cat([rows for _, rows in spans], dim=3)
    layers = [
        attend(layer, *(each[None] for each in together[layer]))[0]
        for layer in range(CONFIG.layers)
    ]
    for span in asked:
        span.advance()
    return list(torch.stack(layers).split(counts, dim=2))


@pytest.fixture
def pool() -> Iterator[ChunkPool]:
    pool = pool_of(12)
    # In any order, not one after another.
    pool._free = [7, 2, 11, 5, 1, 9, 3, 12, 4, 10, 6, 8]
    yield pool
    assert sorted(pool._free) == list(range(1, 13))


CUTS: list[tuple[int, list[int]]] = [
    (1, []),
    (64, [1]),
    (256, [255]),
    (257, [256]),
    (600, [1, 64, 130, 256, 257, 512]),
]


@pytest.mark.parametrize(("length", "cuts"), CUTS)
def test_prompts_attend_causally(pool: ChunkPool, length: int, cuts: list[int]) -> None:
    rows = inputs(length, length)
    cache = KeyValues(pool)
    pieces = [
        read(pool, [(cache, rows[..., begin:end, :])])[0]
        for begin, end in pairwise([0, *cuts, length])
    ]
    torch.testing.assert_close(torch.cat(pieces, dim=2), causal(rows), atol=1e-5, rtol=1e-5)


def test_prompts_are_read_side_by_side(pool: ChunkPool) -> None:
    rows = [inputs(seed, length) for seed, length in enumerate([300, 1, 64, 500])]
    caches = [KeyValues(pool) for _ in rows]
    for begin, end in pairwise([0, 200, 256, 500]):
        spans = [
            (cache, row[..., begin:end, :])
            for cache, row in zip(caches, rows, strict=True)
            if row.shape[3] > begin
        ]
        expected = [causal(row)[:, :, begin:end] for row in rows if row.shape[3] > begin]
        for found, each in zip(read(pool, spans), expected, strict=True):
            torch.testing.assert_close(found, each, atol=1e-5, rtol=1e-5)


def test_nothing_is_read_beyond_a_sequence(pool: ChunkPool) -> None:
    poison: Callable[[], object] = lambda: pool.store.fill_(float("nan"))  # noqa: E731
    poison()
    rows = inputs(0, 300)
    found = read(pool, [(KeyValues(pool), rows)])[0]
    torch.testing.assert_close(found, causal(rows), atol=1e-5, rtol=1e-5)
