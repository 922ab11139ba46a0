"""What a reader of a wiki page sees of its text: no markup, templates, tables or footnotes."""

import re
from collections.abc import Iterator
from typing import Any

FILE_AND_CATEGORY = frozenset(("file", "image", "media", "category", "파일", "그림", "분류"))
"""Prefixes, in lower case, of links that show a picture or nothing at all."""

# Templates whose last argument is a part of the sentence.
_TRANSPARENT = frozenset(("lang", "llang", "nowrap", "small", "big", "lang-ko"))
_DROPPED = frozenset(
    (
        *("categorytree", "gallery", "graph", "hiero", "imagemap", "indicator", "inputbox"),
        *("mapframe", "maplink", "noinclude", "ref", "references", "score", "section", "style"),
        *("table", "templatestyles", "timeline"),
    )
)
_BLOCKS = frozenset(("blockquote", "center", "div", "dl", "ol", "p", "poem", "pre", "ul"))
_BULLETS = {"*": "- ", "#": "- ", ":": "", ";": ""}

_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[a-z-]+)?:")
_STYLE = re.compile(r"'{2,5}")
_SWITCH = re.compile(r"__[A-Z가-힣]+__")
_TABLE_REST = re.compile(r"[ \t:]*(?:\{\||\|)")
# What a dropped template leaves of "(世宗, {{...}})" and "({{...}})".
_HOLLOW = re.compile(r"[ \t]*[(（][ \t,;:·/~–—-]*[)）]")
_BEFORE_HOLE = re.compile(r"[ \t]*[,;][ \t]*(?=[)）])")
_AFTER_HOLE = re.compile(r"(?<=[(（])[ \t]*[,;:][ \t]*")
_SPACES = re.compile(r"[ \t\u00a0]+")
_BULLETS_IN_ROW = re.compile(r"(?:- )+(?=- )")
_BLANK_LINES = re.compile(r"\n{3,}")
_HEADING = "\x01"  # no character of XML, so no text has it


def plain_text(wikitext: str, hidden: frozenset[str] = FILE_AND_CATEGORY) -> str:
    """The visible text of ``wikitext``.

    Left out are templates (but those that only set their argument differently), tables, footnotes,
    pictures and their captions, categories, links to other languages, comments, and sections of
    which nothing is left. Formulas stay as TeX between dollar signs, list items begin with ``-``.

    Args:
        hidden: prefixes, in lower case, of links to leave out.

    Raises:
        ValueError: the parser gives up.
    """
    import mwparserfromhell
    from mwparserfromhell.parser import ParserError

    try:
        # Quotes of italics and bold are seldom balanced; they go afterwards.
        code = mwparserfromhell.parse(wikitext, skip_style_tags=True)
    except ParserError as error:
        raise ValueError(f"wikitext can't be parsed: {error}") from None
    return _tidy("".join(_visible(code, hidden)))


def _visible(code: Any, hidden: frozenset[str]) -> Iterator[str]:
    from mwparserfromhell import nodes

    for node in code.nodes:
        if isinstance(node, nodes.Text):
            yield str(node.value)
        elif isinstance(node, nodes.Wikilink):
            yield from _link(node, hidden)
        elif isinstance(node, nodes.HTMLEntity):
            yield _entity(node)
        elif isinstance(node, nodes.Tag):
            yield from _tag(node, hidden)
        elif isinstance(node, nodes.Heading):
            title = "".join(_visible(node.title, hidden)).strip().replace("\n", " ")
            yield f"\n{_HEADING}{node.level}{title}\n"
        elif isinstance(node, nodes.ExternalLink):
            if node.title is not None:
                yield from _visible(node.title, hidden)
            elif not node.brackets:
                yield str(node.url)
        elif isinstance(node, nodes.Template) and _name(node) in _TRANSPARENT:
            arguments = [item.value for item in node.params if not item.showkey]
            if arguments:
                yield from _visible(arguments[-1], hidden)


def _name(template: Any) -> str:
    return str(template.name).strip().lower()


def _link(link: Any, hidden: frozenset[str]) -> Iterator[str]:
    title = str(link.title).strip()
    prefix, colon, _ = title.partition(":")
    if colon and (prefix.strip().lower() in hidden or _LANGUAGE.match(title)):
        return
    if link.text is not None and str(link.text).strip():
        yield from _visible(link.text, hidden)
    else:
        yield title.removeprefix(":")


def _entity(entity: Any) -> str:
    try:
        character = str(entity.normalize())
    except (ValueError, OverflowError):  # beyond Unicode
        return ""
    return "" if "\ud800" <= character <= "\udfff" or character == _HEADING else character


def _tag(tag: Any, hidden: frozenset[str]) -> Iterator[str]:
    name = str(tag.tag).strip().lower()
    if name in _DROPPED:
        return
    if name in ("br", "hr"):
        yield "\n"
    elif tag.wiki_markup in _BULLETS and not tag.contents:
        yield _BULLETS[tag.wiki_markup]
    elif name in ("math", "chem"):
        yield f"${str(tag.contents).strip()}$"
    elif name == "li":
        yield "\n- "
        yield from _visible(tag.contents, hidden)
    elif tag.contents is not None:
        edge = "\n" if name in _BLOCKS else ""
        yield edge
        yield from _visible(tag.contents, hidden)
        yield edge


def _tidy(text: str) -> str:
    text = _SWITCH.sub("", _STYLE.sub("", text))
    text = _AFTER_HOLE.sub("", _BEFORE_HOLE.sub("", _HOLLOW.sub("", text)))
    kept: list[str] = []  # from the last line to the first
    below = 0  # level of the heading right below what is looked at; 0: there is text
    empty = True
    for line in reversed(text.split("\n")):
        if line.startswith(_HEADING):
            level = int(line[1])
            if empty or (below and below <= level):
                continue
            below, empty = level, False
            kept += ["", line[2:].strip(), ""]
        elif line.strip() in ("", "-") or _TABLE_REST.match(line):
            kept.append("")
        else:
            below, empty = 0, False
            line = _BULLETS_IN_ROW.sub("", _SPACES.sub(" ", line).strip())
            kept.append(line)
    return _BLANK_LINES.sub("\n\n", "\n".join(reversed(kept))).strip()
