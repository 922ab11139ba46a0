"""Markdown pages, one a file: the text as it is, without what readers never see."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, time
from pathlib import PurePosixPath
from typing import Any

from hyperclova.corpus.documents import Document
from hyperclova.corpus.readers import pages
from hyperclova.corpus.readers.quarantine import Reject
from hyperclova.corpus.readers.records import Records

_FRONT_MATTER = re.compile(
    r"\A\s*^(?P<fence>---|\+\+\+)[ \t]*\n(?P<body>.{0,65536}?)^(?P=fence)[ \t]*(?:\n|\Z)",
    re.M | re.S,
)
# What a line of broken front matter still says.
_FIELD = re.compile(r"^(\w+)[ \t]*[:=][ \t]*(\S.*?)[ \t]*$", re.M)
# Code comes first in every alternation: what looks like a comment or a heading in it is text.
# A span of code ends with its paragraph.
_CODE = (
    r"^[ \t]*(?P<fence>`{3,}|~{3,}).*?(?:^[ \t]*(?P=fence)|\Z)"
    r"|(?<!`)(?P<ticks>`++)(?:(?!\n[ \t]*\n).)+?(?P=ticks)(?!`)"
)
_COMMENT = re.compile(rf"(?P<code>{_CODE})|<!--.*?-->", re.M | re.S)
_MDX_COMMENT = re.compile(rf"(?P<code>{_CODE})|<!--.*?-->|\{{/\*.*?\*/\}}", re.M | re.S)
_MDX_MODULE = re.compile(
    rf"(?P<code>{_CODE})|(?:\A|(?<=\n\n))(?:import|export)[ \t][^\n]*+(?:\n[^\n]++)*+", re.M | re.S
)
_HEADING = re.compile(
    rf"(?P<code>{_CODE})|^[ ]{{0,3}}#[ \t]+(?P<atx>[^\n]++)"
    r"|^(?P<setext>(?=[^\n]*\S)[^\n]++)\n=+[ \t]*$",
    re.M | re.S,
)
# In headings: what closes them, anchors, links, emphasis.
_CLOSING = re.compile(r"(?:^|[ \t]+)#+[ \t]*$|\{[ \t]*#[^}]*\}|<[^>]*>|[*`]")
_LINK = re.compile(r"!?\[([^]]*)\]\([^)]*\)")


def read_markdown(chunks: Iterator[bytes], records: Records, reject: Reject) -> Iterator[Document]:
    """The page as one document, called by its file's name.

    Front matter, YAML between ``---`` or TOML between ``+++``, becomes metadata, its ``title`` the
    title. Without one the first heading of the first level is, and stays in the text. HTML
    comments go, as do comments and module statements of MDX; what stands in code stays.
    """
    page = b""
    try:
        page = pages.whole(chunks)
        text = pages.decode(page).replace("\r\n", "\n")
    except ValueError as error:
        reject(0, str(error), page)
        return
    front, text = _front_matter(text)
    if ".mdx" in PurePosixPath(records.file).suffixes:
        text = _without(_MDX_MODULE, _without(_MDX_COMMENT, text, "-->", "*/}"))
    else:
        text = _without(_COMMENT, text, "-->")
    record = {
        **front,
        "id": records.file,
        "title": str(front.get("title") or "") or _heading(text),
        "text": text,
    }
    yield from pages.page_document(record, records, reject)


def _without(pattern: re.Pattern[str], text: str, *ends: str) -> str:
    """``text`` without what ``pattern`` matches beside code and ends with one of ``ends``."""
    # Nothing ends after the last end: to look for it from every beginning would take a page of
    # beginnings quadratic time.
    last = max((text.rfind(end) + len(end) for end in ends), default=len(text))
    return (pattern.sub(lambda match: match["code"] or "", text[:last]) + text[last:]).strip()


def _heading(text: str) -> str:
    for match in _HEADING.finditer(text):
        heading = match["atx"] or match["setext"]
        if heading:
            return _CLOSING.sub("", _LINK.sub(r"\1", heading)).strip()
    return ""


def _front_matter(text: str) -> tuple[dict[str, Any], str]:
    """The metadata before a page and the page; none if what looks like it isn't."""
    match = _FRONT_MATTER.match(text)
    if match is None:
        return {}, text
    body = match["body"]
    fields = _toml(body) if match["fence"] == "+++" else _yaml(body)
    if fields is None:
        fields = {name: value.strip("\"'") for name, value in _FIELD.findall(body)}
    if not fields and body.strip():  # a text between two lines
        return {}, text
    # An id is unique within a site at best; a source is anything but a kind of ours.
    left_out = ("id", "source", "text", "meta")
    plain = {str(name): _plain(value) for name, value in fields.items() if name not in left_out}
    return plain, text[match.end() :]


def _toml(body: str) -> Mapping[str, Any] | None:
    try:
        return tomllib.loads(body)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None


def _yaml(body: str) -> Mapping[Any, Any] | None:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        # A few aliases of aliases would fill the memory when written out.
        if "*" in body and any(
            isinstance(event, yaml.AliasEvent) for event in yaml.parse(body, loader)
        ):
            return None
        fields = yaml.load(body, loader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _plain(value: Any) -> Any:
    """A value of YAML or TOML as one that JSON has too."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value)
