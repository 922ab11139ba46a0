"""A request to ``/v1/completions``: every field of OpenAI's, checked, some of vLLM's, and ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hyperclova.inference.protocol import Request, Sampling
from hyperclova.studio.api import body as fields
from hyperclova.studio.errors import APIError, invalid
from hyperclova.studio.parameters import BY_NAME, LOGIT_BIAS_LIMIT

Prompt = str | tuple[int, ...]

PROMPT_LIMIT = 1024
"""Prompts in one request."""

_DIGITS = 19  # of a token id, more than any has; Python does not read numbers of thousands
_FLAGS = ("echo", "heal", "return_token_ids", "stream")
_OTHERS = ("model", "prompt", "logit_bias", "stream_options", "suffix", "user")
_KNOWN = frozenset((*BY_NAME, *_FLAGS, *_OTHERS))


@dataclass(frozen=True)
class CompletionRequest:
    """What a client asks for. An empty prompt stands for the beginning of a document."""

    model: str
    prompts: tuple[Prompt, ...]
    max_tokens: int
    sampling: Sampling
    stop: tuple[str, ...]
    n: int
    best_of: int
    logprobs: int | None
    echo: bool
    stream: bool
    include_usage: bool
    usage_in_each: bool
    """Each piece of a stream says how much has been read and written so far."""
    return_token_ids: bool
    heal: bool | None
    """Let the continuation finish a word that the prompt leaves open; None: where it helps."""
    user: str | None

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> "CompletionRequest":
        """Check a JSON object against OpenAI's rules; null means "not given", as there.

        Raises:
            APIError: 400, naming the field and what it may be.
        """
        body = dict(body)
        fields.refuse_unknown(body, _KNOWN)
        model = fields.string(body, "model")
        if not model:
            raise invalid(
                "model is missing; name one of GET /v1/models", "model", "missing_parameter"
            )
        values = {name: _value(body, name) for name in BY_NAME}
        n = int(values["n"])
        best_of = n if values["best_of"] is None else int(values["best_of"])
        stream = fields.boolean(body, "stream")
        if best_of < n:
            raise invalid(f"best_of must be at least n, which is {n}, not {best_of}", "best_of")
        if stream and best_of > n:
            raise invalid(
                "best_of greater than n cannot be streamed, as the best is known only at the end; "
                "leave out stream or best_of",
                "best_of",
            )
        if fields.string(body, "suffix"):
            raise invalid(
                "suffix is not supported: this model only writes onwards; leave it out",
                "suffix",
                "unsupported_parameter",
            )
        include_usage, usage_in_each = _stream_options(body, stream)
        return cls(
            model=model,
            prompts=_prompts(body.get("prompt")),
            max_tokens=int(values["max_tokens"]),
            sampling=Sampling(
                temperature=float(values["temperature"]),
                top_k=int(values["top_k"]),
                # OpenAI allows 0, which leaves the most likely token, as any tiny number does.
                top_p=max(float(values["top_p"]), 1e-9),
                repetition_penalty=float(values["repetition_penalty"]),
                frequency_penalty=float(values["frequency_penalty"]),
                presence_penalty=float(values["presence_penalty"]),
                logit_bias=_logit_bias(fields.mapping(body, "logit_bias")),
                seed=values["seed"],
            ),
            stop=tuple(values["stop"] or ()),
            n=n,
            best_of=best_of,
            logprobs=values["logprobs"],
            echo=fields.boolean(body, "echo"),
            stream=stream,
            include_usage=include_usage,
            usage_in_each=usage_in_each,
            return_token_ids=fields.boolean(body, "return_token_ids"),
            heal=None if body.get("heal") is None else fields.boolean(body, "heal"),
            user=fields.string(body, "user"),
        )

    def for_engine(self, prompt: Prompt) -> Request:
        """The engine's request for one prompt of this one."""
        logprobs = self.logprobs
        if logprobs is None and (self.best_of > self.n or self.return_token_ids):
            # The best is chosen by the log-probabilities of what was written, and tokens are
            # told with theirs or not at all.
            logprobs = 0
        return Request(
            prompt=prompt,
            max_tokens=self.max_tokens,
            sampling=self.sampling,
            stop=self.stop,
            n=self.best_of,
            logprobs=logprobs,
            echo=self.echo,
            heal=self.heal,
            client=self.user or "",
        )

    def check_tokens(self, prompts: list[tuple[int, ...]], vocabulary: int, context: int) -> None:
        """Refuse token ids that the model does not have, and what does not fit its context."""
        for index, ids in enumerate(prompts):
            where = "prompt" if len(prompts) == 1 else f"prompt[{index}]"
            if max(ids, default=0) >= vocabulary:
                raise invalid(
                    f"{where}: token {max(ids)} is not in the vocabulary; "
                    f"ids run from 0 to {vocabulary - 1}",
                    "prompt",
                )
            # Before an empty prompt the engine puts the token that begins a document.
            check_length(max(1, len(ids)), self.max_tokens, context, where)
        for token in self.sampling.logit_bias:
            if token >= vocabulary:
                raise invalid(
                    f"logit_bias: token {token} is not in the vocabulary; "
                    f"ids run from 0 to {vocabulary - 1}",
                    "logit_bias",
                )


