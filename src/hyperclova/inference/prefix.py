"""Keys and values of prompts read before, found again by what the prompts say.

A tree of blocks: each node is a block of 64 positions after its parent's, known by its content
(token ids, rows of soft prompts), and holds the chunk in which its keys and values lie. Chunks
are counted by references, Python's own: one that no node and no sequence holds is free at once.

Where a prompt ended, a shorter node holds a copy of what its last, partial block has in keys and
values, and the state after its last position: whoever comes with the whole prompt again need not
read at all. What goes on differently from within a block takes over the part that is the same, if
positions do not depend on those read with them; else a part of a block may round differently from
the block, and is read again from the block's beginning.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from torch import Tensor

from hyperclova.inference.cache import BLOCK, CHUNK, Chunk, KeyValues

Symbol = int | tuple[str, int]
"""What stands at one position: a token id, or a soft prompt's fingerprint and the row."""
_COMPARED = 8  # ways to go on within a block that are looked at: the newest


@dataclass(frozen=True, eq=False)
class End:
    """Of a prompt, behind its whole blocks."""

    rest: Tensor
    """Keys and values ``(layers, 2, heads, positions, head_width)`` of less than a block."""
    state: Tensor
    """``(1, width)``, after the last position."""

    @property
    def bytes(self) -> int:
        return self.rest.nbytes + self.state.nbytes


class _Node:
    """A block, or what of a prompt stands behind its last whole block: less than a block, or
    nothing."""

    def __init__(
        self, parent: "_Node | None", content: tuple[Symbol, ...], holds: Chunk | End | None
    ) -> None:
        self.parent, self.content, self.holds = parent, content, holds
        self.children: dict[tuple[Symbol, ...], _Node] = {}


