"""The engine in this process: text in, text out."""

import contextlib
import secrets
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch

from hyperclova.errors import UserError
from hyperclova.inference.answers import answers
from hyperclova.inference.chunk_stream import ChunkStream
from hyperclova.inference.gather import Gatherer
from hyperclova.inference.generation import Generation
from hyperclova.inference.gradients import Differentiator
from hyperclova.inference.jobs import Job
from hyperclova.inference.prompt import Symbols
from hyperclova.inference.prompt_encoder import PromptEncoder
from hyperclova.inference.protocol import (
    Chunk,
    Completion,
    Decoding,
    Floats,
    GradientRequest,
    Gradients,
    ModelInformation,
    Pooling,
    Precision,
    Prompt,
    Request,
    Sampling,
    Score,
    Statistics,
)
from hyperclova.inference.questions import Embedding, Scoring
from hyperclova.inference.runner import Runner
from hyperclova.inference.scheduler import Scheduler
from hyperclova.inference.validation import check_length, check_request
from hyperclova.model.directory import WEIGHTS, load_config
from hyperclova.tokenizer import Tokenizer

_AHEAD = 64  # pieces of one call that wait at once, so that what it asks for never runs dry
_SAMPLING_OPTIONS = frozenset(field.name for field in fields(Sampling))


