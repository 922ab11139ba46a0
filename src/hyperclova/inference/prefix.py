"""Keys and values of prompts read before, found again by what the prompts say.

A tree of blocks: each node is a block of 64 positions after its parent's, known by its content
(token ids, rows of soft prompts), and holds the chunk in which its keys and values lie. Chunks
are counted by references, Python's own: one that no node and no sequence holds is free at once.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from hyperclova.inference.cache import BLOCK, CHUNK, Chunk, KeyValues

Symbol = int | tuple[str, int]
"""What stands at one position: a token id, or a soft prompt's fingerprint and the row."""


class _Node:
    def __init__(
        self, parent: "_Node | None", content: tuple[Symbol, ...], chunk: Chunk | None
    ) -> None:
        self.parent, self.content, self.chunk = parent, content, chunk
        self.children: dict[tuple[Symbol, ...], _Node] = {}


class PrefixCache:
    """Remembers read prompts within a bound of memory; the least recently used end goes first.

    Args:
        limit: bytes of keys and values kept for later; 0 keeps none.
        sequence: makes a sequence out of chunks and a length.
    """

    def __init__(self, limit: int, sequence: Callable[[Sequence[Chunk], int], KeyValues]) -> None:
        self._limit, self._sequence = limit, sequence
        self._root = _Node(None, (), None)
        # Every use touches a node and then its parents, so a parent is newer than its children
        # and the oldest node is always an end of the tree.
        self._by_age: OrderedDict[_Node, None] = OrderedDict()
        self._uses: dict[Chunk, int] = {}
        self.bytes = 0

    @property
    def enabled(self) -> bool:
        return self._limit > 0

    @property
    def tokens(self) -> int:
        """Positions that are kept."""
        return len(self._by_age) * BLOCK

    def match(self, symbols: Sequence[Symbol], most: int) -> KeyValues:
        """A sequence that begins with as many whole blocks of ``symbols`` as are known, up to
        ``most`` positions."""
        path = self._walk(symbols, most // BLOCK)
        self._touch(path)
        # Of the nodes whose blocks share a chunk, the last one's holds all of them.
        ends = [*range(CHUNK // BLOCK - 1, len(path), CHUNK // BLOCK)]
        if len(path) % (CHUNK // BLOCK):
            ends.append(len(path) - 1)
        chunks = [chunk for end in ends if (chunk := path[end].chunk) is not None]
        return self._sequence(chunks, len(path) * BLOCK)

    def insert(self, symbols: Sequence[Symbol], stored: KeyValues) -> None:
        """Remember the whole blocks of ``symbols`` that ``stored`` has read."""
        if not self._limit:
            return
        blocks = min(stored.length, len(symbols)) // BLOCK
        path = self._walk(symbols, blocks)
        node = path[-1] if path else self._root
        for block in range(len(path), blocks):
            content = tuple(symbols[block * BLOCK : (block + 1) * BLOCK])
            chunk = stored.chunks[block * BLOCK // CHUNK]
            child = node.children[content] = _Node(node, content, chunk)
            self._hold(chunk)
            path.append(child)
            node = child
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

    def _hold(self, chunk: Chunk) -> None:
        if chunk not in self._uses:
            self._uses[chunk] = 0
            self.bytes += chunk.bytes
        self._uses[chunk] += 1

    def _drop_oldest(self) -> None:
        node, _ = self._by_age.popitem(last=False)
        assert not node.children and node.parent is not None and node.chunk is not None
        del node.parent.children[node.content]
        self._uses[node.chunk] -= 1
        if not self._uses[node.chunk]:
            del self._uses[node.chunk]
            self.bytes -= node.chunk.bytes
