"""Reading a JSON body, and the small checks that every route's fields need."""

import difflib
import json
import math
from collections.abc import Collection
from typing import Any, NoReturn

from starlette.requests import Request

from hyperclova.studio.errors import APIError, invalid

Object = dict[str, Any]


async def read_object(request: Request) -> Object:
    """The request's body as a JSON object.

    Raises:
        APIError: 415 if it is not declared as JSON (which also keeps other web pages from
            posting here), 400 if it is not UTF-8, not JSON, or not an object.
    """
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared != "application/json":
        raise APIError(
            415,
            f"the body is declared as {declared or 'nothing'}; "
            "send JSON with the header 'content-type: application/json'",
            code="unsupported_media_type",
        )
    return parse_object(await request.body())


def parse_object(body: bytes) -> Object:
    """``body`` as a JSON object; see :func:`read_object` for what is refused."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise APIError(
            400,
            f"the body is not UTF-8: byte {body[error.start]:#04x} at position {error.start}; "
            "encode the JSON as UTF-8",
            code="invalid_encoding",
        ) from None
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise _not_json("it is nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, and integers of thousands of digits
        raise _not_json(str(error)) from None
    if not isinstance(value, dict):
        raise APIError(
            400,
            f"the body is {kind(value)}; send a JSON object such as "
            '{"model": "…", "prompt": "…"}',
            code="invalid_json",
        )
    # JSON can spell half of a surrogate pair, which is no character and cannot be stored.
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise APIError(
                400,
                "the body has an unpaired surrogate (\\ud800 to \\udfff), which is not a "
                "character; remove it",
                code="invalid_encoding",
            ) from None
    return value


def refuse_unknown(body: Object, known: Collection[str]) -> None:
    """Raise for a field that the route does not know, naming the nearest one it does."""
    for name in body:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            remedy = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            raise invalid(f"{name}: no such field; {remedy}", name, "unknown_parameter")


def string(body: Object, name: str, default: str | None = None) -> str | None:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise invalid(f"{name} must be a string, not {kind(value)}", name, "invalid_type")
    return value


def boolean(body: Object, name: str, default: bool = False) -> bool:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise invalid(f"{name} must be true or false, not {kind(value)}", name, "invalid_type")
    return value


def mapping(body: Object, name: str) -> Object | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise invalid(f"{name} must be an object, not {kind(value)}", name, "invalid_type")
    return value


def kind(value: Any) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "an object"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large for a number")
    return number


def _not_json(reason: str) -> APIError:
    return APIError(400, f"the body is not JSON: {reason}", code="invalid_json")
