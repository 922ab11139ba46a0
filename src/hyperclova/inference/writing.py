"""Choices being written: from logits to tokens to text."""

from collections.abc import Callable, Sequence

from torch import Tensor

from hyperclova.inference.cache import Chunk, KeyValues
from hyperclova.inference.device_sampling import choose_on_device
from hyperclova.inference.generation import Generation, Row
from hyperclova.inference.healing import Constraint, Vocabulary
from hyperclova.inference.jobs import Failing, Job
from hyperclova.inference.logprobs import Measured, finite_rows, measure, require_finite
from hyperclova.inference.protocol import FinishReason, TokenResult
from hyperclova.inference.sampling import Chooser, choose
from hyperclova.inference.text import Writer
from hyperclova.parallel.device import to_host
from hyperclova.tokenizer import Tokenizer


class Writing:
    """The choices being written.

    Args:
        context_length: of the model.
        sequence: makes keys and values of chunks and a length.
        failing: for what concerns one job.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        context_length: int,
        sequence: Callable[[Sequence[Chunk], int], KeyValues],
        failing: Failing,
    ) -> None:
        self._tokenizer, self._context_length = tokenizer, context_length
        self._sequence, self._failing = sequence, failing
        self._vocabulary = tokenizer.vocabulary_size
        self._spellings = Vocabulary(tokenizer)
        self.rows: list[Row] = []
        self.written = 0
        """Tokens, since the start."""

    @property
    def jobs(self) -> list[Generation]:
        return [row.job for row in self.rows]

    def forget(self, job: Job) -> None:
        for row in self.rows:
            if row.job is job:
                row.cache.release()
        self.rows = [row for row in self.rows if row.job is not job]

    def stop(self, job: Job, reason: FinishReason) -> None:
        """End a job's choices with what they have."""
        for row in [row for row in self.rows if row.job is job]:
            self._leave(row, *row.writer.finish(), reason)

    def begin(self, job: Generation) -> None:
        """Begin the next choice of a prompt that has been read."""
        row = self._new_row(job)
        self.rows.append(row)
        self._echo(row)
        if job.logits is None:
            self._leave(row, *row.writer.finish(), "length")
        else:
            self.advance([row], job.logits)

    def advance(self, rows: Sequence[Row], logits: Tensor) -> None:
        """Choose and write the next token of ``rows``, given ``(rows, vocab_size)`` logits."""
        finite = finite_rows(logits)
        if not all(finite):
            for row, good in zip(rows, finite, strict=True):
                with self._failing([row.job]):
                    require_finite(good)
            rows = [row for row, good in zip(rows, finite, strict=True) if good]
            logits = logits[[place for place, good in enumerate(finite) if good]]
            if not rows:
                return
        # The model may have more ids than the tokenizer: padding, which must not be chosen.
        chooser = choose if logits.device.type == "cpu" else choose_on_device
        tokens = chooser(logits[:, : self._vocabulary], [row.chooser for row in rows])
        measured = self._measure_choices(rows, logits, tokens)
        for row, token, measurement in zip(rows, tokens, measured, strict=True):
            # Some may have left meanwhile, their job having failed.
            if not row.job.ended:
                with self._failing([row.job]):
                    self._write(row, token, measurement)

    def _write(self, row: Row, token: int, measured: Measured | None) -> None:
        if token == self._tokenizer.end_of_text_id:
            self._leave(row, *row.writer.finish(), "stop")
            return
        row.last = token
        self.written += 1
        if row.chooser.repeats:
            row.writer.repeat(token)
            return
        row.generated += 1
        text, results, stopped = row.writer.push(token, measured)
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
                asked,
                measure(to_host(logits[asked]), chosen, most, self._vocabulary),
                strict=True,
            ):
                measured[index] = Measured(one.logprob, one.top[: tops[index]])
        return measured

    def _leave(
        self, row: Row, text: str, tokens: tuple[TokenResult, ...], reason: FinishReason
    ) -> None:
        self.rows.remove(row)
        row.cache.release()
        row.emit(text, tokens, reason)
        row.job.open -= 1
        if not row.job.open and row.job.begun == row.job.request.n:
            row.job.end()

    def _new_row(self, job: Generation) -> Row:
        choice = job.begun
        job.begun += 1
        job.open += 1
        repeated = len(job.remainder)  # in single bytes at worst
        room = self._context_length - len(job.prompt) - repeated
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
        if tokens:
            row.emit(*row.writer.echo(*zip(*tokens, strict=True)), None)
