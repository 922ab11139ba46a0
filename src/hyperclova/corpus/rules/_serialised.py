"""Undoing the wrappings of text that was data in another format."""

import html
import re
from collections.abc import Callable, Sequence
from typing import Any

import orjson

_ENTITY = re.compile(r"&(?:[A-Za-z][A-Za-z0-9]{1,30}|#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6});")
# Fenced blocks (closed or not), then spans of code within a line, then <code> and <pre>.
_CODE = re.compile(
    r"^[ \t]*(?P<fence>```+|~~~+)[^\n]*\n.*?(?:^[ \t]*(?P=fence)[^\n]*$|\Z)"
    r"|(?P<ticks>`+)[^\n]*?(?P=ticks)"
    r"|<(?P<tag>code|pre)\b[^>]*>.*?</(?P=tag)>",
    re.MULTILINE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"(?P<pair>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|(?P<code>\\u[0-9a-fA-F]{4})|(?P<end>(?:\\r)?\\n)|(?P<sign>\\[rt\"'/\\])"
)
_SIGNS = {"r": "\n", "t": "\t"}
# Formulas, scores and paths are full of backslashes that mean something else.
_NOT_ESCAPES = re.compile(
    r"\\(?:frac|begin|end|left|right|math|text|sum|int|times|cdot|sqrt|alpha|beta|nabla|nu|neq"
    r"|rho|tau|theta|displaystyle|operatorname|new|relative|in|to|le|ge)\b|\b[A-Za-z]:\\|\\\\[A-Za-z]"
)
# A line end within prose comes right after a sentence, not after a space or an opening bracket,
# as where a text talks about "\n".
_AFTER_TEXT = re.compile(r"(?<=[^\s(\[{<'`,:=+\\])(?:\\r)?\\n|(?<=\\n)(?:\\r)?\\n")
_LIST_NUMBER = re.compile(r"^([ \t]*\d{1,4}(?:의\d{1,3})?)\\(?=[.)])", re.MULTILINE)


def unwrap(text: str, keys: Sequence[str]) -> str:
    """The text inside JSON or a CSV field; ``text`` itself if it is neither.

    Args:
        keys: keys that may hold the text, the first that is there is taken.
    """
    start = text.lstrip()[:1]
    if start in ("{", "["):
        found = _from_json(text, keys)
        return text if found is None or len(found) >= len(text) else found
    if start == '"':
        return _from_csv(text)
    return text


def unescape(text: str, escapes: int, characters: int) -> str:
    """``text`` without literal escapes, character references and escaped list numbers.

    Args:
        escapes: fewest literal escapes that are undone.
        characters: characters for each of them, at most.
    """
    if "\\" in text:
        if _is_escaped(text, escapes, characters):
            text = _outside_code(text, lambda prose: _ESCAPE.sub(_unescaped, prose))
        if "\\." in text or "\\)" in text:
            text = _LIST_NUMBER.sub(r"\1", text)
    if "&" in text and _ENTITY.search(text):
        text = _outside_code(text, lambda prose: _ENTITY.sub(_character, prose))
    return text


def _from_json(text: str, keys: Sequence[str]) -> str | None:
    lines = [line for line in text.split("\n") if line.strip()]
    if all(line.strip().startswith("{") and line.strip().endswith("}") for line in lines):
        records = [_loads(line) for line in lines]
    else:
        whole = _loads(text)
        if isinstance(whole, dict) and isinstance(whole.get("cells"), list):
            return _from_notebook(whole["cells"])
        records = whole if isinstance(whole, list) else [whole]
    texts = [_value(record, keys) for record in records]
    if not texts or any(part is None for part in texts):
        return None
    return "\n".join(part for part in texts if part is not None)


def _loads(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return None


def _value(record: Any, keys: Sequence[str]) -> str | None:
    if isinstance(record, dict):
        for key in keys:
            value = record.get(key)
            if isinstance(value, str) and value.strip():
                return value
    return None


def _from_notebook(cells: list[Any]) -> str | None:
    parts: list[str] = []
    for cell in cells:
        if not isinstance(cell, dict):
            return None
        source = cell.get("source")
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = "".join(source)
        if not isinstance(source, str) or not source.strip():
            continue
        code = cell.get("cell_type") == "code"
        parts.append(f"```\n{source.rstrip()}\n```" if code else source.strip("\n"))
    return "\n\n".join(parts) or None


def _from_csv(text: str) -> str:
    field = text.strip()
    inside = field[1:-1]
    if len(field) < 4 or not field.endswith('"') or '""' not in inside:
        return text
    bare = inside.replace('""', "")
    return text if '"' in bare or not bare.strip() else inside.replace('""', '"')


def _is_escaped(text: str, escapes: int, characters: int) -> bool:
    if text.lstrip().startswith("{") or _NOT_ESCAPES.search(
        text
    ):  # data that has no text, formulas
        return False
    prose = _CODE.sub("", text) if "`" in text or "</" in text else text
    found = [match[0] for match in _ESCAPE.finditer(prose)]
    if len(found) < escapes or len(found) * characters < len(prose):
        return False
    ends = sum(escape in ("\\n", "\\r\\n") for escape in found)
    quotes = sum(escape == '\\"' for escape in found)
    codes = sum(len(escape) for escape in found if escape.startswith("\\u"))
    if ends:
        after_text = sum(1 for _ in _AFTER_TEXT.finditer(prose))
        return ends > prose.count("\n") and after_text >= 0.8 * ends
    # Without line ends: every quotation mark is escaped, or most of the text is.
    return (quotes >= 2 and quotes == prose.count('"')) or codes >= 0.3 * len(prose)


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    if "`" not in text and "~~~" not in text and "</" not in text:
        return change(text)
    parts: list[str] = []
    end = 0
    for code in _CODE.finditer(text):
        parts += (change(text[end : code.start()]), code[0])
        end = code.end()
    parts.append(change(text[end:]))
    return "".join(parts)


def _unescaped(match: re.Match[str]) -> str:
    if match["end"]:
        return "\n"
    if match["pair"]:
        return bytes.fromhex(match[0][2:6] + match[0][8:]).decode("utf-16-be")
    if match["code"]:
        value = int(match[0][2:], 16)
        return match[0] if 0xD800 <= value < 0xE000 else chr(value)
    return _SIGNS.get(match[0][1], match[0][1])


def _character(match: re.Match[str]) -> str:
    return html.unescape(match[0])
