"""The prefix cache against a plain list of prefixes; what it gives back is what was read."""

import gc
import weakref
from collections.abc import Iterator, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hyperclova.inference.cache import BLOCK, CHUNK, Allocator, Chunk, KeyValues
from hyperclova.inference.prefix import PrefixCache, Symbol
from hyperclova.model import GPTConfig

CONFIG = GPTConfig(vocab_size=8, context_length=1024, layers=1, width=4, heads=1)
CHUNK_BYTES = 2 * 4 * 4 * CHUNK
SOFT = "f" * 64  # a fingerprint


@pytest.fixture(autouse=True)
def fresh_memory_holds_nothing() -> Iterator[None]:
    """Memory that was given back must not be taken for what was read: torch fills new memory with
    NaN in this mode."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def sequence(chunks: Sequence[Chunk] = (), length: int = 0) -> KeyValues:
    return KeyValues(Allocator(CONFIG, torch.float32, torch.device("cpu")), chunks, length)


def mark(symbol: Symbol) -> float:
    """What stands for a symbol's keys and values: a number of its own."""
    return float(symbol if isinstance(symbol, int) else 10_000 + symbol[1])


def read(cache: KeyValues, symbols: Sequence[Symbol]) -> None:
    """Store the marks of the next symbols."""
    cache.reserve(len(symbols))
    begin, end = cache.length, cache.length + len(symbols)
    marks = torch.tensor([mark(symbol) for symbol in symbols])[:, None]
    for number in range(begin // CHUNK, -(-end // CHUNK)):
        first, last = max(begin, number * CHUNK), min(end, (number + 1) * CHUNK)
        places = slice(first - number * CHUNK, last - number * CHUNK)
        cache.chunks[number].store[..., places, :] = marks[first - begin : last - begin]
    cache.length = end


def stored(cache: KeyValues) -> list[float]:
    """The marks in a sequence."""
    marks = [mark for chunk in cache.chunks for mark in chunk.store[0, 1, 0, :, 3].tolist()]
    return marks[: cache.length]


def tokens(letter: int) -> tuple[Symbol, ...]:
    return tuple(range(1000 * letter, 1000 * letter + BLOCK))


def rows(letter: int) -> tuple[Symbol, ...]:
    return tuple((SOFT, row) for row in range(BLOCK * letter, BLOCK * (letter + 1)))


BEGINNINGS = [
    [tokens(place % 3) for place in range(9)],
    [rows(0), rows(1), *(tokens(place % 3) for place in range(7))],
]


@st.composite
def prompts(draw: st.DrawFn) -> tuple[Symbol, ...]:
    """One of two beginnings up to some place, perhaps another block, and a part of one."""
    blocks = draw(st.sampled_from(BEGINNINGS))[: draw(st.integers(0, 9))]
    blocks = blocks + draw(st.sampled_from([[], [], [tokens(5)], [rows(5)]]))
    rest = tokens(7)[: draw(st.sampled_from([0, 1, 63]))]
    return (*(symbol for block in blocks for symbol in block), *rest)


Key = tuple[tuple[Symbol, ...], bool]
"""A prefix, and whether it is a prompt's end."""


def state_after(prompt: Sequence[Symbol]) -> torch.Tensor:
    return torch.full((1, CONFIG.width), mark(prompt[-1]) + len(prompt) / 1000 if prompt else 0.0)


def end_bytes(prompt: Sequence[Symbol]) -> int:
    return 2 * 4 * 4 * (len(prompt) % BLOCK) + 4 * 4


class Model(RuleBasedStateMachine):
    """Prefixes in the order of their last use, each with the chunk in which its last block lies,
    and ends of prompts."""

    @initialize(chunks=st.integers(1, 6), spare=st.sampled_from([0, 1, CHUNK_BYTES - 1]))
    def begin(self, chunks: int, spare: int) -> None:
        self.limit = chunks * CHUNK_BYTES + spare
        self.cache = PrefixCache(self.limit, sequence)
        self.known: dict[Key, Chunk | None] = {}
        self.alive: list[tuple[KeyValues, tuple[Symbol, ...]]] = []
        self.chunks: weakref.WeakSet[Chunk] = weakref.WeakSet()

    def use(self, prompt: tuple[Symbol, ...], blocks: int) -> None:
        """Prefixes of whole blocks have been used, the shorter ones later than the longer."""
        for block in range(blocks, 0, -1):
            prefix = prompt[: block * BLOCK], False
            self.known[prefix] = self.known.pop(prefix)

    def drop_oldest(self) -> None:
        key = prefix, ended = next(iter(self.known))
        if not ended:
            others = [other for other in self.known if other != key]
            assert not any(other[: len(prefix)] == prefix for other, _ in others)
        del self.known[key]

    @property
    def bytes(self) -> int:
        chunks = {id(chunk) for chunk in self.known.values() if chunk}
        ends = sum(end_bytes(prompt) for prompt, ended in self.known if ended)
        return CHUNK_BYTES * len(chunks) + ends

    @rule(
        prompt=prompts(),
        most=st.one_of(st.none(), st.integers(0, 700)),
        step=st.integers(0, 10),
        kept=st.booleans(),
    )
    def read(self, prompt: tuple[Symbol, ...], most: int | None, step: int, kept: bool) -> None:
        """Go on from what is known of a prompt, remembering every few blocks; or stop there."""
        most = max(len(prompt) - 1, 0) if most is None else min(most, len(prompt))
        expected = 0
        while (end := (expected + 1) * BLOCK) <= most and (prompt[:end], False) in self.known:
            expected += 1
        found = self.cache.match(prompt, most)
        self.use(prompt, expected)
        assert found.length == expected * BLOCK
        assert stored(found) == [mark(symbol) for symbol in prompt[: found.length]]
        while step and found.length < len(prompt):
            border = (found.length // BLOCK + step) * BLOCK
            read(found, prompt[found.length : border])
            self.remember(prompt, found)
        self.chunks.update(found.chunks)
        if kept:
            self.alive.append((found, prompt[: found.length]))

    @rule(prompt=prompts().filter(len), kept=st.booleans())
    def recall(self, prompt: tuple[Symbol, ...], kept: bool) -> None:
        """Come with a whole prompt again."""
        found = self.cache.recall(prompt)
        assert (found is not None) == ((prompt, True) in self.known)
        if found is not None:
            self.known[prompt, True] = self.known.pop((prompt, True))
            self.use(prompt, len(prompt) // BLOCK)
            cache, state = found
            assert stored(cache) == [mark(symbol) for symbol in prompt]
            assert torch.equal(state, state_after(prompt))
            self.chunks.update(cache.chunks)
            if kept:
                self.alive.append((cache, prompt))

    def remember(self, prompt: tuple[Symbol, ...], read: KeyValues) -> None:
        ended = read.length == len(prompt)
        self.cache.insert(prompt, read, state_after(prompt) if ended else None)
        blocks = read.length // BLOCK
        for block in range(blocks):
            prefix = prompt[: (block + 1) * BLOCK], False
            self.known.setdefault(prefix, read.chunks[block * BLOCK // CHUNK])
        if ended:
            self.known[prompt, True] = self.known.pop((prompt, True), None)
        self.use(prompt, blocks)
        while self.bytes > self.limit:
            self.drop_oldest()
        assert self.cache.bytes <= self.limit

    @rule(which=st.integers(0, 100), more=st.integers(1, 80))
    def write(self, which: int, more: int) -> None:
        """A sequence goes on beyond what is remembered of it."""
        if self.alive:
            cache, prompt = self.alive.pop(which % len(self.alive))
            written = tuple(range(5000, 5000 + more))
            read(cache, written)
            self.chunks.update(cache.chunks)
            self.alive.append((cache, prompt + written))

    @rule(which=st.integers(0, 100))
    def leave(self, which: int) -> None:
        if self.alive:
            self.alive.pop(which % len(self.alive))

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        self.known.clear()
        assert (self.cache.bytes, self.cache.tokens) == (0, 0)

    @invariant()
    def counts_are_right(self) -> None:
        assert self.cache.bytes == self.bytes <= self.limit
        kept = [len(prefix) % BLOCK if ended else BLOCK for prefix, ended in self.known]
        assert self.cache.tokens == sum(kept)

    @invariant()
    def sequences_are_undisturbed(self) -> None:
        for cache, prompt in self.alive:
            assert stored(cache)[-BLOCK:] == [mark(symbol) for symbol in prompt[-BLOCK:]]

    @invariant()
    def memory_is_given_back(self) -> None:
        held = {id(chunk) for chunk in self.known.values() if chunk}
        held |= {id(chunk) for cache, _ in self.alive for chunk in cache.chunks}
        assert {id(chunk) for chunk in self.chunks} <= held

    def teardown(self) -> None:
        for cache, prompt in self.alive:
            assert stored(cache) == [mark(symbol) for symbol in prompt]


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=16, deadline=None)


def test_memory_is_free_at_once_when_nobody_holds_it() -> None:
    cache = PrefixCache(100 * CHUNK_BYTES, sequence)
    prompt = tokens(0) + tokens(1) + tokens(2) + tokens(3) + tokens(4)
    first = sequence()
    read(first, prompt)
    cache.insert(prompt, first)
    chunks = [weakref.ref(chunk) for chunk in first.chunks]
    assert len(chunks) == 2
    del first
    assert all(chunk() is not None for chunk in chunks)  # the cache holds them
    second = cache.match(prompt, len(prompt))
    gc.disable()  # counting references must be enough: a collection may be long in coming
    try:
        cache.clear()
        assert all(chunk() is not None for chunk in chunks)  # the sequence does
        del second
        assert all(chunk() is None for chunk in chunks)
    finally:
        gc.enable()


def test_looking_for_a_prompt_is_using_it() -> None:
    cache = PrefixCache(2 * CHUNK_BYTES, sequence)
    prompts = [tuple(range(start, start + CHUNK)) for start in (1000, 2000, 3000)]
    for prompt in prompts:
        if prompt is prompts[2]:
            assert cache.match(prompts[0], CHUNK).length == CHUNK
        first = sequence()
        read(first, prompt)
        cache.insert(prompt, first)
    assert [cache.match(prompt, CHUNK).length for prompt in prompts] == [CHUNK, 0, CHUNK]
    # Of a prompt that goes, the end goes first.
    one = sequence()
    read(one, tokens(9))
    cache.match(prompts[2], CHUNK)
    cache.insert(tokens(9), one)
    assert cache.match(prompts[0], CHUNK).length == 0
    assert cache.match(prompts[2], CHUNK).length == CHUNK


def test_rows_of_soft_prompts_are_no_tokens() -> None:
    cache = PrefixCache(100 * CHUNK_BYTES, sequence)
    prompt = rows(0)
    first = sequence()
    read(first, prompt)
    cache.insert(prompt, first)
    assert cache.match(prompt, BLOCK).length == BLOCK
    assert cache.match(tuple(range(BLOCK)), BLOCK).length == 0
    assert cache.match(tuple(("e" * 64, row) for row in range(BLOCK)), BLOCK).length == 0
    assert cache.match(rows(1), BLOCK).length == 0


SYMBOLS = st.integers(0, 1) | st.just((SOFT, 0))
LENGTHS = st.sampled_from([1, 3, 63, 64, 65, 100, 128, 200, 255, 256, 257, 300, 330])


@given(data=st.data())
def test_a_part_of_a_block_is_taken_over(data: st.DataObject) -> None:
    """All that has been read, where whole blocks are known, up to the first difference."""
    cache = PrefixCache(1000 * CHUNK_BYTES, sequence, within_blocks=True)
    known: list[tuple[Symbol, ...]] = []
    for _ in range(data.draw(st.integers(1, 6))):
        prompt = (tokens(0) + tokens(1) + tokens(0) + rows(0) + tokens(2) + tokens(1))[
            : data.draw(LENGTHS)
        ]
        if data.draw(st.booleans()):  # another symbol somewhere
            place = data.draw(st.integers(0, len(prompt) - 1))
            prompt = (*prompt[:place], data.draw(SYMBOLS), *prompt[place + 1 :])
        most = data.draw(st.sampled_from([len(prompt) - 1, len(prompt), len(prompt) // 2]))
        shared = max((common(prompt, other) for other in known), default=0)
        found = cache.match(prompt, most)
        assert found.length == min(shared, most)
        assert stored(found) == [mark(symbol) for symbol in prompt[: found.length]]
        kept = stored(found)
        read(found, prompt[found.length :])
        assert stored(found)[: len(kept)] == kept
        assert stored(found) == [mark(symbol) for symbol in prompt]
        cache.insert(prompt, found, state_after(prompt))
        known.append(prompt)
    for prompt in known:
        again = cache.recall(prompt)
        assert again is not None
        assert stored(again[0]) == [mark(symbol) for symbol in prompt]


def common(left: Sequence[Symbol], right: Sequence[Symbol]) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next(
        (place for place, (one, other) in pairs if one != other), min(len(left), len(right))
    )


@pytest.mark.parametrize("chunks", [0, 1])
def test_without_memory_nothing_is_kept(chunks: int) -> None:
    cache = PrefixCache(chunks * (CHUNK_BYTES - 1), sequence)
    assert cache.enabled == bool(chunks)
    first = sequence()
    read(first, tokens(0))
    cache.insert(tokens(0), first, state_after(tokens(0)))
    assert (cache.bytes, cache.tokens) == (0, 0)
    assert cache.match(tokens(0), BLOCK).length == 0
    assert cache.recall(tokens(0)) is None
