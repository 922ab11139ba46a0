"""Runs many requests at once on one model.

One thread owns the model. Each step is one forward pass over the next token of every running
choice and the next blocks of the prompts being read. Requests join and leave between steps, so
nobody waits for a batch to fill or to empty, and a long prompt does not stall those who are being
answered.
"""

import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

import torch
from torch import Tensor

from hyperclova.inference.attention import Span
from hyperclova.inference.cache import BLOCK, Chunk, KeyValues, OutOfChunks
from hyperclova.inference.fair import FairQueue
from hyperclova.inference.generation import Generation, Row
from hyperclova.inference.jobs import Job, Reader, Wish
from hyperclova.inference.prefix import PrefixCache
from hyperclova.inference.protocol import EngineBusy, FinishReason, Statistics
from hyperclova.inference.reading import Reading
from hyperclova.inference.runner import Runner
from hyperclova.inference.writing import Writing
from hyperclova.parallel.device import to_host
from hyperclova.tokenizer import Tokenizer

_READ_BESIDE_WRITING = 2 * BLOCK  # positions a step; how long prompts hold up those being answered
_READ_ALONE = 8 * BLOCK
_ON_ACCELERATORS = 4  # times as many, so that launching is not all of it; not measured yet
_PROJECTED_ROWS = 64  # rows of logits held at once


