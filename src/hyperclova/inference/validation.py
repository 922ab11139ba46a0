"""What may be asked of an engine. No torch: clients check before they send."""

import math
from collections.abc import Sequence

from hyperclova.errors import UserError
from hyperclova.inference.protocol import ModelInformation, Request, Sampling
from hyperclova.inference.soft_prompt import SoftPrompt


def check_request(request: Request, model: ModelInformation) -> None:
    """Check everything about a request that does not depend on its prompt's tokens.

    Raises:
        UserError: a value is out of range; the message names the field.
    """
    if request.max_tokens < 0:
        raise UserError(f"max_tokens is {request.max_tokens}; it must be 0 or more")
    if request.n < 1:
        raise UserError(f"n is {request.n}; it must be 1 or more")
    if request.logprobs is not None and not 0 <= request.logprobs <= model.vocabulary_size:
        raise UserError(
            f"logprobs is {request.logprobs}; it must be from 0 to the vocabulary's "
            f"{model.vocabulary_size}"
        )
    if request.deadline is not None and not request.deadline > 0:
        raise UserError(f"deadline is {request.deadline}; it must be above 0 seconds")
    if not all(request.stop):
        raise UserError("stop holds an empty string; every stop string needs a character")
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


def _check_sampling(sampling: Sampling, model: ModelInformation) -> None:
    if not (math.isfinite(sampling.temperature) and sampling.temperature >= 0):
        raise UserError(f"temperature is {sampling.temperature}; it must be 0 or more")
    if sampling.top_k < 0:
        raise UserError(f"top_k is {sampling.top_k}; it must be 0 (keep all) or more")
    if not 0 < sampling.top_p <= 1:
        raise UserError(f"top_p is {sampling.top_p}; it must be above 0 and at most 1")
    penalty = sampling.repetition_penalty
    if not (math.isfinite(penalty) and penalty > 0):
        raise UserError(f"repetition_penalty is {penalty}; it must be above 0 (1 changes nothing)")
    for name in ("frequency_penalty", "presence_penalty"):
        if not math.isfinite(getattr(sampling, name)):
            raise UserError(f"{name} is {getattr(sampling, name)}; it must be a finite number")
    for token, bias in sampling.logit_bias.items():
        if not 0 <= token < model.vocabulary_size:
            raise UserError(
                f"logit_bias names token id {token}; ids are from 0 to {model.vocabulary_size - 1}"
            )
        if not math.isfinite(bias):
            raise UserError(f"logit_bias of token {token} is {bias}; it must be a finite number")
