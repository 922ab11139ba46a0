"""The protocol's types as messages between Studio and the engine's process.

A frame is four bytes of length, big end first, and one msgpack map with a ``type``. No torch.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import msgpack

from hyperclova.errors import UserError
from hyperclova.inference.protocol import (
    Chunk,
    ModelInformation,
    Request,
    Sampling,
    Score,
    TokenLogprob,
    TokenResult,
)

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
    plain = asdict(request)
    plain["sampling"]["logit_bias"] = dict(request.sampling.logit_bias)
    return plain


def request_from_plain(plain: Message) -> Request:
    prompt = plain["prompt"]
    return Request(
        **{
            **plain,
            "prompt": prompt if isinstance(prompt, str) else tuple(prompt),
            "sampling": Sampling(**plain["sampling"]),
            "stop": tuple(plain["stop"]),
        }
    )


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
