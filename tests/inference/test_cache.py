"""Attention over keys and values in chunks is causal attention over the whole sequence."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from hyperclova.inference.attention import Span, SpanAttention
from hyperclova.inference.cache import BLOCK, CHUNK, Allocator, KeyValues
from hyperclova.model import GPTConfig

CONFIG = GPTConfig(vocab_size=64, context_length=640, layers=2, width=64, heads=4)
LENGTHS = [1, 63, 64, 65, 127, 192, 255, 256, 257, 320, 512, 513, 600]


def inputs(seed: int, length: int) -> Tensor:
    """Query, key and value in all layers: ``(layers, 3, heads, length, head_width)``."""
    shape = (CONFIG.layers, 3, CONFIG.heads, length, CONFIG.head_width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2


def causal(rows: Tensor) -> Tensor:
    """What each layer attends to, ``(layers, heads, length, head_width)``."""
    query, key, value = rows.double().unbind(1)
    return functional.scaled_dot_product_attention(query, key, value, is_causal=True).float()


def fresh() -> KeyValues:
    return KeyValues(Allocator(CONFIG, torch.float32, torch.device("cpu")))


def read(*spans: tuple[KeyValues, Tensor]) -> list[Tensor]:
    """Read the next rows of several sequences in one pass; what each of them attends to."""
    counts = [rows.shape[3] for _, rows in spans]
    caches = [cache for cache, _ in spans]
    for cache, count in zip(caches, counts, strict=True):
        cache.reserve(count)
    attend = SpanAttention([Span(*each) for each in zip(caches, counts, strict=True)])
    together = torch.cat([rows for _, rows in spans], dim=3)
    attended = torch.stack(
        [
            attend(layer, *(each[None] for each in together[layer]))[0]
            for layer in range(CONFIG.layers)
        ]
    )
    for cache, count in zip(caches, counts, strict=True):
        cache.length += count
    return list(attended.split(counts, dim=2))


def read_pieces(cache: KeyValues, rows: Tensor, cuts: Sequence[int]) -> Tensor:
    """Read one sequence piece by piece; a piece ends at each of ``cuts`` and at the end."""
    length = rows.shape[3]
    borders = [0, *sorted({cut for cut in cuts if 0 < cut < length}), length]
    pieces = [read((cache, rows[..., begin:end, :]))[0] for begin, end in pairwise(borders)]
    return torch.cat(pieces, dim=2)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_prompt_in_one_piece(length: int) -> None:
    rows = inputs(length, length)
    cache = fresh()
    (attended,) = read((cache, rows))
    torch.testing.assert_close(attended, causal(rows), atol=1e-5, rtol=1e-5)
    assert cache.length == length
    assert len(cache.chunks) == -(-length // CHUNK)


@pytest.mark.parametrize("length", LENGTHS)
def test_token_by_token_behind_a_prompt(length: int) -> None:
    rows = inputs(length, length + 3)
    attended = read_pieces(fresh(), rows, [length, length + 1, length + 2])
    torch.testing.assert_close(attended, causal(rows), atol=1e-5, rtol=1e-5)


def test_token_by_token_from_the_beginning() -> None:
    rows = inputs(0, 530)
    attended = read_pieces(fresh(), rows, range(530))
    torch.testing.assert_close(attended, causal(rows), atol=1e-5, rtol=1e-5)


@settings(max_examples=25)
@given(
    length=st.one_of(st.sampled_from(LENGTHS), st.integers(1, 640)),
    blocks=st.sets(st.integers(1, 9)),
)
def test_pieces_of_whole_blocks_give_the_same_bits(length: int, blocks: set[int]) -> None:
    """What prompts rest on, which the scheduler cuts between blocks as it has time for them."""
    rows = inputs(length, length)
    (whole,) = read((fresh(), rows))
    assert torch.equal(read_pieces(fresh(), rows, [block * BLOCK for block in blocks]), whole)


@settings(max_examples=25)
@given(length=st.integers(2, 640), cuts=st.lists(st.integers(1, 639), max_size=6))
def test_pieces_cut_anywhere_attend_to_the_same(length: int, cuts: list[int]) -> None:
    rows = inputs(length, length)
    attended = read_pieces(fresh(), rows, cuts)
    torch.testing.assert_close(attended, causal(rows), atol=1e-5, rtol=1e-5)


@settings(max_examples=25)
@given(
    spans=st.lists(
        st.tuples(
            st.one_of(st.sampled_from([0, *LENGTHS[:-1]]), st.integers(0, 560)),
            st.sampled_from([1, 1, 1, 2, 63, 64, 80]),
        ),
        min_size=2,
        max_size=6,
    ),
)
def test_neighbours_in_a_pass_change_no_bit(spans: list[tuple[int, int]]) -> None:
    """Sequences of any lengths, of which some write a token and others read a prompt."""
    rows = [inputs(seed, before + count) for seed, (before, count) in enumerate(spans)]
    caches = [fresh() for _ in spans]
    for cache, row, (before, _) in zip(caches, rows, spans, strict=True):
        if before:
            read((cache, row[..., :before, :]))
    rests = [row[..., before:, :] for row, (before, _) in zip(rows, spans, strict=True)]
    alone = [read((cache.fork(), rest))[0] for cache, rest in zip(caches, rests, strict=True)]
    together = read(*zip(caches, rests, strict=True))
    for left, right, row, (before, _) in zip(alone, together, rows, spans, strict=True):
        assert torch.equal(left, right)
        torch.testing.assert_close(right, causal(row)[:, :, before:], atol=1e-5, rtol=1e-5)


# -- sharing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", LENGTHS)
def test_a_fork_shares_full_chunks_and_copies_what_it_writes_into(length: int) -> None:
    cache = fresh()
    read((cache, inputs(0, length)))
    fork = cache.fork()
    assert all(mine is theirs for mine, theirs in zip(fork.chunks, cache.chunks, strict=True))
    fork.reserve(1)
    full = length // CHUNK
    assert fork.chunks[:full] == cache.chunks[:full]
    assert not set(fork.chunks[full:]) & set(cache.chunks)
    assert len(fork.chunks) == length // CHUNK + 1
    # Whoever wrote the chunk goes on in it.
    before = list(cache.chunks)
    cache.reserve(1)
    assert cache.chunks[: len(before)] == before


def test_copies_take_only_what_they_need() -> None:
    cache = fresh()
    read((cache, inputs(0, 100)))
    chunk = cache.chunks[0]
    copy = chunk.copy(70)
    assert torch.equal(copy.store[:, :, :, :70], chunk.store[:, :, :, :70])
    assert copy.store.data_ptr() != chunk.store.data_ptr()
    assert copy.bytes == chunk.bytes == CONFIG.layers * 2 * CONFIG.width * CHUNK * 4


@dataclass
class Read:
    """A sequence and all that it has read."""

    cache: KeyValues = field(default_factory=fresh)
    rows: Tensor = field(default_factory=lambda: inputs(0, 0))


STEPS = st.one_of(
    st.tuples(st.just("fork"), st.integers(0, 7)),
    st.tuples(st.just("drop"), st.integers(0, 7)),
    st.tuples(
        st.just("read"),
        st.lists(
            st.tuples(st.integers(0, 7), st.sampled_from([1, 2, 40, 64, 100, 256])),
            min_size=1,
            max_size=4,
            unique_by=lambda part: part[0],
        ),
    ),
)


@settings(max_examples=40)
@given(steps=st.lists(STEPS, min_size=3, max_size=14))
def test_whatever_is_forked_goes_its_own_way(steps: list[tuple[str, object]]) -> None:
    """Sequences that are forked, dropped and read in any order, alone and together."""
    sequences = [Read()]
    for step, (what, which) in enumerate(steps):
        if isinstance(which, int):
            chosen = sequences[which % len(sequences)]
            if what == "fork":
                sequences.append(Read(chosen.cache.fork(), chosen.rows))
            elif len(sequences) > 1:
                sequences.remove(chosen)
            continue
        assert isinstance(which, list)
        spans = []
        for place, count in {place % len(sequences): count for place, count in which}.items():
            sequence = sequences[place]
            count = min(count, CONFIG.context_length - sequence.rows.shape[3])
            if count:
                spans.append((sequence, inputs(1000 * step + place, count)))
        if not spans:
            continue
        found = read(*((sequence.cache, rows) for sequence, rows in spans))
        for (sequence, rows), attended in zip(spans, found, strict=True):
            sequence.rows = torch.cat([sequence.rows, rows], dim=3)
            expected = causal(sequence.rows)[:, :, -rows.shape[3] :]
            torch.testing.assert_close(attended, expected, atol=1e-5, rtol=1e-5)


def test_the_context_is_a_limit() -> None:
    cache = fresh()
    read((cache, inputs(0, 600)))
    with pytest.raises(ValueError, match="641 tokens do not fit into a context of 640"):
        cache.reserve(41)
    cache.reserve(40)
    assert cache.length == 600


def test_a_lack_of_memory_leaves_a_sequence_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = fresh()
    rows = inputs(0, 270)
    read((cache, rows[..., :250, :]))

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("hyperclova.inference.cache.Chunk.__init__", fail)
        with pytest.raises(MemoryError):
            cache.reserve(20)
    (attended,) = read((cache, rows[..., 250:, :]))
    torch.testing.assert_close(attended, causal(rows)[:, :, 250:], atol=1e-5, rtol=1e-5)
