"""The desk: the Playground's draft, kept on the server so that nothing is lost."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool

from hyperclova.studio import parameters
from hyperclova.studio.api import body as fields
from hyperclova.studio.api.documents import document
from hyperclova.studio.errors import invalid
from hyperclova.studio.service import Studio, studio_of

router = APIRouter(prefix="/api", tags=["Studio"])

InStudio = Annotated[Studio, Depends(studio_of)]


async def describe(studio: Studio) -> dict[str, Any]:
    """``{"document", "parameters", "updated_at"}``; a new desk is empty, ``updated_at`` null."""
    desk = await run_in_threadpool(studio.desk.get)
    if desk is None:
        return {"document": {"segments": []}, "parameters": {}, "updated_at": None}
    return desk


@router.get("/desk")
async def get_desk(studio: InStudio) -> dict[str, Any]:
    """The draft as it was last put down."""
    return await describe(studio)


@router.put("/desk")
async def put_desk(request: Request, studio: InStudio) -> dict[str, Any]:
    """Replace the draft: ``{"document", "parameters"}``. The last to write wins."""
    body = await fields.read_object(request)
    fields.refuse_unknown(body, ("document", "parameters", "updated_at"))
    draft, chosen = document(body), _parameters(body)
    return await run_in_threadpool(studio.desk.put, draft, chosen)


def _parameters(body: fields.Object) -> fields.Object:
    chosen = fields.mapping(body, "parameters") or {}
    known = {parameter.name: parameter for parameter in parameters.PARAMETERS}
    for name, value in chosen.items():
        if name not in known:
            raise invalid(
                f"parameters.{name}: no such parameter; known are {', '.join(known)}", "parameters"
            )
        problem = known[name].check(value)
        if problem:
            raise invalid(f"parameters.{name} {problem}", "parameters")
    return chosen