class Scheduler:
    """Owns the model's thread.

    Args:
        load: gives the model; called on that thread, before the constructor returns. Threads of
            OpenMP belong to the thread that called for them, and where there are more of them than
            processors they sleep between operations, which made a step twice as long: so nobody
            but that thread should compute.
        rows: the most choices and prompts worked on at once.
        waiting: the most requests that may wait for a place.
        cache_bytes: memory for keys and values of prompts that may come again.

    Raises whatever ``load`` raises.
    """

    def __init__(
        self,
        load: Callable[[], Runner],
        tokenizer: Tokenizer,
        rows: int,
        waiting: int,
        cache_bytes: int,
    ) -> None:
        self._rows, self._most_waiting = rows, waiting
        self._inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._waiting: FairQueue[Job] = FairQueue()
        self._lock = threading.Lock()
        self._cancelled = False  # whether any job may have been, since this was looked at
        self._earliest = math.inf  # when the first of those that wait may expire
        self._submitted = 0  # jobs in the inbox or waiting
        self._want_room: list[Callable[[], None]] = []
        self._closed = False
        self._ready = threading.Event()
        loaded: Future[Runner] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(load, loaded), name="hyperclova-engine", daemon=True
        )
        self._thread.start()
        self.runner = loaded.result()
        self._prefixes = PrefixCache(cache_bytes, self._sequence, self.runner.independent_positions)
        self._reading = Reading(self._prefixes, self._failing)
        self.runner.reclaim_with(self._reclaim)
        factor = 1 if self.runner.device.type == "cpu" else _ON_ACCELERATORS
        self._read_beside, self._read_alone = factor * _READ_BESIDE_WRITING, factor * _READ_ALONE
        self._writing = Writing(
            tokenizer, self.runner.config.context_length, self._sequence, self._failing
        )
        self._ready.set()

    def submit(self, job: Job) -> None:
        """Queue a job.

        Raises:
            EngineBusy: too many wait already.
            RuntimeError: the scheduler is closed.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the engine is closed")
            if self._submitted >= self._most_waiting:
                raise EngineBusy(
                    f"{self._most_waiting} requests are waiting, the most at once; try again in "
                    "a moment"
                )
            self._submitted += 1
            job.on_cancel(self._note_cancellation)
            self._inbox.put(job)

    def when_room(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` once, on whatever thread, as soon as there is room for a job or the
        scheduler is closed. It must not block, and others may be faster."""
        with self._lock:
            if self._submitted >= self._most_waiting and not self._closed:
                self._want_room.append(tell)
                return
        tell()

    def _note_cancellation(self) -> None:
        self._cancelled = True

    def statistics(self) -> Statistics:
        return Statistics(
            running=self._rows - self._places(),
            waiting=self._submitted,
            cached_tokens=self._prefixes.tokens,
            cache_bytes=self._prefixes.bytes,
            reused_tokens=self._reading.reused,
            read_tokens=self._reading.read,
            written_tokens=self._writing.written,
        )

    def close(self) -> None:
        """Cancel everything and end the thread."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._inbox.put(None)
            told, self._want_room = self._want_room, []
        for tell in told:
            tell()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    # -- the engine's thread -----------------------------------------------------------------------

    def _run(self, load: Callable[[], Runner], loaded: "Future[Runner]") -> None:
        try:
            runner = load()
        except BaseException as error:
            loaded.set_exception(error)
            return
        loaded.set_result(runner)
        self._ready.wait()
        with torch.inference_mode():
            while self._receive():
                self._drop_unwanted()
                self._admit()
                self._step()
        for job in {id(job): job for job in self._all_jobs()}.values():
            job.end(RuntimeError("the engine was closed"))
        self._reading.readers, self._writing.rows = [], []
        self._prefixes.clear()

    def _receive(self) -> bool:
        """Take in what has been submitted; wait for it if there is nothing else to do."""
        while True:
            idle = not (len(self._waiting) or self._reading.readers or self._writing.rows)
            try:
                job = self._inbox.get(block=idle)
            except queue.Empty:
                return True
            if job is None:
                return False
            self._wait(job)

    def _wait(self, job: Job) -> None:
        self._waiting.push(job)
        self._earliest = min(self._earliest, job.expires)
        # It may have been before it came, when nobody found it here.
        self._cancelled = self._cancelled or job.cancelled

    @contextmanager
    def _failing(self, jobs: Sequence[Job]) -> Iterator[None]:
        """A failure within (memory, a callback that raises) ends these jobs and nothing else."""
        try:
            yield
        except BaseException as error:  # SystemExit, too, which would end the thread of all others
            for job in jobs:
                self._forget(job)
                job.end(error)

    def _all_jobs(self) -> list[Job]:
        jobs = [*self._reading.jobs, *self._writing.jobs, *self._waiting]
        while True:
            try:
                job = self._inbox.get_nowait()
            except queue.Empty:
                return jobs
            if job is not None:
                jobs.append(job)

    def _forget(self, job: Job) -> None:
        self._writing.forget(job)
        self._reading.forget(job)
        if self._waiting.discard(job):
            self._left_queue()

    def _left_queue(self) -> None:
        """A job waits no longer."""
        told: list[Callable[[], None]] = []
        with self._lock:
            self._submitted -= 1
            if self._submitted < self._most_waiting:
                told, self._want_room = self._want_room, []
        for tell in told:
            tell()

    def _drop_unwanted(self) -> None:
        """End what has been cancelled or is out of time."""
        jobs = [*self._reading.jobs, *self._writing.jobs]
        # Thousands may wait; to go through them before each step would take longer than the step.
        if self._cancelled or time.monotonic() >= self._earliest:
            self._cancelled = False
            jobs += self._waiting
            self._earliest = min((job.expires for job in self._waiting), default=math.inf)
        for job in dict.fromkeys(jobs):
            reason: FinishReason
            if job.cancelled:
                reason = "cancelled"
            elif job.expired:
                reason = "deadline"
            else:
                continue
            with self._failing([job]):
                self._writing.stop(job, reason)
                self._forget(job)
                if not job.ended:
                    job.stop(reason)

    # -- joining -----------------------------------------------------------------------------------

    def _places(self) -> int:
        return self._rows - len(self._writing.rows) - len(set(self._reading.jobs))

    def _admit(self) -> None:
        """Let jobs, or further choices of jobs whose prompt has been read, take free places."""
        while self._places() > 0 and len(self._waiting):
            job = self._waiting.pop()
            self._left_queue()
            with self._failing([job]):
                if isinstance(job, Generation) and job.begun and not job.reads_again:
                    self._begin_choice(job)
                elif reader := job.reader():
                    self._reading.readers.append(reader)
                else:
                    assert isinstance(job, Generation)
                    self._begin_choice(job)

    def _begin_choice(self, job: Generation) -> None:
        """Begin writing a choice of a prompt that has been read; the rest waits its turn."""
        if job.begun + 1 < job.request.n:
            with self._lock:
                self._submitted += 1
            self._wait(job)
        self._writing.begin(job)

    # -- a step ------------------------------------------------------------------------------------

    def _step(self) -> None:
        self._recall()
        rows, stalled = self._reserved(self._writing.rows)
        reading = self._reading.next_blocks(self._read_beside if rows else self._read_alone)
        if not (rows or reading):
            # If they wait for each other's memory, the last one ends. Else they wait for others.
            for job, error in (stalled + self._reading.stalled)[-1:]:
                with self._failing([job]):
                    # Whoever holds on to the error need not hold what its frames refer to.
                    raise error.with_traceback(None)
            return
        jobs = [row.job for row in rows] + [reader.job for reader, _ in reading]
        with self._failing(jobs):
            states = self._forward(rows, reading)
            wishes, finished = self._reading.take(reading, states[len(rows) :])
            if rows:
                logits = self.runner.project(states[: len(rows)])
            self._fulfil(wishes)
            for reader in finished:
                self._finish(reader)
            if rows:
                self._writing.advance(rows, logits)

    def _recall(self) -> None:
        """Prompts that have been read before need no step."""
        recalled = self._reading.recalled()
        with self._failing([reader.job for reader, _ in recalled]):
            self._fulfil(
                [
                    wish
                    for reader, state in recalled
                    for wish in reader.job.states(reader, len(reader.symbols) - 1, state)
                ]
            )
            for reader, _ in recalled:
                self._finish(reader)

    def _reserved(self, rows: Sequence[Row]) -> tuple[list[Row], list[tuple[Job, OutOfChunks]]]:
        """The rows that have room for another token, and who waits for memory that others have."""
        ready: list[Row] = []
        stalled: list[tuple[Job, OutOfChunks]] = []
        for row in rows:
            if not row.job.ended:  # with another of its rows
                with self._failing([row.job]):
                    try:
                        row.cache.reserve(1)
                    except OutOfChunks as error:
                        stalled.append((row.job, error))
                        continue
                    ready.append(row)
        return [row for row in ready if not row.job.ended], stalled

    def _reclaim(self) -> bool:
        """Give up what can be read again: first what nobody uses, then the prompts of those whose
        next choice waits for its turn."""
        if self._prefixes.give_back():
            return True
        waiting = (job for job in reversed([*self._waiting]) if isinstance(job, Generation))
        return any(job.give_up_prompt() for job in waiting)

    def _forward(self, rows: Sequence[Row], reading: Sequence[tuple[Reader, int]]) -> Tensor:
        """States ``(tokens, width)``: one for each row, then those of the blocks read."""
        spans = [Span(row.cache, 1, written=True) for row in rows]
        ids = [row.last for row in rows]
        positions = [row.cache.length for row in rows]
        places: list[int] = []
        embeddings = []
        for reader, count in reading:
            assert reader.cache is not None
            begin = reader.place
            if soft := reader.symbols.rows(begin, begin + count):
                places += [len(ids) + place for place in soft[0]]
                embeddings.append(torch.from_numpy(soft[1]))
            ids += reader.symbols.ids(begin, begin + count)
            positions += range(reader.cache.length, reader.cache.length + count)
            spans.append(Span(reader.cache, count))
        return self.runner.states(ids, positions, spans, places, embeddings)

    def _fulfil(self, wishes: Sequence[Wish]) -> None:
        """Project states and give out the logits, many small wishes at a time."""
        begin = 0
        while begin < len(wishes):
            end, rows = begin + 1, len(wishes[begin].states)
            while end < len(wishes) and rows + len(wishes[end].states) <= _PROJECTED_ROWS:
                rows += len(wishes[end].states)
                end += 1
            states = torch.cat([wish.states for wish in wishes[begin:end]])
            logits = to_host(self.runner.project(states))
            for wish in wishes[begin:end]:
                with self._failing([wish.job]):
                    wish.take(logits[: len(wish.states)])
                logits = logits[len(wish.states) :]
            begin = end

    def _finish(self, reader: Reader) -> None:
        job = reader.job
        if job.ended:  # with another of its readers
            return
        self._reading.readers.remove(reader)
        with self._failing([job]):
            self._reading.readers += job.read(reader)
            if isinstance(job, Generation):
                self._begin_choice(job)

    def _sequence(self, chunks: Sequence[Chunk], length: int) -> KeyValues:
        return self.runner.sequence(chunks, length)
