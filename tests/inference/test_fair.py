"""Clients take turns, whatever each of them has waiting."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperclova.inference.fair import FairQueue


@dataclass(frozen=True)
class Item:
    client: str
    number: int


def test_many_of_one_do_not_stall_another() -> None:
    queue: FairQueue[Item] = FairQueue()
    for number in range(50):
        queue.push(Item("여럿", number))
    queue.pop()
    queue.push(Item("하나", 0))
    taken = [queue.pop() for _ in range(2)]
    assert Item("하나", 0) in taken


def test_an_item_that_comes_back_stands_behind_the_others() -> None:
    """As a request for many choices does, of which one is begun at a time."""
    queue: FairQueue[Item] = FairQueue()
    many, other, stranger = Item("가", 0), Item("가", 1), Item("나", 2)
    for item in (many, other, stranger):
        queue.push(item)
    order = []
    for _ in range(5):
        order.append(queue.pop())
        if order[-1] is many:
            queue.push(many)
    assert order == [many, stranger, other, many, many]


def test_an_empty_queue_says_so() -> None:
    with pytest.raises(IndexError, match="the queue is empty"):
        FairQueue[Item]().pop()


STEPS = st.lists(
    st.one_of(
        st.sampled_from("가나다라").map(lambda client: ("push", client)),
        st.just(("pop", "")),
        st.sampled_from("가나다라").map(lambda client: ("remove", client)),
    ),
    max_size=60,
)


@given(steps=STEPS)
def test_turns_and_order(steps: list[tuple[str, str]]) -> None:
    """Of each client first in, first out; between two turns of one, all others have theirs."""
    queue: FairQueue[Item] = FairQueue()
    waiting: list[Item] = []
    passed_over: dict[str, list[str]] = {}  # client: who has been served while it waited
    for number, (step, client) in enumerate(steps):
        if step == "push":
            item = Item(client, number)
            queue.push(item)
            waiting.append(item)
            passed_over.setdefault(client, [])
        elif step == "remove":
            unwanted = [item for item in waiting if item.client == client and item.number % 2]
            assert all(queue.discard(item) for item in unwanted)
            assert not any(queue.discard(item) for item in unwanted)
            waiting = [item for item in waiting if item not in unwanted]
        elif waiting:
            item = queue.pop()
            mine = [each for each in waiting if each.client == item.client]
            assert item is mine[0]
            waiting.remove(item)
            del passed_over[item.client]
            for served in passed_over.values():
                served.append(item.client)
                assert served.count(item.client) == 1
        left = {item.client for item in waiting}
        passed_over = {name: passed_over.get(name, []) for name in left}
        assert len(queue) == len(waiting)
        assert sorted(queue, key=lambda item: item.number) == waiting
