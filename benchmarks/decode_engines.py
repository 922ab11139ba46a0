"""The engines of ``decode.py``, each in a process of its own, spoken to in lines of JSON.

Every engine answers the same three questions: which ids it writes greedily (``greedy``), how long
one prompt takes (``alone``), and how long many requests take that arrive over time (``serve``).
Prompts are token ids. Each is used as its makers mean it to be used for many requests:

* ``ours``: requests are submitted as they arrive and join what is running.
* ``transformers``, ``ctranslate2``: batches. Whenever it is free, what has arrived by then, up to
  so many at once, is one batch, which lasts until its longest member has finished. (CTranslate2
  reads prompts of a batch together up to the shortest one's length and the rest token by token.)
* ``llamacpp``: sequences join and leave between steps, as in its server; that loop is here, as its
  Python package has none. Prompts are read whole, in a step of their own with what is running.
"""

import contextlib
import ctypes
import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Ids = list[int]
CONTEXT = 640  # tokens that a request may have, prompt and answer, in engines that reserve room


@dataclass(frozen=True)
class Asked:
    """A request of a workload."""

    arrival: float
    """Seconds after the workload has begun."""
    prompt: Ids
    tokens: int
    """To write."""


class Decoder(Protocol):
    """An engine as this benchmark sees it."""

    def open(self, places: int) -> None:
        """Be ready to run so many requests at once."""
        ...

    def greedy(self, prompts: Sequence[Ids], tokens: int) -> list[Ids]:
        """What follows each prompt; the prompts are given one by one."""
        ...

    def serve(self, work: Sequence[Asked], places: int) -> list[float]:
        """When each request was finished, in seconds after the beginning."""
        ...


