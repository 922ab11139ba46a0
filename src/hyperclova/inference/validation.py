"""What may be asked of an engine. No torch: clients check before they send."""

import math
from collections.abc import Sequence

from hyperclova.errors import UserError
from hyperclova.inference.protocol import ModelInformation, Request, Sampling
from hyperclova.inference.soft_prompt import SoftPrompt

MOST_CHOICES = 4096
"""Continuations of one prompt. Each that waits costs its caller a little memory, and when a request
is stopped all are told in one step."""
MOST_STOPS = 64
LONGEST_STOP = 1024
"""Characters of a stop string. All are looked for after every token."""
MOST_LOGPROBS = 1024
"""Rivals named for each token; they are kept until the text has been taken."""
_LARGEST = 1e30  # of biases and penalties: sums and products of these are finite in float32


def check_request(request: Request, model: ModelInformation) -> None:
    """Check everything about a request that does not depend on its prompt's tokens.

    Raises:
        UserError: a value is out of range; the message names the field.
    """
    if request.max_tokens < 0:
        raise UserError(f"max_tokens is {request.max_tokens}; it must be 0 or more")
    if not 1 <= request.n <= MOST_CHOICES:
        raise UserError(f"n is {request.n}; it must be from 1 to {MOST_CHOICES}")
    most = min(MOST_LOGPROBS, model.vocabulary_size)
    if request.logprobs is not None and not 0 <= request.logprobs <= most:
        raise UserError(f"logprobs is {request.logprobs}; it must be from 0 to {most}")
    if request.deadline is not None and not request.deadline > 0:
        raise UserError(f"deadline is {request.deadline}; it must be above 0 seconds")
    _check_stop(request.stop)
    _check_sampling(request.sampling, model)


def check_pieces(
    pieces: Sequence[str | int | SoftPrompt], vocabulary_size: int, width: int
) -> None:
    """Check the pieces of a prompt.

    Raises:
        UserError: an id is not in the vocabulary, or a soft prompt belongs to another model.
    """
    for piece in pieces:
        if isinstance(piece, SoftPrompt):
            if piece.width != width:
                raise UserError(
                    f"prompt holds a soft prompt of width {piece.width}; the model's embeddings "
                    f"have width {width}: use one trained for this model"
                )
        elif not isinstance(piece, str):
            check_id("prompt", piece, vocabulary_size)


def check_id(field: str, token: int, vocabulary_size: int) -> None:
    """Check a token id.

    Raises:
        UserError: it is not in the vocabulary.
    """
    if not 0 <= token < vocabulary_size:
        raise UserError(f"{field} holds token id {token}; ids are from 0 to {vocabulary_size - 1}")


def check_length(length: int, max_tokens: int, model: ModelInformation) -> None:
    """Check that ``length`` positions fit into the context and leave room to go on.

    Raises:
        UserError: they do not.
    """
    # The continuation needs a place for one token at least.
    room = model.context_length - min(max_tokens, 1)
    if length > room:
        what = f"at most {room} fit"
        if max_tokens:
            what += " and leave room for a continuation"
        raise UserError(
            f"prompt has {length} tokens, but the model's context holds "
            f"{model.context_length}: {what}; shorten the prompt"
        )


def _check_stop(stop: Sequence[str]) -> None:
    if len(stop) > MOST_STOPS:
        raise UserError(f"stop holds {len(stop)} strings; at most {MOST_STOPS} are looked for")
    if not all(stop):
        raise UserError("stop holds an empty string; every stop string needs a character")
    longest = max(map(len, stop), default=0)
    if longest > LONGEST_STOP:
        raise UserError(
            f"stop holds a string of {longest} characters; the longest may have {LONGEST_STOP}"
        )


def _check_sampling(sampling: Sampling, model: ModelInformation) -> None:
    if not (math.isfinite(sampling.temperature) and sampling.temperature >= 0):
        raise UserError(f"temperature is {sampling.temperature}; it must be 0 or more")
    if sampling.top_k < 0:
        raise UserError(f"top_k is {sampling.top_k}; it must be 0 (keep all) or more")
    if not 0 < sampling.top_p <= 1:
        raise UserError(f"top_p is {sampling.top_p}; it must be above 0 and at most 1")
    penalty = sampling.repetition_penalty
    if not 1 / _LARGEST <= penalty <= _LARGEST:
        raise UserError(
            f"repetition_penalty is {penalty}; it must be above 0 (1 changes nothing) and at most "
            f"{_LARGEST:g}"
        )
    for name in ("frequency_penalty", "presence_penalty"):
        value = getattr(sampling, name)
        if not -_LARGEST <= value <= _LARGEST:
            raise UserError(f"{name} is {value}; it must be from -{_LARGEST:g} to {_LARGEST:g}")
    for token, bias in sampling.logit_bias.items():
        if not 0 <= token < model.vocabulary_size:
            raise UserError(
                f"logit_bias names token id {token}; ids are from 0 to {model.vocabulary_size - 1}"
            )
        if not -_LARGEST <= bias <= _LARGEST:
            raise UserError(
                f"logit_bias of token {token} is {bias}; it must be from -{_LARGEST:g} to "
                f"{_LARGEST:g}"
            )
