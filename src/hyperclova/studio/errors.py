"""Every failure leaves Studio in OpenAI's form: ``{"error": {message, type, param, code}}``.

All four keys are always there. ``message`` names the field and the remedy; ``code`` is stable
and meant for programs.
"""

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from hyperclova.errors import UserError
from hyperclova.inference.protocol import EngineBusy, EngineDied, EngineError

logger = logging.getLogger(__name__)

RETRY = {"retry-after": "1"}
"""Headers of an answer that will be another one in a moment."""


class APIError(Exception):
    """A request that cannot be answered as asked; becomes one JSON error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """The JSON body, also sent as the last event of a stream that breaks."""
        return {
            "error": {
                "message": self.message,
                "type": _type_of(self.status),
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self) -> Response:
        return Response(
            json.dumps(self.body, ensure_ascii=False).encode(),
            status_code=self.status,
            headers=self.headers,
            media_type="application/json",
        )


def invalid(message: str, param: str | None, code: str = "invalid_value") -> APIError:
    """A 400 about one field of the request; ``message`` starts with the field's name."""
    return APIError(400, message, param=param, code=code)


def unexpected() -> APIError:
    """What a caller is told about a fault of ours; the log has the rest."""
    return APIError(
        500,
        "Studio failed to answer this request; its log names the cause under the request id "
        "in the x-request-id header",
        code="internal_error",
    )


@contextlib.contextmanager
def engine_failures() -> Iterator[None]:
    """Turn what an engine raises into an :class:`APIError`."""
    try:
        yield
    except EngineDied as death:
        raise APIError(
            500,
            f"the engine stopped while it was writing ({death}); it is being started again, "
            "send the request once more",
            code="engine_died",
        ) from death
    except EngineBusy as error:
        raise APIError(429, str(error), code="rate_limit_exceeded", headers=RETRY) from error
    except EngineError as error:
        raise APIError(500, f"the engine failed: {error}", code="engine_error") from error
    except UserError as error:
        raise APIError(400, str(error), code="invalid_value") from error


def install(app: FastAPI) -> None:
    """Make ``app`` answer every failure, its own and Starlette's, in OpenAI's form."""

    def api_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, APIError)
        return error.response()

    def user_error(request: Request, error: Exception) -> Response:
        return APIError(400, str(error), code="invalid_value").response()

    def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _from_http(request, error).response()

    def parameter_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        name = str(first["loc"][-1])
        return invalid(f"{name}: {first['msg']}", name).response()

    app.add_exception_handler(APIError, api_error)
    app.add_exception_handler(UserError, user_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, parameter_error)


def _from_http(request: Request, error: HTTPException) -> APIError:
    path = request.url.path
    if error.status_code == 404:
        return APIError(
            404,
            f"there is nothing at {request.method} {path}; completions are at POST /v1/completions",
            code="unknown_url",
        )
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return APIError(
            405,
            f"{path} does not answer {request.method}; use {allowed or 'another method'}",
            code="method_not_supported",
            headers=error.headers,
        )
    return APIError(error.status_code, str(error.detail), headers=error.headers)


def _type_of(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"
