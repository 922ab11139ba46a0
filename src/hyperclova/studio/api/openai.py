"""OpenAI's wire format: ``/v1/models`` and ``/v1/completions``."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from hyperclova.inference.protocol import Chunk
from hyperclova.studio.api.body import read_object
from hyperclova.studio.api.completion_request import CompletionRequest, check_length
from hyperclova.studio.api.completion_response import Answer, Written
from hyperclova.studio.api.event_stream import DONE, EventStream, event
from hyperclova.studio.errors import APIError
from hyperclova.studio.generation import ClientGone, Generation, while_connected
from hyperclova.studio.service import Studio, studio_of
from hyperclova.studio.settings import Served

router = APIRouter(prefix="/v1", tags=["OpenAI"])

InStudio = Annotated[Studio, Depends(studio_of)]


@router.get("/models")
async def list_models(studio: InStudio) -> dict[str, Any]:
    """The one model that this Studio serves."""
    return {"object": "list", "data": [_model(studio)]}


@router.get("/models/{model}")
async def get_model(model: str, studio: InStudio) -> dict[str, Any]:
    """What there is to know about a model."""
    studio.require_name(model)
    return _model(studio)


@router.post("/completions")
async def create_completion(request: Request, studio: InStudio) -> Response:
    """Continue prompts. Fields, answers and errors are OpenAI's; see ``docs/studio-api.md``."""
    asked = CompletionRequest.parse(await read_object(request))
    studio.require_name(asked.model)
    model = studio.require_ready()
    try:
        prompts = await while_connected(
            request, _token_ids(studio, asked, context=model.context_length)
        )
        asked.check_tokens(prompts, model.vocabulary_size, model.context_length)
        generation = Generation(studio, [asked.for_engine(prompt) for prompt in asked.prompts])
        answer = Answer(asked, model)
        written = [
            [Written(ids, len(ids) if asked.echo else 0) for _ in range(asked.best_of)]
            for ids in prompts
        ]
        if not asked.stream:
            try:
                await while_connected(request, _collect(generation, written))
            finally:
                await generation.close()
            return _json(answer.whole(written))
        try:
            # The first piece is awaited here, so that what fails before it has a status code.
            first = await while_connected(request, anext(generation))
        except BaseException:
            await generation.close()
            raise
        return EventStream(_events(answer, first, generation, written), generation.close)
    except ClientGone:
        return Response(status_code=499)  # nobody reads it; the log of a proxy may


async def _token_ids(
    studio: Studio, asked: CompletionRequest, context: int
) -> list[tuple[int, ...]]:
    tokenization = studio.tokenization
    prompts: list[tuple[int, ...]] = []
    for index, prompt in enumerate(asked.prompts):
        if isinstance(prompt, str):
            where = "prompt" if len(asked.prompts) == 1 else f"prompt[{index}]"
            # A book needs no exact count to be refused, and encoding it would take seconds.
            check_length(tokenization.at_least(prompt), 0, context, where, least="at least ")
            prompts.append(tuple(await tokenization.encode(prompt)))
        else:
            prompts.append(prompt)
    return prompts


async def _collect(generation: Generation, written: list[list[Written]]) -> None:
    async for prompt, chunk in generation:
        written[prompt][chunk.choice].add(chunk)


async def _events(
    answer: Answer,
    first: tuple[int, Chunk],
    generation: Generation,
    written: list[list[Written]],
) -> AsyncGenerator[bytes, None]:
    try:
        prompt, chunk = first
        yield _piece(answer, prompt, chunk, written)
        async for prompt, chunk in generation:
            yield _piece(answer, prompt, chunk, written)
    except APIError as error:
        # No [DONE]: the answer is not whole.
        yield event(error.body)
        return
    if answer.asked.include_usage:
        yield event(answer.last(written))
    yield DONE


def _piece(answer: Answer, prompt: int, chunk: Chunk, written: list[list[Written]]) -> bytes:
    continuation = written[prompt][chunk.choice]
    piece = event(answer.chunk(prompt, chunk, continuation))
    continuation.add(chunk)
    return piece


def _model(studio: Studio) -> dict[str, Any]:
    loaded = studio.engine.model
    created = loaded.created if loaded is not None else _modified(studio.settings.model)
    described = {
        "id": studio.settings.model_id,
        "object": "model",
        "created": created,
        "owned_by": "hyperclova",
    }
    if loaded is None:
        return described
    return {
        **described,
        "max_model_len": loaded.context_length,  # vLLM's name; those in meta are llama.cpp's
        "meta": {
            "n_vocab": loaded.vocabulary_size,
            "n_ctx_train": loaded.context_length,
            "n_embd": loaded.width,
            "n_params": loaded.parameters,
            "precision": loaded.precision,
            "tokenizer_fingerprint": loaded.tokenizer_fingerprint,
        },
    }


def _modified(model: Path | Served) -> int:
    """When the weights were written, for as long as the engine has not said so itself."""
    if isinstance(model, Served):
        return 0
    weights = model / "model.safetensors"
    return int((weights if weights.is_file() else model).stat().st_mtime)


def _json(data: dict[str, Any]) -> Response:
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(body, media_type="application/json")
