"""A bounded memory of what has been worked out."""

from collections.abc import Callable
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Cache(dict[Key, Value]):
    """``cache[key]`` is ``compute(key)``, kept for as long as the key is in use.

    Two generations stand in for a least-recently-used list: when the young one holds ``capacity``
    keys it becomes the old one, and a key that is asked for again moves back to the young. A hit
    is one dictionary lookup in C; at most ``2 * capacity`` values are held.
    """

    def __init__(self, compute: Callable[[Key], Value], capacity: int) -> None:
        super().__init__()
        self._compute = compute
        self._capacity = capacity
        self._old: dict[Key, Value] = {}

    def __missing__(self, key: Key) -> Value:
        value = self._old.get(key)
        if value is None:
            value = self._compute(key)
        if len(self) >= self._capacity:
            self._old = dict(self)
            self.clear()
        self[key] = value
        return value
