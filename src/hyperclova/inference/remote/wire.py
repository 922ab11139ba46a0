"""OpenAI's wire format from the asking side: requests out, chunks and token results in.

Servers that speak it differ in what they add and leave out. What is known of Studio, vLLM and
llama.cpp's server stands here and nowhere else. No torch and no network.
"""

import codecs
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from hyperclova.errors import UserError
from hyperclova.inference.protocol import (
    Chunk,
    FinishReason,
    ModelInformation,
    Request,
    TokenLogprob,
    TokenResult,
)
from hyperclova.inference.token_text import text_bytes, token_text
from hyperclova.tokenizer import Tokenizer

Object = dict[str, Any]
Dialect = Literal["studio", "vllm", "llama.cpp", "other"]

UNKNOWN_SIZE = 2**31 - 1
"""Stands for a context length or a vocabulary that a server does not tell."""
UNKNOWN_TOKEN = -1
"""Stands for a token id that a server does not tell."""

_OWNERS: Mapping[str, Dialect] = {
    "hyperclova": "studio",
    "vllm": "vllm",
    "llamacpp": "llama.cpp",
}
_TOKEN_ID = "token_id:"  # vLLM's form of a token that is named by its id
_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "deadline": "deadline",
    "cancelled": "cancelled",
    "abort": "cancelled",  # vLLM's word
}


@dataclass(frozen=True)
class Served:
    """A model that a server offers."""

    model: ModelInformation
    """What the server tells of it. What it does not is :data:`UNKNOWN_SIZE` for the sizes of
    context and vocabulary, 0 for other numbers, and empty."""
    dialect: Dialect


def served_from_plain(answer: Object) -> list[Served]:
    """The models in an answer of ``GET /v1/models``."""
    return [_served(item) for item in answer.get("data", [])]


def _served(item: Object) -> Served:
    dialect = _OWNERS.get(item.get("owned_by", ""), "other")
    meta = item.get("meta") or {}  # llama.cpp's names; Studio uses them too
    return Served(
        ModelInformation(
            name=item["id"],
            context_length=item.get("max_model_len") or meta.get("n_ctx_train") or UNKNOWN_SIZE,
            vocabulary_size=meta.get("n_vocab") or UNKNOWN_SIZE,
            parameters=meta.get("n_params") or 0,
            tokenizer_fingerprint=meta.get("tokenizer_fingerprint") or "",
            created=item.get("created") or 0,
            width=meta.get("n_embd") or 0,
            precision=meta.get("precision") or "",
        ),
        dialect,
    )


# -- what is sent ----------------------------------------------------------------------------------


def completion_to_plain(
    request: Request, prompt: str | Sequence[int], served: Served, *, has_tokenizer: bool
) -> Object:
    """The body of ``POST /v1/completions`` that streams ``request``.

    Every sampling field is named, also where it changes nothing: vLLM and llama.cpp's server
    have defaults of their own.

    Args:
        prompt: the request's prompt, as text or as ids.
        has_tokenizer: ids of tokens can be turned into text here.

    Raises:
        UserError: the server has no field for what is asked.
    """
    sampling = request.sampling
    body: Object = {
        "model": served.model.name,
        "prompt": prompt if isinstance(prompt, str) else list(prompt),
        "max_tokens": request.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "n": request.n,
        "stream": True,
        "stream_options": {"include_usage": True},
        **_extensions(request, served.dialect),
    }
    if served.dialect in ("studio", "vllm"):
        body["stream_options"]["continuous_usage_stats"] = True
    optional = {
        "stop": list(request.stop),
        "logit_bias": {str(token): bias for token, bias in sampling.logit_bias.items()},
        "echo": request.echo,
        "user": request.client,
    }
    body |= {name: value for name, value in optional.items() if value}
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if request.logprobs is not None:
        body["logprobs"] = request.logprobs
        body |= _ids_wanted(served.dialect, has_tokenizer)
    return body


