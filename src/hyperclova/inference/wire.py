"""The protocol's types as messages between Studio and the engine's process.

A frame is four bytes of length, big end first, and one msgpack map with a ``type``. No torch.
"""

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import msgpack
import numpy as np

from hyperclova.errors import UserError
from hyperclova.inference.protocol import (
    Chunk,
    Floats,
    GradientRequest,
    Gradients,
    ModelInformation,
    Prompt,
    Request,
    Sampling,
    Score,
    Statistics,
    TokenLogprob,
    TokenResult,
)
from hyperclova.inference.soft_prompt import SoftPrompt

HEADER = 4
"""Bytes before each message, which hold its length."""

Message = dict[str, Any]


def pack(message: Message) -> bytes:
    """The frame of one message.

    Raises:
        UserError: a text holds a lone surrogate, or a number does not fit into 64 bits.
    """
    try:
        body: bytes = msgpack.packb(message)
    except UnicodeEncodeError as error:
        raise UserError(
            f"the text has a lone surrogate U+{ord(error.object[error.start]):04X}: it is half of "
            "a character; remove it or decode its source correctly"
        ) from None
    except OverflowError as error:
        raise UserError(f"a number of the request does not fit into 64 bits: {error}") from None
    return len(body).to_bytes(HEADER, "big") + body


def unpack(body: bytes) -> Message:
    """The message in a frame's body."""
    message: Message = msgpack.unpackb(body, strict_map_key=False)
    return message


def length(header: bytes) -> int:
    """The body's length in bytes, from a frame's header."""
    return int.from_bytes(header, "big")


def request_to_plain(request: Request) -> Message:
    plain = _fields(request)
    plain["prompt"] = prompt_to_plain(request.prompt)
    plain["sampling"] = _fields(request.sampling)
    plain["sampling"]["logit_bias"] = dict(request.sampling.logit_bias)
    return plain


def request_from_plain(plain: Message) -> Request:
    return Request(
        **{
            **plain,
            "prompt": prompt_from_plain(plain["prompt"]),
            "sampling": Sampling(**plain["sampling"]),
            "stop": tuple(plain["stop"]),
        }
    )


def prompt_to_plain(prompt: Prompt) -> Any:
    """Text, ids and texts as they are; a soft prompt as a map of its shape and bytes."""
    if isinstance(prompt, str):
        return prompt
    return [
        array_to_plain(piece.table) if isinstance(piece, SoftPrompt) else piece for piece in prompt
    ]


def prompt_from_plain(plain: Any) -> Prompt:
    if isinstance(plain, str):
        return plain
    return tuple(
        SoftPrompt(array_from_plain(piece)) if isinstance(piece, dict) else piece for piece in plain
    )


def array_to_plain(array: Floats) -> Message:
    """A float32 array as its shape and its bytes, little end first."""
    return {"shape": list(array.shape), "data": array.astype("<f4", copy=False).tobytes()}


def array_from_plain(plain: Message) -> Floats:
    return np.frombuffer(plain["data"], dtype="<f4").reshape(plain["shape"]).copy()


def gradient_request_to_plain(request: GradientRequest) -> Message:
    return {**_fields(request), "prompt": prompt_to_plain(request.prompt)}


def gradient_request_from_plain(plain: Message) -> GradientRequest:
    prompt = prompt_from_plain(plain["prompt"])
    assert not isinstance(prompt, str)
    return GradientRequest(
        prompt,
        _target(plain["target"]),
        plain["positions"],
        tuple(_target(choice) for choice in plain["choices"]),
    )


def _target(plain: str | list[int]) -> str | tuple[int, ...]:
    return plain if isinstance(plain, str) else tuple(plain)


def gradients_to_plain(gradients: Gradients) -> Message:
    return {**_fields(gradients), "gradient": array_to_plain(gradients.gradient)}


def gradients_from_plain(plain: Message) -> Gradients:
    return Gradients(plain["loss"], tuple(plain["logprobs"]), array_from_plain(plain["gradient"]))


def _fields(value: Any) -> Message:
    # Not asdict, which would copy tables and maps, however deep.
    return {field.name: getattr(value, field.name) for field in fields(value)}


# Chunks are many and hold many tokens: they travel as lists in the order of their fields.


def chunk_to_plain(chunk: Chunk) -> list[Any]:
    return [
        chunk.choice,
        chunk.text,
        [_token_to_plain(token) for token in chunk.tokens],
        chunk.finish_reason,
        chunk.prompt_tokens,
        chunk.completion_tokens,
    ]


def chunk_from_plain(plain: Sequence[Any]) -> Chunk:
    choice, text, tokens, *rest = plain
    return Chunk(choice, text, tuple(_token_from_plain(token) for token in tokens), *rest)


def _token_to_plain(token: TokenResult) -> list[Any]:
    top = [[rival.id, rival.text, rival.logprob] for rival in token.top]
    return [token.id, token.text, token.logprob, token.offset, top]


def _token_from_plain(plain: Sequence[Any]) -> TokenResult:
    token, text, logprob, offset, top = plain
    return TokenResult(token, text, logprob, offset, tuple(TokenLogprob(*rival) for rival in top))


def score_to_plain(score: Score) -> Message:
    return asdict(score)


def score_from_plain(plain: Message) -> Score:
    return Score(tuple(plain["tokens"]), tuple(plain["logprobs"]), plain["greedy"])


def model_to_plain(model: ModelInformation) -> Message:
    return asdict(model)


def model_from_plain(plain: Message) -> ModelInformation:
    return ModelInformation(**plain)


def statistics_to_plain(statistics: Statistics) -> Message:
    return asdict(statistics)


def statistics_from_plain(plain: Message) -> Statistics:
    return Statistics(**plain)
