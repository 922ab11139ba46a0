"""Prompts on their way into keys and values: what comes from the prefix cache, who reads next."""

from collections.abc import Sequence
from contextlib import suppress

from torch import Tensor

from hyperclova.inference.cache import BLOCK, OutOfChunks
from hyperclova.inference.jobs import Failing, Job, Reader, Wish
from hyperclova.inference.prefix import PrefixCache


class Reading:
    """The prompts being read.

    Args:
        prefixes: what has been read before.
        failing: for what concerns one job.
    """

    def __init__(self, prefixes: PrefixCache, failing: Failing) -> None:
        self._prefixes, self._failing = prefixes, failing
        self.readers: list[Reader] = []
        self.read = 0
        """Symbols read, since the start."""
        self.stalled: list[tuple[Job, OutOfChunks]] = []
        """Who could not read when asked last, because others have the memory."""
        self.reused = 0
        """Symbols taken over from the prefix cache."""

    @property
    def jobs(self) -> list[Job]:
        return [reader.job for reader in self.readers]

    def forget(self, job: Job) -> None:
        for reader in self.readers:
            if reader.job is job and reader.cache is not None:
                reader.cache.release()
        self.readers = [reader for reader in self.readers if reader.job is not job]

    def recalled(self) -> list[tuple[Reader, Tensor]]:
        """New readers all of whose symbols are known, and the state ``(1, width)`` after them."""
        known: list[tuple[Reader, Tensor]] = []
        for reader in self.readers:
            if reader.cache is None and reader.reuse:
                # Without memory it goes the way of those that are not known, and waits.
                with self._failing([reader.job]), suppress(OutOfChunks):
                    if found := self._prefixes.recall(reader.symbols.sequence):
                        reader.cache, state = found
                        self.reused += len(reader.symbols)
                        known.append((reader, state))
        return known

    def next_blocks(self, budget: int) -> list[tuple[Reader, int]]:
        """Which readers read how many symbols now: a block each in turn, up to the budget."""
        ready = []
        for reader in self.readers:
            with self._failing([reader.job]):
                if self._can_read(reader):
                    ready.append(reader)
        counts = dict.fromkeys(ready, 0)
        while budget > 0:
            hungry = [reader for reader in ready if counts[reader] < reader.left]
            if not hungry:
                break
            for reader in hungry:
                at = reader.begin + reader.place + counts[reader]
                count = min(BLOCK - at % BLOCK, reader.left - counts[reader])
                counts[reader] += count
                budget -= count
                if budget <= 0:
                    break
        # Whoever went without stands first the next time.
        self.readers.sort(key=lambda reader: counts.get(reader, 0) > 0)
        reading: list[tuple[Reader, int]] = []
        self.stalled = []
        for reader, count in counts.items():
            if count and not reader.job.ended:
                assert reader.cache is not None
                with self._failing([reader.job]):
                    try:
                        reader.cache.reserve(count)
                    except OutOfChunks as error:
                        self.stalled.append((reader.job, error))
                        continue
                    reading.append((reader, count))
        return [(reader, count) for reader, count in reading if not reader.job.ended]

    def _can_read(self, reader: Reader) -> bool:
        """Decide what a new reader can take over; False if it should wait for what another one is
        about to read."""
        if reader.cache is not None:
            return True
        symbols = reader.symbols.sequence
        # The last symbol's state is wanted.
        found = self._prefixes.match(symbols, len(symbols) - 1 if reader.reuse else 0)
        if reader.reuse and self._prefixes.enabled:
            end = (found.length // BLOCK + 1) * BLOCK
            for other in self.readers:
                if other.cache is None or not other.remember:
                    continue
                theirs = other.symbols.sequence
                if theirs == symbols:
                    return False
                coming = other.cache.length < end <= len(theirs) and end < len(symbols)
                if coming and theirs[:end] == symbols[:end]:
                    return False
        reader.cache = found
        self.reused += found.length
        return True

    def take(
        self, reading: Sequence[tuple[Reader, int]], states: Tensor
    ) -> tuple[list[Wish], list[Reader]]:
        """Hand out the states; what must be projected, and which readers have come to an end."""
        wishes: list[Wish] = []
        finished = []
        at = 0
        for reader, count in reading:
            assert reader.cache is not None
            wishes += reader.job.states(reader, reader.place - count, states[at : at + count])
            at += count
            self.read += count
            if reader.remember:
                end = None if reader.left else states[at - 1 : at]
                self._prefixes.insert(reader.symbols.sequence, reader.cache, end)
            if not reader.left:
                finished.append(reader)
        return wishes, finished
