"""Runs many requests at once on one model.

One thread owns the model. Each step is one forward pass over the next token of every running
choice and the next blocks of the prompts being read. Requests join and leave between steps, so
nobody waits for a batch to fill or to empty, and a long prompt does not stall those who are being
answered.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from hyperclova.inference.cache import BLOCK, Chunk, KeyValues, Span, SpanAttention
from hyperclova.inference.fair import FairQueue
from hyperclova.inference.healing import Constraint, Vocabulary
from hyperclova.inference.jobs import Generation, Job, Reader, Row, Wish
from hyperclova.inference.logprobs import Measured, measure
from hyperclova.inference.prefix import PrefixCache
from hyperclova.inference.protocol import EngineBusy, FinishReason, Statistics, TokenResult
from hyperclova.inference.runner import Runner
from hyperclova.inference.sampling import Chooser, choose
from hyperclova.inference.text import Writer
from hyperclova.tokenizer import Tokenizer

_READ_BESIDE_WRITING = 2 * BLOCK  # positions a step; how long prompts hold up those being answered
_READ_ALONE = 8 * BLOCK
_PROJECTED_ROWS = 64  # rows of logits held at once


class Scheduler:
    """Owns the model's thread.

    Args:
        rows: the most choices and prompts worked on at once.
        waiting: the most requests that may wait for a place.
        cache_bytes: memory for keys and values of prompts that may come again.
    """

    def __init__(
        self, runner: Runner, tokenizer: Tokenizer, rows: int, waiting: int, cache_bytes: int
    ) -> None:
        self._runner, self._tokenizer = runner, tokenizer
        self._spellings = Vocabulary(tokenizer)
        self._rows, self._most_waiting = rows, waiting
        self._vocabulary = tokenizer.vocabulary_size
        self._inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._waiting: FairQueue[Job] = FairQueue()
        self._readers: list[Reader] = []
        self._running: list[Row] = []
        self._prefixes = PrefixCache(cache_bytes, self._sequence)
        self._reused = self._read = self._written = 0
        self._lock = threading.Lock()
        self._submitted = 0  # jobs in the inbox or waiting
        self._closed = False
        # OpenMP keeps its thread count per thread; what the program chose must hold here, too.
        self._torch_threads = torch.get_num_threads()
        self._thread = threading.Thread(target=self._run, name="hyperclova-engine", daemon=True)
        self._thread.start()

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
            self._inbox.put(job)

    def statistics(self) -> Statistics:
        return Statistics(
            running=len(self._running),
            waiting=self._submitted,
            cached_tokens=self._prefixes.tokens,
            cache_bytes=self._prefixes.bytes,
            reused_tokens=self._reused,
            read_tokens=self._read,
            written_tokens=self._written,
        )

    def close(self) -> None:
        """Cancel everything and end the thread."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._inbox.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    # -- the engine's thread -----------------------------------------------------------------------

    def _run(self) -> None:
        torch.set_num_threads(self._torch_threads)
        with torch.inference_mode():
            while self._receive():
                self._drop_unwanted()
                self._admit()
                self._step()
        for job in {id(job): job for job in self._all_jobs()}.values():
            job.end(RuntimeError("the engine was closed"))
        self._readers, self._running = [], []
        self._prefixes.clear()

    def _receive(self) -> bool:
        """Take in what has been submitted; wait for it if there is nothing else to do."""
        while True:
            idle = not (len(self._waiting) or self._readers or self._running)
            try:
                job = self._inbox.get(block=idle)
            except queue.Empty:
                return True
            if job is None:
                return False
            self._waiting.push(job)

    @contextmanager
    def _failing(self, jobs: Sequence[Job]) -> Iterator[None]:
        """A failure within (memory, for instance) ends these jobs and nothing else."""
        try:
            yield
        except Exception as error:
            for job in jobs:
                self._forget(job)
                job.end(error)

    def _all_jobs(self) -> list[Job]:
        jobs = [reader.job for reader in self._readers]
        jobs += [row.job for row in self._running]
        jobs += self._waiting
        while True:
            try:
                job = self._inbox.get_nowait()
            except queue.Empty:
                return jobs
            if job is not None:
                jobs.append(job)

    def _forget(self, job: Job) -> None:
        self._running = [row for row in self._running if row.job is not job]
        self._readers = [reader for reader in self._readers if reader.job is not job]
        self._leave_queue(lambda waiting: waiting is job)

    def _leave_queue(self, unwanted: Callable[[Job], bool]) -> None:
        removed = self._waiting.remove(unwanted)
        if removed:
            with self._lock:
                self._submitted -= len(removed)

    def _drop_unwanted(self) -> None:
        """End what has been cancelled or is out of time."""
        jobs = {reader.job: None for reader in self._readers}
        jobs |= {row.job: None for row in self._running}
        jobs |= dict.fromkeys(self._waiting)
        for job in jobs:
            reason: FinishReason
            if job.cancelled:
                reason = "cancelled"
            elif job.expired:
                reason = "deadline"
            else:
                continue
            with self._failing([job]):
                for row in [row for row in self._running if row.job is job]:
                    self._leave(row, *row.writer.finish(), reason)
                self._forget(job)
                if not job.ended:
                    job.stop(reason)

    # -- joining -----------------------------------------------------------------------------------

    def _places(self) -> int:
        working = {reader.job for reader in self._readers}
        return self._rows - len(self._running) - len(working)

    def _admit(self) -> None:
        """Let jobs, or further choices of jobs whose prompt has been read, take free places."""
        while self._places() > 0 and len(self._waiting):
            job = self._waiting.pop()
            with self._lock:
                self._submitted -= 1
            with self._failing([job]):
                if isinstance(job, Generation) and job.begun:
                    self._begin_choices(job, 1)
                elif reader := job.reader():
                    self._readers.append(reader)
                else:
                    assert isinstance(job, Generation)
                    self._begin_choices(job, job.request.n)

    def _begin_choices(self, job: Generation, count: int) -> None:
        """Begin writing choices of a prompt that has been read; the rest waits its turn."""
        rows = [self._new_row(job) for _ in range(count)]
        self._running += rows
        for row in rows:
            self._echo(row)
        if job.begun < job.request.n:
            with self._lock:
                self._submitted += 1
            self._waiting.push(job)
        if job.logits is None:
            for row in rows:
                self._leave(row, *row.writer.finish(), "length")
        else:
            self._advance(rows, job.logits.expand(len(rows), -1))

    def _new_row(self, job: Generation) -> Row:
        choice = job.begun
        job.begun += 1
        job.open += 1
        repeated = len(job.remainder)  # in single bytes at worst
        room = self._runner.config.context_length - len(job.prompt) - repeated
        limit = min(job.request.max_tokens, room)
        if job.cache is None:
            cache = self._sequence((), 0)
        elif job.begun == job.request.n:
            cache, job.cache = job.cache, None
        else:
            cache = job.cache.fork()
        before = () if job.request.echo else job.prompt.tail()
        return Row(
            job,
            choice,
            cache,
            Chooser(
                job.request.sampling,
                job.seed + choice,
                job.prompt.tokens,
                limit + repeated,
                Constraint(self._spellings, job.remainder) if repeated else None,
            ),
            Writer(self._tokenizer, job.request.stop, before, hidden=len(job.remainder.decode())),
            limit,
        )

    def _echo(self, row: Row) -> None:
        job = row.job
        if not job.request.echo:
            return
        measured: list[Measured | None] = [None] * len(job.prompt)
        if job.request.logprobs is not None:
            measured = [each or Measured(None) for each in job.measured]
        tokens = [
            (symbol, one)
            for symbol, one in zip(job.prompt.sequence, measured, strict=True)
            if isinstance(symbol, int)
        ][job.prompt.added :]
        row.emit(*row.writer.echo(*zip(*tokens, strict=True)), None) if tokens else None

    # -- a step ------------------------------------------------------------------------------------

    def _step(self) -> None:
        rows = self._reserved(self._running)
        reading = self._next_blocks(_READ_BESIDE_WRITING if rows else _READ_ALONE)
        if not (rows or reading):
            return
        jobs = [row.job for row in rows] + [reader.job for reader, _ in reading]
        with self._failing(jobs):
            states = self._forward(rows, reading)
            wishes, finished = self._sort_out(reading, states[len(rows) :])
            if rows:
                logits = self._runner.project(states[: len(rows)])
            self._fulfil(wishes)
            for reader in finished:
                self._finish(reader)
            if rows:
                # Some may have left meanwhile, their job having failed.
                self._advance(rows, logits)

    def _reserved(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that have room for another token."""
        ready = []
        for row in rows:
            with self._failing([row.job]):
                row.cache.reserve(1)
                ready.append(row)
        return [row for row in ready if not row.job.ended]

    def _next_blocks(self, budget: int) -> list[tuple[Reader, int]]:
        """Which readers read how many symbols now: a block each in turn, up to the budget."""
        ready = [reader for reader in self._readers if self._can_read(reader)]
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
        self._readers.sort(key=lambda reader: counts.get(reader, 0) > 0)
        reading = []
        for reader, count in counts.items():
            if count:
                assert reader.cache is not None
                with self._failing([reader.job]):
                    reader.cache.reserve(count)
                    reading.append((reader, count))
        return [(reader, count) for reader, count in reading if not reader.job.ended]

    def _can_read(self, reader: Reader) -> bool:
        """Decide what a new reader can take over; False if it should wait for what another one is
        about to read."""
        if reader.cache is not None:
            return True
        symbols = reader.symbols.sequence
        found = self._prefixes.match(symbols, reader.reuse)
        end = found.length + BLOCK
        if end <= reader.reuse and self._prefixes.enabled:
            for other in self._readers:
                if (
                    other.cache is not None
                    and other.remember
                    and other.cache.length < end <= len(other.symbols)
                    and other.symbols.sequence[:end] == symbols[:end]
                ):
                    return False
        reader.cache = found
        self._reused += found.length
        return True

    def _forward(self, rows: Sequence[Row], reading: Sequence[tuple[Reader, int]]) -> Tensor:
        """States ``(tokens, width)``: one for each row, then those of the blocks read."""
        spans = [Span(row.cache, 1) for row in rows]
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
        attend = SpanAttention(spans)
        states = self._runner.states(ids, positions, attend, places, embeddings)
        attend.advance()
        return states

    def _sort_out(
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
            self._read += count
            if reader.remember:
                self._prefixes.insert(reader.symbols.sequence, reader.cache)
            if not reader.left:
                finished.append(reader)
        return wishes, finished

    def _fulfil(self, wishes: Sequence[Wish]) -> None:
        """Project states and give out the logits, many small wishes at a time."""
        begin = 0
        while begin < len(wishes):
            end, rows = begin + 1, len(wishes[begin].states)
            while end < len(wishes) and rows + len(wishes[end].states) <= _PROJECTED_ROWS:
                rows += len(wishes[end].states)
                end += 1
            logits = self._runner.project(torch.cat([wish.states for wish in wishes[begin:end]]))
            for wish in wishes[begin:end]:
                wish.take(logits[: len(wish.states)])
                logits = logits[len(wish.states) :]
            begin = end

    def _finish(self, reader: Reader) -> None:
        self._readers.remove(reader)
        job = reader.job
        with self._failing([job]):
            self._readers += job.read(reader)
            if isinstance(job, Generation):
                self._begin_choices(job, 1)

    # -- writing -----------------------------------------------------------------------------------

    def _advance(self, rows: Sequence[Row], logits: Tensor) -> None:
        """Choose and write the next token of ``rows``, given ``(rows, vocab_size)`` logits."""
        # The model may have more ids than the tokenizer: padding, which must not be chosen.
        tokens = choose(logits[:, : self._vocabulary], [row.chooser for row in rows])
        measured = self._measure_choices(rows, logits, tokens)
        for row, token, measurement in zip(rows, tokens, measured, strict=True):
            if row.job.ended:
                continue
            if token == self._tokenizer.end_of_text_id:
                self._leave(row, *row.writer.finish(), "stop")
                continue
            row.last = token
            self._written += 1
            if row.chooser.repeats:
                row.writer.repeat(token)
                continue
            row.generated += 1
            text, results, stopped = row.writer.push(token, measurement)
            if stopped:
                self._leave(row, text, results, "stop")
            elif row.generated == row.limit:
                rest, more = row.writer.finish()
                self._leave(row, text + rest, results + more, "length")
            else:
                row.emit(text, results, None)

    def _measure_choices(
        self, rows: Sequence[Row], logits: Tensor, tokens: Sequence[int]
    ) -> list[Measured | None]:
        tops = [row.job.request.logprobs for row in rows]
        asked = [index for index, top in enumerate(tops) if top is not None]
        measured: list[Measured | None] = [None] * len(rows)
        if asked:
            most = max(top for top in tops if top is not None)
            chosen = [tokens[index] for index in asked]
            for index, one in zip(
                asked, measure(logits[asked], chosen, most, self._vocabulary), strict=True
            ):
                measured[index] = Measured(one.logprob, one.top[: tops[index]])
        return measured

    def _leave(
        self, row: Row, text: str, tokens: tuple[TokenResult, ...], reason: FinishReason
    ) -> None:
        self._running.remove(row)
        row.emit(text, tokens, reason)
        row.job.open -= 1
        if not row.job.open and row.job.begun == row.job.request.n:
            row.job.end()

    def _sequence(self, chunks: Sequence[Chunk], length: int) -> KeyValues:
        runner = self._runner
        return KeyValues(runner.config, runner.dtype, runner.device, chunks, length)
