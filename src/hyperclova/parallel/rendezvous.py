"""A store that belongs to this start of a run, in one that outlives it.

``torchrun`` keeps one store for all its restarts. The keys of processes that are gone would be
taken for those of their successors: gloo connects to addresses where nobody listens, and the
restart fails. (PyTorch's own prefix per attempt went when it began to share the store, and the
number of restarts differs between machines.)
"""

import secrets
import time
from datetime import timedelta

import torch.distributed as dist
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from hyperclova.errors import UserError

_PAUSE = 0.02


def own_store(store: Store, rank: int, ranks: int, timeout_seconds: float) -> Store:
    """The part of ``store`` that no earlier start of these ranks has used.

    Rank 0 draws a name. Every other rank answers it with a number of its own, which rank 0
    repeats: so a rank that read the name of an earlier start, whose rank 0 is gone, waits on for
    the new one.

    Raises:
        UserError: a rank did not come.
    """
    deadline = time.monotonic() + timeout_seconds
    if rank == 0:
        name = secrets.token_hex(8)
        store.set("start", name)
        missing = list(range(1, ranks))
        while missing:
            for other in [other for other in missing if store.check([f"{name}/{other}"])]:
                number = store.get(f"{name}/{other}").decode()
                store.set(f"{name}/{other}/{number}", "")
                missing.remove(other)
            _pause(deadline, f"ranks {missing[:8]} did not come")
        return PrefixStore(name, store)
    number = secrets.token_hex(8)
    while True:
        if store.check(["start"]):
            name = store.get("start").decode()
            store.set(f"{name}/{rank}", number)
            if store.check([f"{name}/{rank}/{number}"]):
                return PrefixStore(name, store)
        _pause(deadline, "rank 0 did not come")


def join(backend: str, timeout_seconds: float) -> None:
    """Make the processes that ``torchrun`` started one group."""
    timeout = timedelta(seconds=timeout_seconds)
    store, rank, ranks = next(rendezvous("env://"))
    store.set_timeout(timeout)
    own = own_store(store, rank, ranks, timeout_seconds)
    dist.init_process_group(backend, store=own, rank=rank, world_size=ranks, timeout=timeout)


def _pause(deadline: float, what: str) -> None:
    if time.monotonic() > deadline:
        raise UserError(f"{what} within the time limit: see the log there")
    time.sleep(_PAUSE)
