"""Documents as the desk and the history keep them: who wrote what, in order."""

from typing import Any

from hyperclova.studio.api.body import Object, kind, mapping
from hyperclova.studio.errors import invalid

AUTHORS = ("human", "model")


def document(body: Object) -> Object:
    """The field ``document``: ``{"segments": [{"author": "human"|"model", "text": str}]}``.

    Raises:
        APIError: 400, naming the segment that is not of this form.
    """
    value = mapping(body, "document")
    if value is None or set(value) != {"segments"} or not isinstance(value["segments"], list):
        raise invalid('document must be {"segments": [{"author": …, "text": …}, …]}', "document")
    return {"segments": [_segment(item, index) for index, item in enumerate(value["segments"])]}


def _segment(item: Any, index: int) -> Object:
    where = f"document.segments[{index}]"
    if not isinstance(item, dict) or set(item) != {"author", "text"}:
        raise invalid(f"{where} must have exactly the fields author and text", "document")
    if item["author"] not in AUTHORS:
        raise invalid(f"{where}.author must be one of {', '.join(AUTHORS)}", "document")
    if not isinstance(item["text"], str):
        raise invalid(f"{where}.text must be a string, not {kind(item['text'])}", "document")
    return item
