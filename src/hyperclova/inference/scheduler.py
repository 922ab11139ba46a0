"""Runs many requests at once on one model.

One thread owns the model. Each turn it reads one piece of one waiting prompt (prefill), then
writes one token of every running choice (decode). Choices join and leave between turns, so
nobody waits for a batch to fill or to empty.
"""

import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from hyperclova.inference.cache import DecodeAttention, KeyValueCache, PrefillAttention
from hyperclova.inference.jobs import Job, Prompt, Row
from hyperclova.inference.logprobs import Measured, measure
from hyperclova.inference.protocol import FinishReason, TokenResult
from hyperclova.inference.runner import Runner
from hyperclova.inference.sampling import Chooser, choose
from hyperclova.inference.text import Writer
from hyperclova.tokenizer import Tokenizer

_PREFILL_PIECE = 128  # tokens; how long a prompt may hold up those who are being answered
_PROJECTED_ROWS = 64  # rows of logits held at once when a prompt is measured


class Scheduler:
    """Owns the model's thread. ``rows`` is the most choices that are written at once."""

    def __init__(self, runner: Runner, tokenizer: Tokenizer, rows: int) -> None:
        self._runner, self._tokenizer, self._capacity = runner, tokenizer, rows
        self._vocabulary = tokenizer.vocabulary_size
        self._inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._waiting: deque[Job] = deque()
        self._reading: Prompt | None = None
        self._running: list[Row] = []
        self._lock = threading.Lock()
        self._closed = False
        # OpenMP keeps its thread count per thread; what the program chose must hold here, too.
        self._torch_threads = torch.get_num_threads()
        self._thread = threading.Thread(target=self._run, name="hyperclova-engine", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job.

        Raises:
            RuntimeError: the scheduler is closed.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the engine is closed")
            self._inbox.put(job)

    @property
    def running(self) -> int:
        """Choices being written now."""
        return len(self._running)

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
                self._drop_cancelled()
                self._prefill()
                self._decode()
        for job in {id(job): job for job in self._all_jobs()}.values():
            job.end(RuntimeError("the engine was closed"))

    def _receive(self) -> bool:
        """Take in what has been submitted; wait for it if there is nothing else to do."""
        while True:
            idle = not (self._waiting or self._reading or self._running)
            try:
                job = self._inbox.get(block=idle)
            except queue.Empty:
                return True
            if job is None:
                return False
            self._waiting.append(job)

    @contextmanager
    def _failing(self, jobs: Sequence[Job]) -> Iterator[None]:
        """A failure within (memory, for instance) ends these jobs and nothing else."""
        try:
            yield
        except Exception as error:
            for job in jobs:
                self._forget(job)
                job.end(error)

    def _reading_jobs(self) -> list[Job]:
        return [self._reading.job] if self._reading else []

    def _running_jobs(self) -> list[Job]:
        return [row.job for row in self._running]

    def _all_jobs(self) -> list[Job]:
        jobs = [*self._reading_jobs(), *self._running_jobs(), *self._waiting]
        while True:
            try:
                job = self._inbox.get_nowait()
            except queue.Empty:
                return jobs
            if job is not None:
                jobs.append(job)

    def _forget(self, job: Job) -> None:
        self._running = [row for row in self._running if row.job is not job]
        if self._reading and self._reading.job is job:
            self._reading = None

    def _drop_cancelled(self) -> None:
        jobs = [*self._reading_jobs(), *self._running_jobs(), *self._waiting]
        if not any(job.cancelled for job in jobs):
            return
        for row in [row for row in self._running if row.job.cancelled]:
            self._leave(row, *row.writer.finish(), "cancelled")
        self._waiting = deque(job for job in self._waiting if not job.cancelled)
        for job in jobs:
            if job.cancelled:
                self._forget(job)
                job.end()

    # -- prefill -----------------------------------------------------------------------------------

    def _prefill(self) -> None:
        """Read a piece of the first waiting prompt; let its choices begin once it is read."""
        if self._reading is None and self._waiting and len(self._running) < self._capacity:
            job = self._waiting.popleft()
            cache = KeyValueCache(self._runner.config, self._runner.dtype, self._runner.device)
            self._reading = Prompt(job, cache, [None])
        prompt = self._reading
        if prompt is None:
            return
        with self._failing([prompt.job]):
            total = len(prompt.job.prompt)
            if prompt.cache.length < total and self._needs_model(prompt.job):
                self._read(prompt)
                if prompt.cache.length < total:
                    return
            self._begin_choices(prompt)

    @staticmethod
    def _needs_model(job: Job) -> bool:
        measured = job.request.echo and job.request.logprobs is not None
        return job.request.max_tokens > 0 or measured

    def _read(self, prompt: Prompt) -> None:
        """Read the next piece; with the last one come the logits of what follows."""
        job, cache = prompt.job, prompt.cache
        begin, total = cache.length, len(job.prompt)
        end = min(begin + _PREFILL_PIECE, total)
        attend = PrefillAttention(cache, end - begin)
        hidden = self._runner.hidden(
            torch.tensor([job.prompt[begin:end]]), torch.arange(begin, end)[None], attend
        )[0]
        cache.advance(end - begin)
        if job.request.echo and job.request.logprobs is not None:
            prompt.measured += self._measure_prompt(job, hidden, begin, min(end, total - 1))
        if end == total and job.request.max_tokens:
            prompt.logits = self._runner.project(hidden[-1:])

    def _measure_prompt(
        self, job: Job, hidden: Tensor, begin: int, end: int
    ) -> list[Measured | None]:
        """Measure the tokens after positions ``begin`` to ``end - 1``."""
        measured: list[Measured | None] = []
        top = job.request.logprobs or 0
        # The state at position i says how likely token i + 1 is.
        skipped = min(max(job.measure_from - 1 - begin, 0), end - begin)
        measured += [None] * skipped
        for at in range(begin + skipped, end, _PROJECTED_ROWS):
            until = min(at + _PROJECTED_ROWS, end)
            logits = self._runner.project(hidden[at - begin : until - begin])
            measured += measure(logits, job.prompt[at + 1 : until + 1], top, self._vocabulary)
        return measured

    # -- choices -----------------------------------------------------------------------------------

    def _begin_choices(self, prompt: Prompt) -> None:
        """Let choices of a prompt that has been read begin, as many as there is room for."""
        job = prompt.job
        rows: list[Row] = []
        while prompt.next_choice < job.request.n and (
            len(self._running) + len(rows) < self._capacity
        ):
            rows.append(self._new_row(prompt))
            prompt.next_choice += 1
        if prompt.next_choice == job.request.n:
            self._reading = None
        self._running += rows
        for row in rows:
            self._echo(row, prompt)
        if prompt.logits is None:
            for row in rows:
                self._leave(row, *row.writer.finish(), "length")
        else:
            self._advance(rows, prompt.logits.expand(len(rows), -1))

    def _new_row(self, prompt: Prompt) -> Row:
        job = prompt.job
        room = self._runner.config.context_length - len(job.prompt)
        limit = min(job.request.max_tokens, room)
        last = prompt.next_choice == job.request.n - 1
        job.open_choices += 1
        return Row(
            job,
            prompt.next_choice,
            prompt.cache if last else prompt.cache.copy(),
            Chooser(job.request.sampling, job.seed + prompt.next_choice, job.prompt, limit),
            Writer(
                self._tokenizer, job.request.stop, before=() if job.request.echo else job.prompt
            ),
            limit,
        )

    def _echo(self, row: Row, prompt: Prompt) -> None:
        job = row.job
        if not job.request.echo:
            return
        tokens = job.prompt[job.added :]
        measured: Sequence[Measured | None]
        if job.request.logprobs is None:
            measured = [None] * len(tokens)
        else:
            measured = [each or Measured(None) for each in prompt.measured[job.added :]]
        row.emit(*row.writer.echo(tokens, measured), None)

    def _decode(self) -> None:
        """Write one token of every running choice."""
        rows = list(self._running)
        if not rows:
            return
        with self._failing([row.job for row in rows]):
            tokens = torch.tensor([[row.last] for row in rows])
            positions = torch.tensor([[row.cache.length] for row in rows])
            attend = DecodeAttention([row.cache for row in rows])
            hidden = self._runner.hidden(tokens, positions, attend)
            for row in rows:
                row.cache.advance(1)
            self._advance(rows, self._runner.project(hidden[:, 0]))

    def _advance(self, rows: Sequence[Row], logits: Tensor) -> None:
        """Choose and write the next token of ``rows``, given ``(rows, vocab_size)`` logits."""
        # The model may have more ids than the tokenizer: padding, which must not be chosen.
        tokens = choose(logits[:, : self._vocabulary], [row.chooser for row in rows])
        measured = self._measure_choices(rows, logits, tokens)
        for row, token, measurement in zip(rows, tokens, measured, strict=True):
            if token == self._tokenizer.end_of_text_id:
                self._leave(row, *row.writer.finish(), "stop")
                continue
            row.last = token
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
        row.job.open_choices -= 1
        begun_all = self._reading is None or self._reading.job is not row.job
        if row.job.open_choices == 0 and begun_all:
            row.job.end()
