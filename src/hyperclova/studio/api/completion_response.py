"""Answers of ``/v1/completions`` in OpenAI's shape, whole or as chunks of a stream."""

import hashlib
import math
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hyperclova.inference.protocol import Chunk, FinishReason, ModelInformation, TokenResult
from hyperclova.studio.api.completion_request import CompletionRequest

_LEAST_LOGPROB = -9999.0  # JSON has no minus infinity


@dataclass
class Written:
    """One continuation as it accumulates from chunks."""

    prompt: tuple[int, ...] = ()
    """Token ids of what it continues."""
    echoed: int = 0
    """How many of its tokens are the prompt's."""
    begun: bool = False
    text: str = ""
    tokens: list[TokenResult] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, chunk: Chunk) -> None:
        self.begun = True
        self.text += chunk.text
        self.tokens.extend(chunk.tokens)
        self.finish_reason = chunk.finish_reason or self.finish_reason
        self.prompt_tokens = max(self.prompt_tokens, chunk.prompt_tokens)
        self.completion_tokens = max(self.completion_tokens, chunk.completion_tokens)

    def token_ids(self, chunk: Chunk) -> dict[str, Any]:
        """vLLM's fields for a chunk that has not been added yet: the ids of the prompt with the
        first one, and of what was written."""
        echoed = max(0, self.echoed - len(self.tokens))
        return {
            "prompt_token_ids": None if self.begun else list(self.prompt),
            "token_ids": [token.id for token in chunk.tokens[echoed:]],
        }

    def mean_logprob(self) -> float:
        """Mean log-probability of the tokens written, the prompt's left out."""
        written = self.tokens[self.echoed :]
        values = [token.logprob for token in written if token.logprob is not None]
        return sum(values) / len(values) if values else -math.inf


class Answer:
    """Gives one request's answer its identity and its JSON."""

    def __init__(self, asked: CompletionRequest, model: ModelInformation) -> None:
        self.asked = asked
        self._head = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": asked.model,
            "system_fingerprint": fingerprint(model),
        }

    def whole(self, written: Sequence[Sequence[Written]]) -> dict[str, Any]:
        """The answer at once; ``written[p]`` are the continuations of prompt ``p``."""
        choices: list[dict[str, Any]] = []
        for continuations in written:
            for continuation in self._best(continuations):
                choice = self._choice(
                    len(choices),
                    continuation.text,
                    continuation.tokens,
                    continuation.finish_reason,
                )
                if self.asked.return_token_ids:
                    ids = [token.id for token in continuation.tokens[continuation.echoed :]]
                    choice |= {"prompt_token_ids": list(continuation.prompt), "token_ids": ids}
                choices.append(choice)
        return {**self._head, "choices": choices, "usage": usage(written)}

    def chunk(self, prompt: int, chunk: Chunk, before: Written) -> dict[str, Any]:
        """One piece of a stream; ``before`` is what has been written of its choice."""
        index = prompt * self.asked.n + chunk.choice
        choice = self._choice(index, chunk.text, chunk.tokens, chunk.finish_reason)
        if self.asked.return_token_ids:
            choice |= before.token_ids(chunk)
        used = None
        if self.asked.usage_in_each:
            used = _usage(chunk.prompt_tokens, chunk.completion_tokens)
        return self._streamed([choice], used)

    def last(self, written: Sequence[Sequence[Written]]) -> dict[str, Any]:
        """The piece of a stream that carries the usage and no choice."""
        return self._streamed([], usage(written))

    def _streamed(self, choices: list[Any], used: dict[str, int] | None) -> dict[str, Any]:
        piece = {**self._head, "choices": choices}
        return {**piece, "usage": used} if self.asked.include_usage else piece

    def _best(self, continuations: Sequence[Written]) -> Sequence[Written]:
        if len(continuations) <= self.asked.n:
            return continuations
        ranked = sorted(continuations, key=Written.mean_logprob, reverse=True)
        return ranked[: self.asked.n]

    def _choice(
        self,
        index: int,
        text: str,
        tokens: Iterable[TokenResult],
        finish_reason: FinishReason | None,
    ) -> dict[str, Any]:
        return {
            "index": index,
            "text": text,
            "logprobs": None if self.asked.logprobs is None else logprobs(tokens),
            "finish_reason": finish_reason,
        }


def logprobs(tokens: Iterable[TokenResult]) -> dict[str, list[Any]]:
    """OpenAI's four parallel lists. ``top_logprobs`` also holds the token that stands there."""
    result: dict[str, list[Any]] = {
        "tokens": [],
        "token_logprobs": [],
        "top_logprobs": [],
        "text_offset": [],
    }
    for token in tokens:
        result["tokens"].append(token.text)
        result["text_offset"].append(token.offset)
        if token.logprob is None:  # nothing stands before the first token of a prompt
            result["token_logprobs"].append(None)
            result["top_logprobs"].append(None)
            continue
        rivals = {rival.text: _number(rival.logprob) for rival in token.top}
        rivals.setdefault(token.text, _number(token.logprob))
        result["token_logprobs"].append(_number(token.logprob))
        result["top_logprobs"].append(rivals)
    return result


def usage(written: Sequence[Sequence[Written]]) -> dict[str, int]:
    """Tokens read and written; a prompt counts once, however many continuations it has."""
    prompt = sum(max(item.prompt_tokens for item in continuations) for continuations in written)
    completion = sum(item.completion_tokens for items in written for item in items)
    return _usage(prompt, completion)


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def fingerprint(model: ModelInformation) -> str:
    """Names what, besides the request, decides the answer: the weights and the tokenizer."""
    parts = (model.name, str(model.created), str(model.parameters), model.tokenizer_fingerprint)
    return f"fp_{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:12]}"


def _number(logprob: float | None) -> float:
    return _LEAST_LOGPROB if logprob is None else max(logprob, _LEAST_LOGPROB)
