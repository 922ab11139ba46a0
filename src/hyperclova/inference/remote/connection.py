"""HTTP to a server: JSON, streams of events, and failures in one line. No torch."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

import httpx

from hyperclova.errors import UserError
from hyperclova.inference.protocol import EngineBusy, EngineDied, EngineError

Object = dict[str, Any]

_CONNECT = 10.0  # seconds until a server that does not take the connection is given up
_KEEP = 2.0  # seconds an idle connection is kept; less than servers do, so that none is half closed
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 8.0  # seconds before asking again, if the server names none
_REST = 1.0  # seconds that a stream may take to end after its last event
_DONE = b"[DONE]"
_SHOWN = 300  # characters of an answer that is quoted


class Connection:
    """Speaks with one server; belongs to one event loop.

    Args:
        url: the server's address, with or without ``/v1``.
        api_key: sent as a bearer token.
        timeout: seconds without a sign of life after which the server is given up.
        patience: seconds that one call may wait for a server that is busy or still loading.

    Raises:
        UserError: ``url`` is no address of a web server.
    """

    def __init__(self, url: str, *, api_key: str | None, timeout: float, patience: float) -> None:
        root = _root(url)
        self.address = str(root.copy_with(username=None, password=None)).rstrip("/")
        """The server, as messages name it: without ``/v1`` and without a password."""
        self._timeout, self._patience = timeout, patience
        self._client = httpx.AsyncClient(
            base_url=root,
            headers={"authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(timeout, connect=min(timeout, _CONNECT)),
            limits=httpx.Limits(max_keepalive_connections=32, keepalive_expiry=_KEEP),
        )

    async def get(self, path: str) -> Object:
        """The JSON object at ``path``.

        Raises:
            UserError: the server refuses the request as it is.
            EngineBusy: it has no place for it.
            EngineDied: it cannot be reached, or went away.
            EngineError: it failed, or what it says cannot be understood.
        """
        return await self._whole("GET", path, None)

    async def post(self, path: str, body: Object) -> Object:
        """The JSON object that answers ``body``; see :meth:`get` for what is raised."""
        return await self._whole("POST", path, body)

    async def events(self, path: str, body: Object) -> AsyncGenerator[Object, None]:
        """The events that answer ``body``, up to ``[DONE]``. Closing it closes the connection.

        Raises:
            UserError, EngineBusy, EngineDied, EngineError: as for :meth:`get`; also
                :class:`EngineDied` if the stream breaks off before its end.
        """
        async with self._answer("POST", path, body) as response:
            kind = response.headers.get("content-type", "")
            if not kind.startswith("text/event-stream"):
                raise EngineError(
                    f"{self.address} answered a request for a stream with {kind or 'no type'}"
                )
            lines = _Lines()
            source = response.aiter_bytes()
            async for data in source:
                for line in lines.push(data):
                    if not line.startswith(b"data:"):
                        continue  # comments that keep the connection alive, names of events
                    payload = line.removeprefix(b"data:").strip()
                    if payload == _DONE:
                        # Read to the end, the connection can be used again.
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(_REST):
                                async for _ in source:
                                    pass
                        return
                    event = self._object(payload)
                    if "error" in event:
                        self._refuse(None, event["error"])
                    yield event
        raise EngineDied(f"{self.address} broke off before the end of the answer")

    async def close(self) -> None:
        await self._client.aclose()

    # -- inside ------------------------------------------------------------------------------------

    async def _whole(self, method: str, path: str, body: Object | None) -> Object:
        async with self._answer(method, path, body) as response:
            return self._object(await response.aread())

    @contextlib.asynccontextmanager
    async def _answer(
        self, method: str, path: str, body: Object | None
    ) -> AsyncIterator[httpx.Response]:
        """An answer of status 200, whose body has not been read."""
        request = self._request(method, path, body)
        with self._explained():
            response = await self._patiently(request)
            try:
                if response.status_code != 200:
                    await response.aread()
                    self._refuse(response, _error_of(response))
                yield response
            finally:
                await response.aclose()

    def _request(self, method: str, path: str, body: Object | None) -> httpx.Request:
        if body is None:
            return self._client.build_request(method, path)
        try:
            content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"the text has a lone surrogate U+{ord(error.object[error.start]):04X}: it is "
                "half of a character; remove it or decode its source correctly"
            ) from None
        except ValueError:
            raise UserError("a number of the request is not finite") from None
        headers = {"content-type": "application/json"}
        return self._client.build_request(method, path, content=content, headers=headers)

    async def _patiently(self, request: httpx.Request) -> httpx.Response:
        """The first answer that is not "busy" or "loading", or the last one there is time for."""
        until = time.monotonic() + self._patience
        delay = _FIRST_DELAY
        while True:
            response = await self._client.send(request, stream=True)
            if response.status_code not in (429, 503):
                return response
            pause = _retry_after(response)
            pause = delay if pause is None else pause
            delay = min(2 * delay, _LONGEST_DELAY)
            if time.monotonic() + pause > until:
                return response
            await response.aclose()
            await asyncio.sleep(pause)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what goes wrong on the way into one line."""
        try:
            yield
        except httpx.ConnectTimeout:
            raise EngineDied(
                f"{self.address} does not take the connection; is the address right?"
            ) from None
        except httpx.ConnectError as error:
            raise EngineDied(
                f"nothing answers at {self.address} ({_cause(error)}); is the server running?"
            ) from None
        except httpx.TimeoutException:
            raise EngineDied(
                f"{self.address} gave no sign of life for {self._timeout:g} seconds"
            ) from None
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            raise EngineDied(
                f"{self.address} broke off before the end of the answer ({_cause(error)})"
            ) from None
        except httpx.HTTPError as error:
            raise EngineError(f"{self.address}: {_cause(error)}") from None

    def _object(self, body: bytes) -> Object:
        try:
            value = json.loads(body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            shown = body[:_SHOWN].decode("utf-8", "replace")
            raise EngineError(f"{self.address} answered with what is no JSON object: {shown!r}")
        return value

    def _refuse(self, response: httpx.Response | None, error: Any) -> NoReturn:
        """Raise what an error of the server means.

        Args:
            response: None if the error is an event of a stream.
            error: in OpenAI's form, or anything else.
        """
        fields = error if isinstance(error, dict) else {"message": error}
        message = " ".join(str(fields.get("message") or "").split())[:_SHOWN] or "no reason given"
        code = fields.get("code")
        status = response.status_code if response is not None else _status_of(fields)
        where = f"{response.url.path}: " if response is not None else ""
        text = f"{self.address}: {where}{status}: {message}"
        match status:
            case 401 | 403:
                raise UserError(f"{text}; is the API key right?")
            case 429:
                pause = _retry_after(response) if response is not None else None
                when = "" if pause is None else f"; it asks to wait for {pause:g} seconds"
                raise EngineBusy(text + when)
            case 502 | 503 | 504:
                raise EngineDied(text)
            case _ if code == "engine_died":
                raise EngineDied(text)
            case _ if 400 <= status < 500:
                raise UserError(text)
        raise EngineError(text)


class _Lines:
    """Lines of a stream of bytes. Line ends are LF or CRLF and no others, unlike in text."""

    def __init__(self) -> None:
        self._rest = b""

    def push(self, data: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines


def _root(url: str) -> httpx.URL:
    try:
        root = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise UserError(f"{url!r} is no address: {error}") from None
    if root.scheme not in ("http", "https") or not root.host:
        raise UserError(f"{url!r} is no address of a server; write http://HOST:PORT")
    path = root.path.rstrip("/").removesuffix("/v1")
    return root.copy_with(path=f"{path}/", query=None, fragment=None)


def _error_of(response: httpx.Response) -> Any:
    """What a body says of an error: OpenAI's form, FastAPI's, vLLM's older one, or its text."""
    try:
        body = response.json()
    except ValueError:
        return response.text if len(response.text) <= _SHOWN else response.reason_phrase
    if isinstance(body, dict):
        return body.get("error") or body.get("detail") or body
    return str(body)


def _status_of(error: Object) -> int:
    """The status that an error would have had, had it come before the stream."""
    code = error.get("code")
    if isinstance(code, int) and 400 <= code < 600:  # vLLM and llama.cpp's server
        return code
    kinds = {"invalid_request_error": 400, "rate_limit_error": 429}
    return kinds.get(str(error.get("type")), 500)


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds that the server asks to wait for: ``retry-after`` is a number or a date."""
    value = response.headers.get("retry-after", "")
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except ValueError:
        return None


def _cause(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