class Ours:
    def __init__(self, model: Path, precision: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._model, self._precision = model, precision
        self._engine: Any = None

    def open(self, places: int) -> None:
        from hyperclova.inference import Engine

        if self._engine is not None:
            self._engine.close()
        self._engine = Engine(self._model, device="cpu", precision=self._precision, rows=places)

    def _request(self, prompt: Ids, tokens: int, logprobs: int | None = None) -> Any:
        from hyperclova.inference.protocol import Request, Sampling

        # No text ends early, in no engine.
        sampling = Sampling(temperature=0, logit_bias={self._engine.tokenizer.end_of_text_id: -1e4})
        return Request(tuple(prompt), tokens, sampling, logprobs=logprobs, heal=False)

    def greedy(self, prompts: Sequence[Ids], tokens: int) -> list[Ids]:
        # Written ids are only known with log-probabilities, which cost a little: not for timing.
        requests = [self._request(prompt, tokens, 0) for prompt in prompts]
        return [
            [token.id for token in completion.choices[0].tokens]
            for request in requests
            for completion in self._engine.generate([request])
        ]

    def alone(self, prompt: Ids, tokens: int) -> None:
        (completion,) = self._engine.generate([self._request(prompt, tokens)])
        assert completion.completion_tokens == tokens

    def serve(self, work: Sequence[Asked], places: int) -> list[float]:
        finished = [0.0] * len(work)
        failures: list[BaseException] = []
        left = threading.Semaphore(0)
        began = time.perf_counter()

        def end(index: int) -> Callable[[BaseException | None], None]:
            def note(error: BaseException | None) -> None:
                finished[index] = time.perf_counter() - began
                if error is not None:
                    failures.append(error)
                left.release()

            return note

        for index, asked in enumerate(work):
            _wait_until(began + asked.arrival)
            self._engine.submit(
                self._request(asked.prompt, asked.tokens), lambda chunk: None, end(index)
            )
        for _ in work:
            left.acquire()
        if failures:
            raise failures[0]
        return finished


class Batches:
    """Engines that run one batch to its end."""

    def open(self, places: int) -> None:
        pass

    def batch(self, prompts: Sequence[Ids], tokens: Sequence[int]) -> list[Ids]:
        raise NotImplementedError

    def greedy(self, prompts: Sequence[Ids], tokens: int) -> list[Ids]:
        return [self.batch([prompt], [tokens])[0] for prompt in prompts]

    def alone(self, prompt: Ids, tokens: int) -> None:
        assert len(self.batch([prompt], [tokens])[0]) == tokens

    def serve(self, work: Sequence[Asked], places: int) -> list[float]:
        waiting = deque(work)
        finished: list[float] = []
        began = time.perf_counter()
        while waiting:
            _wait_until(began + waiting[0].arrival)
            now = time.perf_counter() - began
            batch = []
            while waiting and len(batch) < places and waiting[0].arrival <= now:
                batch.append(waiting.popleft())
            self.batch([asked.prompt for asked in batch], [asked.tokens for asked in batch])
            finished += [time.perf_counter() - began] * len(batch)
        return finished


class Transformers(Batches):
    def __init__(self, model: Path, threads: int) -> None:
        import torch
        import transformers

        torch.set_num_threads(threads)
        self._torch = torch
        self._model = transformers.GPT2LMHeadModel.from_pretrained(model, dtype=torch.float32)
        self._model.eval()
        self._end = self._model.config.eos_token_id
        # No text ends early: there is no token that ends one.
        self._model.generation_config.eos_token_id = None
        self._model.generation_config.pad_token_id = self._end

    def batch(self, prompts: Sequence[Ids], tokens: Sequence[int], **options: Any) -> list[Ids]:
        longest = max(map(len, prompts))
        rows = [[self._end] * (longest - len(prompt)) + prompt for prompt in prompts]
        mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        with self._torch.inference_mode():
            written = self._model.generate(
                self._torch.tensor(rows),
                attention_mask=self._torch.tensor(mask),
                max_new_tokens=max(tokens),
                do_sample=False,
                **options,
            )
        ids = written[:, longest:].tolist()
        return [row[:wanted] for row, wanted in zip(ids, tokens, strict=True)]

    def greedy(self, prompts: Sequence[Ids], tokens: int) -> list[Ids]:
        # Suppressing is not free: not for timing.
        return [
            self.batch([prompt], [tokens], suppress_tokens=[self._end])[0] for prompt in prompts
        ]


class CTranslate2(Batches):
    """A request leaves its batch at its own length: its callback says so, which makes the rest of
    the batch smaller."""

    def __init__(self, model: Path, threads: int) -> None:
        import ctranslate2

        self._generator = ctranslate2.Generator(
            str(model), device="cpu", inter_threads=1, intra_threads=threads, compute_type="int8"
        )
        self._names = json.loads((model / "vocabulary.json").read_text(encoding="utf-8"))

    def batch(self, prompts: Sequence[Ids], tokens: Sequence[int]) -> list[Ids]:
        options: dict[str, Any] = {}
        if len(set(tokens)) > 1:
            written = [0] * len(prompts)

            def enough(step: Any) -> bool:
                written[step.batch_id] += 1
                return written[step.batch_id] >= tokens[step.batch_id]

            options["callback"] = enough
        results = self._generator.generate_batch(
            [[self._names[token] for token in prompt] for prompt in prompts],
            max_length=max(tokens),
            min_length=max(tokens),
            sampling_topk=1,
            include_prompt_in_result=False,
            **options,
        )
        ids = [result.sequences_ids[0] for result in results]
        assert [len(row) for row in ids] == list(tokens), [len(row) for row in ids]
        return ids


class LlamaCpp:
    def __init__(self, model: Path, threads: int) -> None:
        import llama_cpp
        import numpy as np

        self._llama, self._numpy, self._threads = llama_cpp, np, threads
        quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
        self._quiet = quiet  # must live as long as the library may call it
        llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self._model = llama_cpp.llama_model_load_from_file(
            str(model).encode(), llama_cpp.llama_model_default_params()
        )
        assert self._model, f"{model} cannot be loaded"
        self._vocabulary = llama_cpp.llama_vocab_n_tokens(
            llama_cpp.llama_model_get_vocab(self._model)
        )
        self._context: Any = None
        self._batch: Any = None

    def open(self, places: int) -> None:
        llama = self._llama
        if self._context is not None:
            llama.llama_free(self._context)
            llama.llama_batch_free(self._batch)
        options = llama.llama_context_default_params()
        options.n_ctx, options.n_seq_max = CONTEXT * places, places
        options.n_batch = options.n_ubatch = 1024
        options.n_threads = options.n_threads_batch = self._threads
        self._context = llama.llama_init_from_model(self._model, options)
        assert self._context, f"no context for {places} sequences"
        self._batch = llama.llama_batch_init(1024, 0, 1)
        self._room = 1024

    def greedy(self, prompts: Sequence[Ids], tokens: int) -> list[Ids]:
        return [self._run([Asked(0, prompt, tokens)], 1)[0][0] for prompt in prompts]

    def alone(self, prompt: Ids, tokens: int) -> None:
        self._run([Asked(0, prompt, tokens)], 1)

    def serve(self, work: Sequence[Asked], places: int) -> list[float]:
        return self._run(work, places)[1]

    def _run(self, work: Sequence[Asked], places: int) -> tuple[list[Ids], list[float]]:
        llama = self._llama
        waiting = deque(enumerate(work))
        written: list[Ids] = [[] for _ in work]
        finished = [0.0] * len(work)
        free = list(range(places))
        running: dict[int, int] = {}  # sequence -> request
        memory = llama.llama_get_memory(self._context)
        llama.llama_memory_clear(memory, True)
        began = time.perf_counter()
        while waiting or running:
            if not running:
                _wait_until(began + waiting[0][1].arrival)
            now = time.perf_counter() - began
            self._batch.n_tokens = 0
            rows: list[tuple[int, int]] = []  # place in the batch, sequence
            for sequence, index in running.items():
                position = len(work[index].prompt) + len(written[index]) - 1
                rows.append((self._put(written[index][-1], position, sequence, True), sequence))
            while waiting and free and waiting[0][1].arrival <= now:
                index, asked = waiting[0]
                if self._batch.n_tokens + len(asked.prompt) > self._room:
                    break
                waiting.popleft()
                sequence = free.pop()
                running[sequence] = index
                for position, token in enumerate(asked.prompt):
                    last = position == len(asked.prompt) - 1
                    place = self._put(token, position, sequence, last)
                rows.append((place, sequence))
            status = llama.llama_decode(self._context, self._batch)
            assert status == 0, f"llama_decode: {status}"
            for place, sequence in rows:
                logits = self._numpy.ctypeslib.as_array(
                    llama.llama_get_logits_ith(self._context, place), (self._vocabulary,)
                )
                index = running[sequence]
                written[index].append(int(logits.argmax()))
                if len(written[index]) == work[index].tokens:
                    finished[index] = time.perf_counter() - began
                    llama.llama_memory_seq_rm(memory, sequence, -1, -1)
                    del running[sequence]
                    free.append(sequence)
        return written, finished

    def _put(self, token: int, position: int, sequence: int, wanted: bool) -> int:
        """Add a token to the batch; ``wanted``: the logits after it."""
        batch, place = self._batch, self._batch.n_tokens
        batch.token[place], batch.pos[place] = token, position
        batch.n_seq_id[place], batch.seq_id[place][0] = 1, sequence
        batch.logits[place] = wanted
        batch.n_tokens += 1
        return place


def make(name: str, model: Path, threads: int) -> Any:
    """The engine called so."""
    match name:
        case "ours float32" | "ours bfloat16" | "ours int8":
            return Ours(model, name.split()[1], threads)
        case "transformers float32":
            return Transformers(model, threads)
        case "CTranslate2 int8":
            return CTranslate2(model, threads)
        case "llama.cpp Q8_0":
            return LlamaCpp(model, threads)
    raise ValueError(name)


def answer(engine: Any, question: dict[str, Any]) -> Any:
    match question["ask"]:
        case "open":
            return engine.open(question["places"])
        case "greedy":
            return engine.greedy(question["prompts"], question["tokens"])
        case "alone":
            began = time.perf_counter()
            engine.alone(question["prompt"], question["tokens"])
            return time.perf_counter() - began
        case "serve":
            work = [Asked(*asked) for asked in question["work"]]
            return engine.serve(work, question["places"])
    raise ValueError(question["ask"])


def _wait_until(moment: float) -> None:
    while (left := moment - time.perf_counter()) > 0:
        time.sleep(left)


@contextlib.contextmanager
def _answers() -> Iterator[Any]:
    """What is to be said to the parent; whatever else a library prints goes to stderr."""
    with os.fdopen(os.dup(1), "w", buffering=1) as answers:
        os.dup2(2, 1)
        yield answers


def main() -> None:
    name, model, threads = sys.argv[1:]
    with _answers() as answers:
        engine = make(name, Path(model), int(threads))
        answers.write("{}\n")
        for line in sys.stdin:
            answers.write(json.dumps({"answer": answer(engine, json.loads(line))}) + "\n")


if __name__ == "__main__":
    main()
