"""Whether the engine can answer, in words that a page can show."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from hyperclova.studio.service import Studio, studio_of

router = APIRouter(prefix="/api", tags=["Studio"])


def describe(studio: Studio) -> dict[str, Any]:
    """``{"state", "message", "model_id", "model"}``; ``model`` is null until it has been loaded
    once, its name is known before."""
    model = studio.engine.model
    return {
        "state": studio.engine.state,
        "message": studio.engine.message or "",
        "model_id": studio.settings.model_id,
        "model": None
        if model is None
        else {
            "id": studio.settings.model_id,
            "context_length": model.context_length,
            "vocabulary_size": model.vocabulary_size,
            "parameters": model.parameters,
        },
    }


@router.get("/status")
async def status(studio: Annotated[Studio, Depends(studio_of)]) -> dict[str, Any]:
    """The engine's state: loading, ready, restarting, failed or stopped."""
    return describe(studio)
