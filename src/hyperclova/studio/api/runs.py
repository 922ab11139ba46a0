"""The history of generations."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from hyperclova.studio.api import body as fields
from hyperclova.studio.api.documents import document
from hyperclova.studio.errors import APIError, invalid
from hyperclova.studio.service import Studio, studio_of
from hyperclova.studio.store.runs import Run

router = APIRouter(prefix="/api/runs", tags=["Studio"])

InStudio = Annotated[Studio, Depends(studio_of)]

PAGE = 20
PAGE_LIMIT = 100
_FIELDS = ("model", "request", "document", "output", "finish_reason", "usage")
_FINISH_REASONS = (None, "stop", "length", "cancelled")


@router.get("")
async def list_runs(
    studio: InStudio, limit: int = PAGE, before: str | None = None, query: str = ""
) -> dict[str, Any]:
    """Runs, newest first: ``{"runs", "next"}``; give ``next`` as ``before`` for the next page.

    ``query`` keeps the runs whose document or output contains it.
    """
    if not 1 <= limit <= PAGE_LIMIT:
        raise invalid(f"limit must be from 1 to {PAGE_LIMIT}, not {limit}", "limit")
    cursor = None if not before else _cursor(before)
    found, following = await run_in_threadpool(studio.runs.page, limit, cursor, query.strip())
    return {"runs": found, "next": None if following is None else str(following)}


@router.post("", status_code=201)
async def add_run(request: Request, studio: InStudio) -> dict[str, Any]:
    """Write down a run. Once this has answered, the run survives whatever happens to Studio."""
    body = await fields.read_object(request)
    fields.refuse_unknown(body, _FIELDS)
    asked = fields.mapping(body, "request")
    if asked is None:
        raise invalid("request must be the body sent to /v1/completions", "request")
    reason = fields.string(body, "finish_reason")
    if reason not in _FINISH_REASONS:
        raise invalid("finish_reason must be stop, length, cancelled or null", "finish_reason")
    run = Run(
        model=fields.string(body, "model") or studio.settings.model_id,
        request=asked,
        document=document(body),
        output=fields.string(body, "output") or "",
        finish_reason=reason,
        usage=fields.mapping(body, "usage"),
    )
    return await run_in_threadpool(studio.runs.add, run)


@router.get("/{identity}")
async def get_run(identity: str, studio: InStudio) -> dict[str, Any]:
    """One run."""
    run = await run_in_threadpool(studio.runs.get, identity)
    if run is None:
        raise _no_run(identity)
    return run


@router.delete("/{identity}", status_code=204)
async def delete_run(identity: str, studio: InStudio) -> Response:
    """Forget one run."""
    if not await run_in_threadpool(studio.runs.remove, identity):
        raise _no_run(identity)
    return Response(status_code=204)


def _cursor(before: str) -> int:
    if not (before.isascii() and before.isdigit() and len(before) < 19):
        raise invalid("before must be the next of an earlier page", "before")
    return int(before)


def _no_run(identity: str) -> APIError:
    return APIError(
        404, f"there is no run {identity}; see GET /api/runs", param="id", code="run_not_found"
    )