def _extensions(request: Request, dialect: Dialect) -> Object:
    """The sampling fields that OpenAI does not have, under the server's names."""
    sampling = request.sampling
    if request.heal is not None and dialect != "studio":
        raise UserError("heal is offered by Studio's servers only; leave it out")
    match dialect:
        case "studio":
            heal = {} if request.heal is None else {"heal": request.heal}
            return {
                "top_k": sampling.top_k,
                "repetition_penalty": sampling.repetition_penalty,
                **heal,
            }
        case "vllm":
            return {
                "top_k": sampling.top_k,
                "min_p": 0.0,
                "repetition_penalty": sampling.repetition_penalty,
            }
        case "llama.cpp":
            return {
                "top_k": sampling.top_k,
                "min_p": 0.0,
                "repeat_penalty": sampling.repetition_penalty,
                "repeat_last_n": -1,  # the whole context; the default are 64 tokens
                # Its default order ends with the temperature.
                "samplers": ["penalties", "temperature", "top_k", "top_p"],
            }
        case "other":
            plain: Object = {}
            if sampling.top_k:
                plain["top_k"] = sampling.top_k
            if sampling.repetition_penalty != 1:
                plain["repetition_penalty"] = sampling.repetition_penalty
            return plain


def _ids_wanted(dialect: Dialect, has_tokenizer: bool) -> Object:
    """The fields that make a server name tokens by their ids."""
    if dialect == "studio":
        return {"return_token_ids": True}
    # vLLM's texts of tokens that are not whole UTF-8 are lost; from ids we get their bytes.
    if dialect == "vllm" and has_tokenizer:
        return {"return_tokens_as_token_ids": True}
    return {}


def echo_to_plain(prompt: str | Sequence[int], served: Served, *, has_tokenizer: bool) -> Object:
    """The body of a ``POST /v1/completions`` that writes nothing and measures the prompt."""
    return {
        "model": served.model.name,
        "prompt": prompt if isinstance(prompt, str) else list(prompt),
        "max_tokens": 0,
        "echo": True,
        "logprobs": 1,
        **_ids_wanted(served.dialect, has_tokenizer),
    }


# -- what comes back -------------------------------------------------------------------------------


class Vocabulary:
    """What can be said of tokens that a server names by text or by id.

    Args:
        tokenizer: the model's tokenizer, if there is one here.
    """

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        self._tokenizer = tokenizer

    @cached_property
    def _ids(self) -> Mapping[str, int]:
        tokenizer = self._tokenizer
        if tokenizer is None:
            return {}
        return {token_text(tokenizer, id): id for id in range(tokenizer.vocabulary_size)}

    def token(self, name: str) -> tuple[int, str]:
        """Id and text of a token by the name that it has on the wire."""
        if self._tokenizer is not None and name.startswith(_TOKEN_ID):
            number = name.removeprefix(_TOKEN_ID)
            # A vocabulary that is padded to a round number has ids without a text.
            if number.isdigit() and int(number) < self._tokenizer.vocabulary_size:
                return int(number), token_text(self._tokenizer, int(number))
        return self._ids.get(name, UNKNOWN_TOKEN), name

    def bytes(self, id: int, text: str) -> bytes:
        """The bytes that a token stands for; none for a control token that is known as one."""
        if self._tokenizer is not None and id != UNKNOWN_TOKEN:
            return self._tokenizer.token_bytes(id)
        return text_bytes(text)