class Engine:
    """Runs a model directory. Safe to use from many threads: their requests run together.

    Implements :class:`hyperclova.inference.protocol.Backend`. The same seed gives the same text
    alone and in a batch; see ``docs/inference.md`` for what that rests on.

    Args:
        directory: a model directory with its tokenizer.
        name: what to call the model; the directory's name if None.
        device, precision: where and how to compute; by default CUDA in bfloat16 where there is
            any, else the CPU in float32.
        rows: the most continuations written and prompts read at once; more wait their turn.
        waiting: the most requests that may wait; more are refused.
        cache_bytes: memory for keys and values of prompts that may come again; 0 keeps none.
        decoding: how tokens are written; by default as is best for the device.

    Raises:
        UserError: the directory holds no model that can be loaded, or the device cannot compute
            in that precision or decode in that way.
    """

    def __init__(
        self,
        directory: Path | str,
        name: str | None = None,
        *,
        device: torch.device | str | None = None,
        precision: Precision | None = None,
        rows: int = 16,
        waiting: int = 4096,
        cache_bytes: int = 1 << 30,
        decoding: Decoding | None = None,
    ) -> None:
        self.directory = directory = Path(directory)
        config = load_config(directory)
        self.tokenizer = Tokenizer.load(directory)
        if self.tokenizer.vocabulary_size > config.vocab_size:
            raise UserError(
                f"{directory}: the tokenizer has {self.tokenizer.vocabulary_size} ids, the model "
                f"only {config.vocab_size}: they do not belong together"
            )
        self._scheduler = Scheduler(
            lambda: Runner(
                directory,
                device,
                precision,
                decoding=decoding,
                rows=rows,
                cache_bytes=cache_bytes,
            ),
            self.tokenizer,
            rows,
            waiting,
            cache_bytes,
        )
        # Also runs at exit, so that no thread computes while the interpreter is taken down.
        self._close = weakref.finalize(self, self._scheduler.close)
        runner = self._scheduler.runner
        self.model = ModelInformation(
            name=name or directory.resolve().name,
            context_length=config.context_length,
            vocabulary_size=self.tokenizer.vocabulary_size,
            parameters=runner.parameters,
            tokenizer_fingerprint=self.tokenizer.fingerprint,
            created=int((directory / WEIGHTS).stat().st_mtime),
            width=config.width,
            precision=runner.precision,
        )
        # However long a call's list is, it leaves half of the places to wait to others.
        self._at_once = max(1, min(rows + _AHEAD, waiting // 2))
        encoding = threading.Lock()  # the morpheme analyser is not made for many threads
        self._prompts = PromptEncoder(self.tokenizer, self.model, encoding)
        self._differentiator = Differentiator(
            directory, self.tokenizer, device=runner.device, encoding=encoding
        )

    def close(self) -> None:
        """Cancel what runs and give back memory."""
        self._close()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def statistics(self) -> Statistics:
        """What the engine is doing at this moment."""
        return self._scheduler.statistics()

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
        return answers(self._completing(requests), self._scheduler, self._at_once)

    def stream(self, prompt: str | Request, **options: Any) -> ChunkStream:
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
    ) -> Job:
        """Continue a prompt and report by calling back, on the engine's thread.

        The callbacks must not block; ``on_end`` is called once, with the error if there was one.
        The returned job's ``cancel()`` stops the work.

        Raises:
            UserError: as for :meth:`generate`.
            EngineBusy: too many requests are waiting.
        """
        check_request(request, self.model)
        job = self._generation(request, on_chunk, on_end)
        self._scheduler.submit(job)
        return job

    def score(self, prompt: Prompt, continuation: str) -> Score:
        """How likely ``continuation`` is after ``prompt``.

        The joined text is tokenised as a whole if a token begins where the continuation does, so
        the numbers are those of an echo of the joined text; else the two are tokenised apart, so
        that no token of the continuation holds a part of the prompt. After an empty prompt, the
        continuation is scored as the beginning of a document.

        Raises:
            UserError: the two together do not fit into the context.
            EngineBusy: too many requests are waiting.
        """
        return self.score_choices(prompt, [continuation])[0]

    def score_choices(
        self,
        prompt: Prompt,
        continuations: Sequence[str],
        *,
        given_up: "Future[None] | None" = None,
    ) -> list[Score]:
        """How likely each of several continuations is after the same prompt.

        Each score is the one that :meth:`score` gives; the prompt is read once, and the
        continuations go on from it in one pass.

        Args:
            given_up: its end, from another thread, ends the call and its work.

        Raises:
            UserError: the prompt and a continuation do not fit into the context.
            EngineBusy: too many requests are waiting.
            CancelledError: the call was given up.
        """
        # A tokenizer that looks at whole words may give a prompt other ids before another
        # continuation; there are as many prompts to be read as there are ways to begin.
        groups: dict[tuple[object, ...], tuple[Symbols, list[int], list[tuple[int, ...]]]] = {}
        for index, continuation in enumerate(continuations):
            with _named("continuations", index, len(continuations)):
                symbols, tokens = self._prompts.joined(prompt, continuation)
                check_length(len(symbols) + len(tokens), 0, self.model)
            _, places, endings = groups.setdefault(symbols.sequence, (symbols, [], []))
            places.append(index)
            endings.append(tokens)
        scores: list[Score | None] = [None] * len(continuations)
        scorings = [
            Scoring(symbols, endings, self.model.vocabulary_size)
            for symbols, _, endings in groups.values()
        ]
        work = [(scoring, scoring.answer) for scoring in scorings]
        answered = answers(work, self._scheduler, self._at_once, given_up)
        for (_, places, _), found in zip(groups.values(), answered, strict=True):
            for place, score in zip(places, found, strict=True):
                scores[place] = score
        return [score for score in scores if score is not None]

    def embed(
        self,
        prompts: Sequence[Prompt],
        pooling: Pooling = "mean",
        *,
        given_up: "Future[None] | None" = None,
    ) -> Floats:
        """The states behind the last layer's norm ``(prompts, width)``.

        Args:
            pooling: the mean over all positions, or the last one's state.
            given_up: its end, from another thread, ends the call and its work.

        Raises:
            UserError: a prompt does not fit into the context.
            EngineBusy: too many requests are waiting.
            CancelledError: the call was given up.
        """
        work = self._embedding(prompts, pooling)
        found = answers(work, self._scheduler, self._at_once, given_up)
        return np.stack(found) if found else np.empty((0, self.model.width), dtype=np.float32)

    def input_gradients(self, requests: Sequence[GradientRequest]) -> list[Gradients]:
        """Losses and their gradients with respect to input embeddings, in order.

        Computed beside what the engine writes.

        Raises:
            UserError: a request does not fit into the context or into memory, or is malformed.
        """
        # On a thread that ends with it, and with it its threads of OpenMP; see the scheduler.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(self._differentiator.gradients, requests).result()

    def _generation(
        self,
        request: Request,
        on_chunk: Callable[[Chunk], None],
        on_end: Callable[[BaseException | None], None],
    ) -> Generation:
        prompt = self._prompts.symbols(request.prompt)
        check_length(len(prompt), request.max_tokens, self.model)
        healed = self._prompts.healed(request)
        seed = request.sampling.seed
        return Generation(
            request,
            healed[0] if healed else prompt,
            secrets.randbits(63) if seed is None else seed,
            self.model.vocabulary_size,
            on_chunk,
            on_end,
            prompt_tokens=len(prompt) - prompt.added,
            remainder=healed[1] if healed else b"",
        )

    def _completing(
        self, requests: Sequence[Request]
    ) -> Iterator[tuple[Generation, "Future[Completion]"]]:
        for number, request in enumerate(requests):
            with _named("requests", number, len(requests)):
                check_request(request, self.model)
                completing = _Completing(request.n)
                job = self._generation(request, completing.gatherer.add, completing.end)
            yield job, completing.answer

    def _embedding(
        self, prompts: Sequence[Prompt], pooling: Pooling
    ) -> Iterator[tuple[Embedding, "Future[Floats]"]]:
        for number, prompt in enumerate(prompts):
            with _named("prompts", number, len(prompts)):
                symbols = self._prompts.symbols(prompt)
                check_length(len(symbols), 0, self.model)
            embedding = Embedding(symbols, pooling)
            yield embedding, embedding.answer


class _Completing:
    """Gathers what is written for one request into its answer."""

    def __init__(self, n: int) -> None:
        self.gatherer = Gatherer(n)
        self.answer: Future[Completion] = Future()

    def end(self, error: BaseException | None) -> None:
        if error is None:
            self.answer.set_result(self.gatherer.completion())
        else:
            self.answer.set_exception(error)


@contextlib.contextmanager
def _named(name: str, number: int, count: int) -> Iterator[None]:
    """Say which one of several was refused."""
    try:
        yield
    except UserError as error:
        if count == 1:
            raise
        raise UserError(f"{name}[{number}]: {error}") from None


def _request(prompt: str, options: dict[str, Any]) -> Request:
    sampling = {name: options[name] for name in options if name in _SAMPLING_OPTIONS}
    others = {name: options[name] for name in options if name not in _SAMPLING_OPTIONS}
    if isinstance(others.get("stop"), str):
        others["stop"] = (others["stop"],)
    elif "stop" in others:
        others["stop"] = tuple(others["stop"])
    return Request(prompt, sampling=Sampling(**sampling), **others)