class PrefixCache:
    """Remembers read prompts within a bound of memory; the least recently used end goes first.

    Args:
        limit: bytes of keys and values kept for later; 0 keeps none.
        sequence: makes a sequence out of chunks and a length.
        within_blocks: whether a part of a block may be taken over: if keys and values of a position
            do not depend on the positions read with it.
    """

    def __init__(
        self,
        limit: int,
        sequence: Callable[[Sequence[Chunk], int], KeyValues],
        within_blocks: bool = False,
    ) -> None:
        self._limit, self._sequence = limit, sequence
        self._within_blocks = within_blocks
        self._root = _Node(None, (), None)
        # Every use touches a node and then its parents, so a parent is newer than its children
        # and the oldest node is always an end of the tree.
        self._by_age: OrderedDict[_Node, None] = OrderedDict()
        self._uses: dict[Chunk | End, int] = {}
        self.bytes = 0
        self.tokens = 0
        """Positions that are kept."""

    @property
    def enabled(self) -> bool:
        return self._limit > 0

    def match(self, symbols: Sequence[Symbol], most: int) -> KeyValues:
        """A sequence that begins with as much of ``symbols`` as is known, up to ``most`` positions:
        whole blocks, and within blocks, if that is allowed, a part of one."""
        path = self._walk(symbols, most // BLOCK)
        whole = len(path) * BLOCK
        node, shared = self._alike(path, symbols[whole : min(most, whole + BLOCK)])
        if node is None:
            self._touch(path)
            return self._joined(path, whole)
        self._touch([*path, node])
        if isinstance(node.holds, Chunk):
            return self._joined([*path, node], whole + shared)
        assert isinstance(node.holds, End)
        sequence = self._joined(path, whole)
        sequence.append(node.holds.rest[:, :, :, :shared])
        return sequence

    def _alike(self, path: Sequence[_Node], symbols: Sequence[Symbol]) -> tuple[_Node | None, int]:
        """What has most in common with ``symbols`` behind a path, and how many symbols."""
        best, most = None, 0
        if self._within_blocks and symbols:
            node = path[-1] if path else self._root
            for child in islice(reversed(node.children.values()), _COMPARED):
                shared = _in_common(child.content, symbols)
                if shared > most:
                    best, most = child, shared
        return best, most

    def recall(self, symbols: Sequence[Symbol]) -> tuple[KeyValues, Tensor] | None:
        """A sequence that has read all of ``symbols``, and the state ``(1, width)`` after the last
        one, if a prompt that says just this has been read.

        Raises:
            OutOfChunks: as :meth:`~hyperclova.inference.cache.Memory.chunk`.
        """
        blocks = len(symbols) // BLOCK
        path = self._walk(symbols, blocks)
        if len(path) < blocks:
            return None
        last = (path[-1] if path else self._root).children.get(tuple(symbols[blocks * BLOCK :]))
        if last is None:
            return None
        assert isinstance(last.holds, End)
        self._touch([*path, last])
        sequence = self._joined(path, blocks * BLOCK)
        sequence.append(last.holds.rest)
        return sequence, last.holds.state

    def _joined(self, path: Sequence[_Node], length: int) -> KeyValues:
        # Of the nodes whose blocks share a chunk, the last one's holds all of them.
        ends = [*range(CHUNK // BLOCK - 1, len(path), CHUNK // BLOCK)]
        if len(path) % (CHUNK // BLOCK):
            ends.append(len(path) - 1)
        chunks = [held for end in ends if isinstance(held := path[end].holds, Chunk)]
        return self._sequence(chunks, length)

    def insert(
        self, symbols: Sequence[Symbol], stored: KeyValues, state: Tensor | None = None
    ) -> None:
        """Remember the whole blocks of ``symbols`` that ``stored`` has read.

        Args:
            state: ``(1, width)``, after the last symbol, if ``stored`` has read them all: then the
                end of the prompt is remembered, too.
        """
        if not self._limit:
            return
        blocks = min(stored.length, len(symbols)) // BLOCK
        path = self._walk(symbols, blocks)
        node = path[-1] if path else self._root
        for block in range(len(path), blocks):
            content = tuple(symbols[block * BLOCK : (block + 1) * BLOCK])
            chunk = stored.chunks[block * BLOCK // CHUNK]
            node = self._add(node, content, chunk)
            path.append(node)
        if state is not None:
            content = tuple(symbols[blocks * BLOCK :])
            path.append(
                node.children.get(content)
                or self._add(node, content, End(stored.rest(len(content)), state.clone()))
            )
        self._touch(path)
        while self.bytes > self._limit:
            self._drop_oldest()

    def clear(self) -> None:
        """Forget everything."""
        while self._by_age:
            self._drop_oldest()

    def give_back(self) -> bool:
        """Forget the end that was used longest ago; False if nothing is kept."""
        if not self._by_age:
            return False
        self._drop_oldest()
        return True

    def _walk(self, symbols: Sequence[Symbol], blocks: int) -> list[_Node]:
        path: list[_Node] = []
        node = self._root
        for block in range(blocks):
            child = node.children.get(tuple(symbols[block * BLOCK : (block + 1) * BLOCK]))
            if child is None:
                break
            path.append(child)
            node = child
        return path

    def _touch(self, path: Sequence[_Node]) -> None:
        for node in reversed(path):
            self._by_age[node] = None
            self._by_age.move_to_end(node)

    def _add(self, parent: _Node, content: tuple[Symbol, ...], holds: Chunk | End) -> _Node:
        node = parent.children[content] = _Node(parent, content, holds)
        self.tokens += len(content)
        if holds not in self._uses:
            self._uses[holds] = 0
            self.bytes += holds.bytes
        self._uses[holds] += 1
        return node

    def _drop_oldest(self) -> None:
        node, _ = self._by_age.popitem(last=False)
        assert not node.children and node.parent is not None and node.holds is not None
        del node.parent.children[node.content]
        self.tokens -= len(node.content)
        self._uses[node.holds] -= 1
        if not self._uses[node.holds]:
            del self._uses[node.holds]
            self.bytes -= node.holds.bytes


def _in_common(left: Sequence[Symbol], right: Sequence[Symbol]) -> int:
    """How many symbols the two begin with alike."""
    for place, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return place
    return min(len(left), len(right))
