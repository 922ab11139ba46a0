"""Processes that start again meet each other, not their predecessors."""

import threading
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from torch.distributed import FileStore, HashStore, Store

from hyperclova.errors import UserError
from hyperclova.parallel.rendezvous import own_store


def meet(store: Store, ranks: int, late: int | None = None) -> list[str]:
    """What each rank finds under a key that rank 0 sets in the store they agreed on."""
    found = [""] * ranks

    def start(rank: int) -> None:
        own = own_store(store, rank, ranks, timeout_seconds=30)
        if rank == 0:
            own.set("address", uuid.uuid4().hex)
        own.wait(["address"], timedelta(seconds=30))
        found[rank] = own.get("address").decode()

    threads = [threading.Thread(target=start, args=(rank,)) for rank in range(ranks)]
    order = sorted(range(ranks), key=lambda rank: rank == late)
    for rank in order:
        threads[rank].start()
        if late is not None:
            threads[rank].join(0.1)  # it comes far and has read what is there
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("late", [0, 1, None])
def test_no_start_reads_what_an_earlier_one_left(late: int | None) -> None:
    store = HashStore()
    starts = [meet(store, 3, late) for _ in range(4)]
    assert all(len(set(found)) == 1 and found[0] for found in starts)
    assert len({found[0] for found in starts}) == 4


def test_who_does_not_come_is_named(tmp_path: Path) -> None:
    store = FileStore(str(tmp_path / "store"), 3)
    with pytest.raises(UserError, match=r"ranks \[1, 2\] did not come"):
        own_store(store, 0, 3, timeout_seconds=0.2)
    with pytest.raises(UserError, match="rank 0 did not come"):
        own_store(store, 1, 3, timeout_seconds=0.2)
