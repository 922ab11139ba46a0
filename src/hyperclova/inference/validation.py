"""What may be asked of an engine. No torch: clients check before they send."""

import math

from hyperclova.errors import UserError
from hyperclova.inference.protocol import ModelInformation, Request, Sampling


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
    if not all(request.stop):
        raise UserError("stop holds an empty string; every stop string needs a character")
    _check_sampling(request.sampling, model)


def check_prompt(prompt: tuple[int, ...], max_tokens: int, model: ModelInformation) -> None:
    """Check a prompt's tokens.

    Raises:
        UserError: an id is not in the vocabulary, or the prompt does not fit into the context.
    """
    for token in prompt:
        if not 0 <= token < model.vocabulary_size:
            raise UserError(
                f"prompt holds token id {token}; ids are from 0 to {model.vocabulary_size - 1}"
            )
    # The continuation needs a place for one token at least.
    room = model.context_length - min(max_tokens, 1)
    if len(prompt) > room:
        what = f"at most {room} fit"
        if max_tokens:
            what += " and leave room for a continuation"
        raise UserError(
            f"prompt has {len(prompt)} tokens, but the model's context holds "
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
