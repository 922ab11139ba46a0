"""Runs a request's prompts through the engine, side by side, and stops them when nobody waits."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from typing import TypeVar

from starlette.requests import Request as HTTPRequest
from starlette.types import Receive

from hyperclova.inference.protocol import Chunk, Request
from hyperclova.studio.errors import engine_failures
from hyperclova.studio.service import Studio

T = TypeVar("T")

_SIDE_BY_SIDE = 8  # prompts of one request in the engine at once; others' requests fit between


class ClientGone(Exception):  # noqa: N818 -- it is no error; nobody is left to be told of one
    """The client closed its connection before it was answered."""


class Generation:
    """The chunks of all prompts of one request, as ``(prompt, chunk)``, as they are written.

    Holds one of Studio's places until :meth:`close`, which also stops what still runs in the
    engine; it must be called, and may be called twice.
    """

    def __init__(self, studio: Studio, requests: Sequence[Request]) -> None:
        """
        Raises:
            APIError: 429 if too many requests are under way.
        """
        self._studio = studio
        studio.enter()
        self._open = True
        self._chunks = _merged(studio, requests)

    def __aiter__(self) -> "Generation":
        return self

    async def __anext__(self) -> tuple[int, Chunk]:
        with engine_failures():
            return await anext(self._chunks)

    async def close(self) -> None:
        if self._open:
            self._open = False
            try:
                await self._chunks.aclose()
            finally:
                self._studio.leave()


async def _merged(
    studio: Studio, requests: Sequence[Request]
) -> AsyncGenerator[tuple[int, Chunk], None]:
    places = asyncio.Semaphore(_SIDE_BY_SIDE)
    # Bounded, so that a client that reads slowly slows its own generation, not our memory.
    queue: asyncio.Queue[tuple[int, Chunk] | BaseException | None] = asyncio.Queue(maxsize=64)

    async def write(prompt: int, request: Request) -> None:
        async with places, aclosing(studio.engine.stream(request)) as chunks:
            async for chunk in chunks:
                await queue.put((prompt, chunk))

    async def write_all() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for prompt, request in enumerate(requests):
                    group.create_task(write(prompt, request))
        except* Exception as errors:
            await queue.put(errors.exceptions[0])
        else:
            await queue.put(None)

    writing = asyncio.create_task(write_all())
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        writing.cancel()
        # Room for a last word: an engine that dies at this moment must not wait for a reader.
        while not queue.empty():
            queue.get_nowait()
        await asyncio.gather(writing, return_exceptions=True)


async def while_connected(request: HTTPRequest, work: Awaitable[T]) -> T:
    """The result of ``work``, which is cancelled as soon as the client closes its connection.

    Raises:
        ClientGone: it did.
    """
    return await until_gone(request.receive, work)


async def until_gone(receive: Receive, work: Awaitable[T]) -> T:
    """Like :func:`while_connected`, for an ASGI ``receive`` whose body has been read."""
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGone
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
