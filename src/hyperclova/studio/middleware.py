"""What every answer of Studio has in common: an id, safe headers, a bound on the request body.

These are plain ASGI wrappers, not Starlette's ``BaseHTTPMiddleware``: the latter hides a
client's departure from the routes that must stop generating for it.
"""

import asyncio
import contextlib
import logging
import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hyperclova.studio.errors import APIError, unexpected

logger = logging.getLogger(__name__)

SECURITY_HEADERS = {
    "content-security-policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# After refusing a body we keep reading (and forgetting) it for a while: closing at once would
# reset the connection, and many clients would see a broken pipe instead of our answer.
_DRAIN_BYTES = 32 * 1024 * 1024
_DRAIN_SECONDS = 5.0


class Envelope:
    """Gives every answer its headers, and turns an unforeseen fault into a 500 in our form.

    A client may name its request with ``x-request-id``; otherwise one is made up. The id is in
    ``scope["state"]["request_id"]``, in the answer's headers and in the log line of a fault.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: tuple[str, ...] | None = None) -> None:
        self.app = app
        self.allowed_hosts = allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        identity = given if _GIVEN_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"
        scope.setdefault("state", {})["request_id"] = identity
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = identity
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if not scope["path"].startswith("/static/"):
                    headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            if self._refused(scope):
                error = APIError(
                    403,
                    "the Host header does not name this computer; open Studio by the address "
                    "that it printed, or start it with --host to serve others",
                    code="host_not_allowed",
                )
                await error.response()(scope, receive, send_with_headers)
                return
            await self.app(scope, receive, send_with_headers)
        except ClientDisconnect:
            pass  # in the middle of its own request; nobody waits for an answer
        except Exception:
            logger.exception("request %s: %s %s", identity, scope["method"], scope["path"])
            if started:
                raise  # the server closes the connection, so the client knows it is cut short
            await unexpected().response()(scope, receive, send_with_headers)

    def _refused(self, scope: Scope) -> bool:
        if self.allowed_hosts is None:
            return False
        host = Headers(scope=scope).get("host", "")
        name = host.rpartition(":")[0] if re.search(r":\d*$", host) else host
        return name.lower().strip("[]") not in self.allowed_hosts


class BodyLimit:
    """Answers 413 to a body larger than ``limit`` bytes, without holding it in memory.

    A declared length is believed; a body of undeclared length is counted as it arrives.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared) > self.limit:
            await self._refuse(receive, send)
            return
        seen = 0
        over = False
        started = False

        async def counted() -> Message:
            nonlocal seen, over
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self.limit:
                    over = True
                    raise APIError(413, "the request body is too large")
            return message

        async def send_unless_over(message: Message) -> None:
            nonlocal started
            if over and not started:
                return  # the route's answer to our own exception; ours follows
            started = True
            await send(message)

        try:
            await self.app(scope, counted, send_unless_over)
        except APIError:
            if not over:
                raise
        if over and not started:
            await self._refuse(receive, send)

    async def _refuse(self, receive: Receive, send: Send) -> None:
        response = APIError(
            413,
            f"the request body is larger than {self.limit:,} bytes; "
            "send fewer prompts at once or a shorter one",
            code="request_too_large",
            headers={"connection": "close"},
        ).response()
        await send(
            {
                "type": "http.response.start",
                "status": response.status_code,
                "headers": response.raw_headers,
            }
        )
        await send({"type": "http.response.body", "body": response.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_drain(receive), _DRAIN_SECONDS)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive) -> None:
    dropped = 0
    while dropped < _DRAIN_BYTES:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            return
        dropped += len(message.get("body", b""))
