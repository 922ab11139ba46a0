"""The engine in this process: text in, text out."""

import contextlib
import queue
import secrets
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, overload

import torch

from hyperclova.errors import UserError
from hyperclova.inference.gather import gather
from hyperclova.inference.jobs import Job
from hyperclova.inference.protocol import (
    Chunk,
    Completion,
    ModelInformation,
    Request,
    Sampling,
    Score,
    TokenResult,
)
from hyperclova.inference.runner import Runner
from hyperclova.inference.scheduler import Scheduler
from hyperclova.inference.validation import check_prompt, check_request
from hyperclova.model.directory import WEIGHTS
from hyperclova.tokenizer import Tokenizer

_SAMPLING_OPTIONS = frozenset(field.name for field in fields(Sampling))


class Engine:
    """Runs a model directory. Safe to use from many threads: their requests run together.

    Implements :class:`hyperclova.inference.protocol.Backend`. The same seed gives the same text
    alone and in a batch; see ``docs/inference.md`` for what that rests on.

    Args:
        directory: a model directory with its tokenizer.
        name: what to call the model; the directory's name if None.
        device, dtype: where and in which precision to run; by default CUDA in bfloat16 where
            there is any, else the CPU in float32.
        rows: the most continuations written at once; more wait their turn.

    Raises:
        UserError: the directory holds no model that can be loaded.
    """

    def __init__(
        self,
        directory: Path | str,
        name: str | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        rows: int = 16,
    ) -> None:
        self.directory = directory = Path(directory)
        runner = Runner(directory, device, dtype)
        self.tokenizer = Tokenizer.load(directory)
        if self.tokenizer.vocabulary_size > runner.config.vocab_size:
            raise UserError(
                f"{directory}: the tokenizer has {self.tokenizer.vocabulary_size} ids, the model "
                f"only {runner.config.vocab_size}: they do not belong together"
            )
        self.model = ModelInformation(
            name=name or directory.resolve().name,
            context_length=runner.config.context_length,
            vocabulary_size=self.tokenizer.vocabulary_size,
            parameters=runner.parameters,
            tokenizer_fingerprint=self.tokenizer.fingerprint,
            created=int((directory / WEIGHTS).stat().st_mtime),
            width=runner.config.width,
            precision=str(runner.dtype).removeprefix("torch."),
        )
        self._encoding = threading.Lock()  # the morpheme analyser is not made for many threads
        self._scheduler = Scheduler(runner, self.tokenizer, rows)
        # Also runs at exit, so that no thread computes while the interpreter is taken down.
        self._close = weakref.finalize(self, self._scheduler.close)

    def close(self) -> None:
        """Cancel what runs and give back memory."""
        self._close()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def running(self) -> int:
        """Continuations being written now."""
        return self._scheduler.running

    @overload
    def generate(self, requests: str, **options: Any) -> Completion: ...
    @overload
    def generate(self, requests: Sequence[Request]) -> list[Completion]: ...
    def generate(
        self, requests: str | Sequence[Request], **options: Any
    ) -> Completion | list[Completion]:
        """Continue prompts.

        Args:
            requests: one prompt, with the fields of :class:`Request` and :class:`Sampling` as
                keywords (``max_tokens=100, temperature=0.7, seed=1``), or a batch of requests.

        Returns:
            One completion for a prompt, a list in order for a batch.

        Raises:
            UserError: a prompt does not fit into the context, or a value is out of range.
        """
        if isinstance(requests, str):
            return self.generate([_request(requests, options)])[0]
        if options:
            raise TypeError("options belong into the requests of a batch")
        with contextlib.ExitStack() as streams:
            opened = [streams.enter_context(self.stream(request)) for request in requests]
            return [
                gather(stream, request.n) for stream, request in zip(opened, requests, strict=True)
            ]

    def stream(self, prompt: str | Request, **options: Any) -> "ChunkStream":
        """Continue a prompt and give out chunks as they are written.

        The work begins at once; closing the iterator stops it and frees its place.

        Raises:
            UserError: as for :meth:`generate`.
        """
        request = _request(prompt, options) if isinstance(prompt, str) else prompt
        return ChunkStream(lambda chunk, end: self.submit(request, chunk, end))

    def submit(
        self,
        request: Request,
        on_chunk: Callable[[Chunk], None],
        on_end: Callable[[BaseException | None], None],
        *,
        measure_from: int = 0,
    ) -> Job:
        """Continue a prompt and report by calling back, on the engine's thread.

        The callbacks must not block; ``on_end`` is called once, with the error if there was one.
        The returned job's ``cancel()`` stops the work.

        Args:
            measure_from: when a prompt is echoed with log-probabilities, leave them out for the
                tokens before this one, which saves their cost.

        Raises:
            UserError: as for :meth:`generate`.
        """
        check_request(request, self.model)
        prompt = self._ids(request.prompt)
        check_prompt(prompt, request.max_tokens, self.model)
        seed = request.sampling.seed
        job = Job(
            request,
            prompt,
            secrets.randbits(63) if seed is None else seed,
            on_chunk,
            on_end,
            added=0 if request.prompt else 1,
            measure_from=measure_from,
        )
        self._scheduler.submit(job)
        return job

    def score(self, prompt: str, continuation: str) -> Score:
        """How likely ``continuation`` is after ``prompt``.

        Computed as an echoed prompt's log-probabilities are, by the same code. The joined text
        is tokenised as a whole if a token begins where the continuation does, so the numbers
        are those of an echo of the joined text; else the two are tokenised apart, so that no
        token of the continuation holds a part of the prompt. After an empty prompt, the
        continuation is scored as the beginning of a document.

        Raises:
            UserError: the two together do not fit into the context.
        """
        ids, begin = self._joined(prompt, continuation)
        request = Request(ids, max_tokens=0, echo=True, logprobs=1)
        tokens: list[TokenResult] = []
        with ChunkStream(
            lambda chunk, end: self.submit(request, chunk, end, measure_from=begin)
        ) as stream:
            for chunk in stream:
                tokens += chunk.tokens
        scored = [_scored(token) for token in tokens[begin:]]
        return Score(
            ids[begin:],
            tuple(logprob for logprob, _ in scored),
            all(logprob >= best for logprob, best in scored),
        )

    def _ids(self, prompt: str | tuple[int, ...]) -> tuple[int, ...]:
        if isinstance(prompt, str):
            with self._encoding:
                prompt = tuple(self.tokenizer.encode(prompt))
        # Nothing can be predicted from nothing: a document begins after an end-of-text token.
        return tuple(prompt) or (self.tokenizer.end_of_text_id,)

    def _joined(self, prompt: str, continuation: str) -> tuple[tuple[int, ...], int]:
        """Token ids of both, and where the continuation's begin."""
        with self._encoding:
            encoding = self.tokenizer.encode_with_offsets(prompt + continuation)
        starts = [start for start, _ in encoding.offsets]
        if prompt and len(prompt) in starts:
            begin = starts.index(len(prompt))
            if begin and encoding.offsets[begin - 1][1] == len(prompt):
                return tuple(encoding.ids), begin
        before = self._ids(prompt)
        with self._encoding:
            after = tuple(self.tokenizer.encode(continuation))
        return before + after, len(before)


