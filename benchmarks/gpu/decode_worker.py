"""One engine of ``decode.py`` in a process of its own: takes a JSON object, prints a line a batch.

Ids are only asked for where they are compared: ours cost log-probabilities.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch

Ids = list[int]


class Decoder(Protocol):
    def greedy(self, prompts: list[Ids], tokens: int) -> None:
        """Write ``tokens`` after each of some prompts, together."""
        ...

    def ids(self, prompts: list[Ids], tokens: int) -> list[Ids]:
        """What it writes."""
        ...


class Ours:
    def __init__(self, asked: dict[str, Any], decoding: Any) -> None:
        from hyperclova.inference import Engine

        self._engine = Engine(
            Path(asked["model"]),
            device=asked["device"],
            precision="bfloat16" if asked["device"] == "cuda" else "float32",
            rows=max(asked["batches"]),
            cache_bytes=0,
            decoding=decoding,
        )
        self._end = self._engine.tokenizer.end_of_text_id
        self.vocabulary = self._engine.model.vocabulary_size

    def _requests(self, prompts: list[Ids], tokens: int, logprobs: int | None) -> Any:
        from hyperclova.inference.protocol import Request, Sampling

        sampling = Sampling(temperature=0, logit_bias={self._end: -1e4})
        return [
            Request(tuple(prompt), tokens, sampling, logprobs=logprobs, heal=False)
            for prompt in prompts
        ]

    def greedy(self, prompts: list[Ids], tokens: int) -> None:
        for completion in self._engine.generate(self._requests(prompts, tokens, None)):
            assert completion.completion_tokens == tokens

    def ids(self, prompts: list[Ids], tokens: int) -> list[Ids]:
        found = self._engine.generate(self._requests(prompts, tokens, 0))
        return [[token.id for token in completion.choices[0].tokens] for completion in found]

    def device_step(self, batch: int, position: int, runs: int) -> float | None:
        """Seconds of a step by itself, at best; None where steps have no fixed shapes."""
        from hyperclova.inference.pool import SCRATCH

        runner = self._engine._scheduler.runner
        if runner._static is None:
            return None
        chunks = position // 256 + 1
        work = ([1] * batch, [position] * batch, [[SCRATCH] * chunks] * batch)
        # The engine has nothing to do meanwhile, so its thread is not in the way.
        with torch.inference_mode():
            runner._static.states(*work)
            wait(runner.device)
            began = time.perf_counter()
            for _ in range(runs):
                runner._static.states(*work)
            wait(runner.device)
        return (time.perf_counter() - began) / runs


class Transformers:
    def __init__(self, asked: dict[str, Any]) -> None:
        import transformers

        self._device = asked["device"]
        dtype = torch.bfloat16 if self._device == "cuda" else torch.float32
        self._model = transformers.GPT2LMHeadModel.from_pretrained(asked["model"], dtype=dtype)
        self._model.eval().to(self._device)
        # No text ends early: there is no token that ends one.
        self._model.generation_config.eos_token_id = None
        self._model.generation_config.pad_token_id = self._end = self._model.config.eos_token_id

    def _write(self, prompts: list[Ids], tokens: int, **options: Any) -> torch.Tensor:
        rows = torch.tensor(prompts, device=self._device)
        with torch.inference_mode():
            written = self._model.generate(
                rows,
                attention_mask=torch.ones_like(rows),
                max_new_tokens=tokens,
                do_sample=False,
                **options,
            )
        return written[:, rows.shape[1] :]

    def greedy(self, prompts: list[Ids], tokens: int) -> None:
        written = self._write(prompts, tokens)
        assert written.shape == (len(prompts), tokens)
        wait(torch.device(self._device))

    def ids(self, prompts: list[Ids], tokens: int) -> list[Ids]:
        found: list[Ids] = self._write(prompts, tokens, suppress_tokens=[self._end]).tolist()
        return found


class Vllm:
    def __init__(self, asked: dict[str, Any]) -> None:
        import vllm

        self._vllm = vllm
        self._llm = vllm.LLM(
            model=asked["model"],
            skip_tokenizer_init=True,
            dtype="bfloat16",
            enable_prefix_caching=False,
            max_num_seqs=max(asked["batches"]),
            gpu_memory_utilization=0.6,
        )

    def ids(self, prompts: list[Ids], tokens: int) -> list[Ids]:
        sampling = self._vllm.SamplingParams(
            temperature=0, max_tokens=tokens, ignore_eos=True, detokenize=False
        )
        given = [{"prompt_token_ids": prompt} for prompt in prompts]
        found = self._llm.generate(given, sampling, use_tqdm=False)
        return [list(each.outputs[0].token_ids) for each in found]

    def greedy(self, prompts: list[Ids], tokens: int) -> None:
        for row in self.ids(prompts, tokens):
            assert len(row) == tokens


def make(asked: dict[str, Any]) -> Decoder:
    match asked["engine"].split():
        case ["ours", decoding]:
            return Ours(asked, decoding)
        case ["transformers"]:
            return Transformers(asked)
        case ["vllm"]:
            return Vllm(asked)
    raise ValueError(asked["engine"])


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def cells(asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    ends = time.monotonic() + asked["seconds"]
    engine = make(asked)
    tokens, length = asked["tokens"], asked["prompt_tokens"]
    generator = torch.Generator().manual_seed(0)

    def prompts(batch: int) -> list[Ids]:
        found: list[Ids] = torch.randint(1, 8000, (batch, length), generator=generator).tolist()
        return found

    compared = engine.ids(prompts(4), min(32, tokens))
    for batch in asked["batches"]:
        engine.greedy(prompts(batch), tokens)  # warm up, and record
        if time.monotonic() > ends:
            return
        whole, first = [], []
        for _ in range(asked["repeats"]):
            for seconds, count in ((whole, tokens), (first, 1)):
                asked_for = prompts(batch)
                began = time.perf_counter()
                engine.greedy(asked_for, count)
                seconds.append(time.perf_counter() - began)
        cell = {
            "batch": batch,
            "tokens_per_second": batch * tokens / min(whole),
            "step_seconds": (min(whole) - min(first)) / (tokens - 1),
            "seconds": whole,
            "first_token_seconds": first,
            "ids": compared,
        }
        if isinstance(engine, Ours):
            cell["device_step_seconds"] = engine.device_step(batch, length + tokens // 2, 20)
        yield cell
        if time.monotonic() > ends:
            return


@contextlib.contextmanager
def answers() -> Iterator[Any]:
    """What is to be said to the parent; whatever else a library prints goes to stderr."""
    with os.fdopen(os.dup(1), "w", buffering=1) as file:
        os.dup2(2, 1)
        yield file


if __name__ == "__main__":
    with answers() as file:
        for cell in cells(json.loads(sys.argv[1])):
            file.write(json.dumps(cell) + "\n")
