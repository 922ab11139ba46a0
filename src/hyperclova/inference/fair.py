"""A queue that serves clients in turn."""

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Owned(Protocol):
    @property
    def client(self) -> str: ...


T = TypeVar("T", bound=Owned)


class FairQueue(Generic[T]):
    """First in, first out for each client; the clients take turns.

    However much one client has waiting, another's next item is as many turns away as there are
    clients.
    """

    def __init__(self) -> None:
        self._clients: OrderedDict[str, deque[T]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._clients.values()))

    def __iter__(self) -> Iterator[T]:
        for items in self._clients.values():
            yield from items

    def push(self, item: T) -> None:
        """Put an item behind all others of its client."""
        self._clients.setdefault(item.client, deque()).append(item)

    def pop(self) -> T:
        """Take the next client's first item; the client then stands behind all others.

        Raises:
            IndexError: nothing waits.
        """
        if not self._clients:
            raise IndexError("the queue is empty")
        client, items = self._clients.popitem(last=False)
        item = items.popleft()
        if items:
            self._clients[client] = items
        return item

    def discard(self, item: T) -> bool:
        """Take an item out; whether it was there."""
        items = self._clients.get(item.client)
        if items is None or item not in items:
            return False
        items.remove(item)
        if not items:
            del self._clients[item.client]
        return True