class ChunkStream(Iterator[Chunk]):
    """Chunks of one request. ``close()``, leaving ``with`` or dropping it stops the work."""

    def __init__(
        self,
        start: Callable[[Callable[[Chunk], None], Callable[[BaseException | None], None]], Job],
    ) -> None:
        self._events: queue.SimpleQueue[Chunk | _End] = queue.SimpleQueue()
        events = self._events
        self._done = False
        self._job = start(events.put, lambda error: events.put(_End(error)))

    def __next__(self) -> Chunk:
        if self._done:
            raise StopIteration
        event = self._events.get()
        if isinstance(event, Chunk):
            return event
        self._done = True
        if event.error is not None:
            raise event.error
        raise StopIteration

    def close(self) -> None:
        """Stop the work and free its place; harmless at the end."""
        self._done = True
        self._job.cancel()

    def __enter__(self) -> "ChunkStream":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_job"):  # not if the request was refused
            self._job.cancel()


def _scored(token: TokenResult) -> tuple[float, float]:
    """A token's log-probability and that of the most likely one."""
    best = token.top[0].logprob
    assert token.logprob is not None and best is not None  # only a prompt's first token has none
    return token.logprob, best


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def _request(prompt: str, options: dict[str, Any]) -> Request:
    sampling = {name: options[name] for name in options if name in _SAMPLING_OPTIONS}
    others = {name: options[name] for name in options if name not in _SAMPLING_OPTIONS}
    if isinstance(others.get("stop"), str):
        others["stop"] = (others["stop"],)
    elif "stop" in others:
        others["stop"] = tuple(others["stop"])
    return Request(prompt, sampling=Sampling(**sampling), **others)
