"""Counting tokens, in the form of vLLM's ``/tokenize``."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from hyperclova.studio.api import body as fields
from hyperclova.studio.errors import invalid
from hyperclova.studio.service import Studio, studio_of

router = APIRouter(tags=["Tokens"])


@router.post("/tokenize")
async def tokenize(
    request: Request, studio: Annotated[Studio, Depends(studio_of)]
) -> dict[str, Any]:
    """``{model?, prompt}`` → ``{count, max_model_len, tokens}``.

    ``add_special_tokens`` is accepted for vLLM's clients and changes nothing: this tokenizer
    adds none.
    """
    body = await fields.read_object(request)
    fields.refuse_unknown(body, ("model", "prompt", "add_special_tokens"))
    studio.require_name(fields.string(body, "model"))
    fields.boolean(body, "add_special_tokens")
    prompt = fields.string(body, "prompt")
    if prompt is None:
        raise invalid("prompt is missing; send the text to count", "prompt", "missing_parameter")
    context = studio.require_ready().context_length
    tokens = await studio.tokenization.encode(prompt)
    return {"count": len(tokens), "max_model_len": context, "tokens": tokens}
