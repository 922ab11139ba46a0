"""A bounded memory of what has been worked out."""

from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")

LONGEST = 64
"""Characters of the longest key kept; longer ones rarely come twice, and would not be bounded."""


class Cache(dict[str, Value]):
    """``cache[key]`` is ``compute(key)``, kept for as long as the key is in use.

    Two generations stand in for a least-recently-used list: when the young one holds ``capacity``
    keys it becomes the old one, and a key that is asked for again moves back to the young. A hit
    is one dictionary lookup in C; at most ``2 * capacity`` values are held.
    """

    def __init__(self, compute: Callable[[str], Value], capacity: int) -> None:
        super().__init__()
        self._compute = compute
        self._capacity = capacity
        self._old: dict[str, Value] = {}

    def __missing__(self, key: str) -> Value:
        if len(key) > LONGEST:
            return self._compute(key)
        value = self._old.get(key)
        if value is None:
            value = self._compute(key)
        if len(self) >= self._capacity:
            self._old = dict(self)
            self.clear()
        self[key] = value
        return value