def check_length(tokens: int, max_tokens: int, context: int, where: str, least: str = "") -> None:
    """Refuse a prompt that, with what shall be written, is longer than the model's context."""
    if tokens > context:
        message = (
            f"{where}: the prompt has {least}{tokens} tokens and this model's context is "
            f"{context} tokens; shorten the prompt"
        )
    elif tokens + max_tokens > context:
        message = (
            f"{where}: the prompt has {tokens} tokens and max_tokens is {max_tokens}, together "
            f"{tokens + max_tokens}, but this model's context is {context} tokens; "
            f"shorten the prompt or set max_tokens to at most {context - tokens}"
        )
    else:
        return
    raise APIError(400, message, param="prompt", code="context_length_exceeded")


def _value(body: fields.Object, name: str) -> Any:
    """A numeric or list parameter, checked against its definition; its default if not given."""
    parameter = BY_NAME[name]
    value = body.get(name)
    if value is None:
        return parameter.wire_default
    if name == "stop" and isinstance(value, str):
        value = [value]
    if isinstance(value, float) and parameter.kind == "integer" and value.is_integer():
        value = int(value)  # JavaScript and jq write whole numbers as 16.0
    problem = parameter.check(value)
    if problem:
        shown = value if isinstance(value, int | float) else fields.kind(value)
        suffix = "" if name == "stop" and isinstance(value, list) else f", not {shown}"
        raise invalid(f"{name} {problem}{suffix}", name)
    return value


def _prompts(value: Any) -> tuple[Prompt, ...]:
    if value is None:
        return ("",)
    if isinstance(value, str):
        return (value,)
    forms = "a string, a list of strings, a list of token ids or a list of such lists"
    if not isinstance(value, list):
        raise invalid(f"prompt must be {forms}, not {fields.kind(value)}", "prompt", "invalid_type")
    if not value:
        raise invalid(f"prompt is an empty list; send {forms}", "prompt")
    if all(_is_id(item) for item in value):
        return (tuple(value),)
    if len(value) > PROMPT_LIMIT:
        raise invalid(
            f"prompt has {len(value)} prompts; send at most {PROMPT_LIMIT} in one request", "prompt"
        )
    if all(isinstance(item, str) for item in value):
        return tuple(value)
    if all(isinstance(item, list) and item and all(map(_is_id, item)) for item in value):
        return tuple(tuple(item) for item in value)
    raise invalid(
        f"prompt must be {forms}; the list mixes these, holds an empty list or a token id "
        "that is not a whole number of at least 0",
        "prompt",
        "invalid_type",
    )


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _logit_bias(value: fields.Object | None) -> dict[int, float]:
    biases = {}
    for token, bias in (value or {}).items():
        if not (token.isascii() and token.isdigit() and len(token) <= _DIGITS):
            raise invalid(
                f"logit_bias: {token[: 2 * _DIGITS]!r} is not a token id; "
                "keys are ids from POST /tokenize",
                "logit_bias",
            )
        number = isinstance(bias, int | float) and not isinstance(bias, bool)
        if not number or not -LOGIT_BIAS_LIMIT <= bias <= LOGIT_BIAS_LIMIT:
            raise invalid(
                f"logit_bias: the bias of token {token} must be a number from "
                f"{-LOGIT_BIAS_LIMIT:.0f} to {LOGIT_BIAS_LIMIT:.0f}",
                "logit_bias",
            )
        biases[int(token)] = float(bias)
    return biases


_STREAM_OPTIONS = ("include_usage", "continuous_usage_stats")


def _stream_options(body: fields.Object, stream: bool) -> tuple[bool, bool]:
    """Whether a stream ends with the usage, and whether each of its pieces has it (vLLM)."""
    options = fields.mapping(body, "stream_options")
    if options is None:
        return False, False
    if not stream:
        raise invalid(
            "stream_options is only allowed with stream: true; leave it out", "stream_options"
        )
    for name in options:
        if name not in (*_STREAM_OPTIONS, "include_obfuscation"):
            raise invalid(
                f"stream_options: no such field {name}; known are {', '.join(_STREAM_OPTIONS)}",
                "stream_options",
                "unknown_parameter",
            )
    try:
        if fields.boolean(options, "include_obfuscation"):
            raise invalid(
                "stream_options.include_obfuscation is not supported; leave it out",
                "stream_options",
                "unsupported_parameter",
            )
        include, each = (fields.boolean(options, name) for name in _STREAM_OPTIONS)
    except APIError as error:
        raise invalid(
            f"stream_options.{error.message.removeprefix('stream_options.')}",
            "stream_options",
            error.code or "invalid_value",
        ) from None
    return include, include and each  # as vLLM: the second without the first is nothing