class ChoiceReader:
    """Reads the token results of one choice, whose pieces must come in order."""

    def __init__(self, vocabulary: Vocabulary, top: int, *, echo: bool) -> None:
        """
        Args:
            top: how many rivals were asked for.
            echo: the prompt's tokens come first.
        """
        self._vocabulary = vocabulary
        self._top = top
        self._echo = echo
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._decoded = 0
        self._ids: deque[int] = deque()

    def read(self, choice: Object) -> tuple[TokenResult, ...]:
        """The token results in one piece of the choice."""
        if self._echo:
            self._ids.extend(choice.get("prompt_token_ids") or ())
        self._ids.extend(choice.get("token_ids") or ())
        logprobs = choice.get("logprobs")
        if logprobs is None:
            return ()
        if "content" in logprobs:  # the chat form, which llama.cpp's server uses here too
            return tuple(map(self._from_content, logprobs["content"] or ()))
        tops = logprobs.get("top_logprobs") or [None] * len(logprobs["tokens"])
        offsets = logprobs.get("text_offset") or [None] * len(logprobs["tokens"])
        return tuple(
            self._from_lists(*item)
            for item in zip(
                logprobs["tokens"], logprobs["token_logprobs"], tops, offsets, strict=True
            )
        )

    def _from_lists(
        self,
        name: str,
        logprob: float | None,
        rivals: Mapping[str, float] | None,
        offset: int | None,
    ) -> TokenResult:
        id, text = self._vocabulary.token(name)
        if self._ids:
            id = self._ids.popleft()
        counted = self._advance(self._vocabulary.bytes(id, text))
        if offset is None or name.startswith(_TOKEN_ID):  # vLLM then counts the names' letters
            offset = counted
        top = [
            TokenLogprob(*self._vocabulary.token(rival), value)
            for rival, value in (rivals or {}).items()
        ]
        return TokenResult(id, text, logprob, offset, self._best(top))

    def _from_content(self, item: Object) -> TokenResult:
        token = self._named(item)
        offset = self._advance(self._vocabulary.bytes(token.id, token.text))
        top = [self._named(rival) for rival in item.get("top_logprobs") or ()]
        return TokenResult(token.id, token.text, token.logprob, offset, self._best(top))

    def _named(self, item: Object) -> TokenLogprob:
        data = item.get("bytes")
        text = item["token"]
        if data is not None:
            try:
                text = bytes(data).decode("utf-8")
            except UnicodeDecodeError:
                text = "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
        return TokenLogprob(item.get("id", UNKNOWN_TOKEN), text, item["logprob"])

    def _best(self, top: list[TokenLogprob]) -> tuple[TokenLogprob, ...]:
        # The token that stands there is named too, as one more, if it is not among the best.
        ranked = sorted(top, key=lambda token: -(token.logprob or 0.0))
        return tuple(ranked[: self._top])

    def _advance(self, data: bytes) -> int:
        """The place of the character in which a token begins."""
        offset = self._decoded
        self._decoded += len(self._decoder.decode(data))
        return offset


class StreamReader:
    """Turns the events of one streamed answer into chunks."""

    def __init__(self, request: Request, vocabulary: Vocabulary) -> None:
        top = request.logprobs or 0
        self._choices = [ChoiceReader(vocabulary, top, echo=request.echo) for _ in range(request.n)]
        self._reasons: list[FinishReason | None] = [None] * request.n
        self._ended = [False] * request.n
        self._completion_tokens = [0] * request.n
        self._prompt_tokens = 0

    def read(self, event: Object) -> Iterator[Chunk]:
        """The chunks in one event."""
        usage = event.get("usage")
        choices = event.get("choices") or []
        if usage is not None:
            self._prompt_tokens = usage["prompt_tokens"]
        if usage is not None and not choices:
            self._settle(usage["completion_tokens"])
        for choice in choices:
            index = choice.get("index", 0)
            tokens = self._choices[index].read(choice)
            if usage is not None and len(choices) == 1:
                self._completion_tokens[index] = usage["completion_tokens"]
            reason = choice.get("finish_reason")
            if reason is not None:
                self._reasons[index] = _REASONS.get(reason, "stop")
            # Without its number of tokens a choice does not end; that comes with the last event.
            self._ended[index] = reason is not None and usage is not None
            yield self._chunk(index, choice.get("text") or "", tokens)

    def finish(self, otherwise: FinishReason | None = None) -> Iterator[Chunk]:
        """The ends of the choices that have not been told.

        Args:
            otherwise: why the choices ended that the server has not ended itself.

        Raises:
            ValueError: there are such, and ``otherwise`` is None.
        """
        for index, reason in enumerate(self._reasons):
            if reason is None and otherwise is None:
                raise ValueError(f"choice {index} has no end")
            self._reasons[index] = reason or otherwise
            if not self._ended[index]:
                self._ended[index] = True
                yield self._chunk(index, "", ())

    def _chunk(self, index: int, text: str, tokens: tuple[TokenResult, ...]) -> Chunk:
        return Chunk(
            index,
            text,
            tokens,
            self._reasons[index] if self._ended[index] else None,
            self._prompt_tokens,
            self._completion_tokens[index],
        )

    def _settle(self, completion_tokens: int) -> None:
        """Share a sum among the choices where the server tells no more."""
        if completion_tokens != sum(self._completion_tokens):
            self._completion_tokens = [completion_tokens] + [0] * (len(self._choices) - 1)
