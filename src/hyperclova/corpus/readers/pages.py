"""What pages, one a file, have in common: they are read whole, in whatever encoding they are."""

import codecs
import re
from collections.abc import Iterator
from typing import Any

import orjson

from hyperclova.corpus.documents import Document
from hyperclova.corpus.readers.quarantine import Reject
from hyperclova.corpus.readers.records import LONGEST, TOO_LONG, Records

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# What browsers understand by these labels (WHATWG Encoding Standard, section 4.2).
_LABELS = {
    **dict.fromkeys(
        ("euc-kr", "euckr", "ks_c_5601-1987", "ksc5601", "ksc_5601", "korean", "windows-949"),
        "cp949",
    ),
    **dict.fromkeys(("iso-8859-1", "latin1", "ascii", "us-ascii"), "cp1252"),
    **dict.fromkeys(("shift_jis", "sjis", "x-sjis"), "cp932"),
    **dict.fromkeys(("gb2312", "gbk"), "gb18030"),
}
_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:-]+)""", re.IGNORECASE)
_HEAD = 4096
_MOST_DAMAGE = 0.001


def whole(chunks: Iterator[bytes]) -> bytes:
    """All bytes of a page.

    Raises:
        ValueError: it is too long.
    """
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > LONGEST:
            raise ValueError(TOO_LONG)
        parts.append(chunk)
    return b"".join(parts)


def decode(page: bytes) -> str:
    """The text of a page: by its byte order mark, as UTF-8, as it declares, as CP949.

    UTF-8 comes before the declaration, which is often wrong, since hardly any text in another
    encoding happens to be UTF-8. A page with a few damaged characters keeps the rest of them.

    Raises:
        ValueError: it is none of these.
    """
    for mark, encoding in _MARKS:
        if page.startswith(mark):
            return page[len(mark) :].decode(encoding, "replace")
    declared = _declared(page[:_HEAD])
    for encoding in ("utf-8", declared, "cp949"):
        try:
            return page.decode(encoding)
        except UnicodeDecodeError:
            continue
    text = page.decode(declared, "replace")
    if text.count("\ufffd") > _MOST_DAMAGE * len(text):
        raise ValueError(f"neither UTF-8 nor CP949 nor {declared.upper()}, as it declares")
    return text


def _declared(head: bytes) -> str:
    match = _DECLARED.search(head)
    if match is None:
        return "utf-8"
    label = match[1].decode("ascii").lower()
    try:
        return codecs.lookup(_LABELS.get(label, label)).name
    except LookupError:
        return "utf-8"


def page_document(record: dict[str, Any], records: Records, reject: Reject) -> Iterator[Document]:
    """The document of a page's parts, if they are Unicode and there is a text."""
    text = record["text"]
    try:
        if not text.strip():
            raise ValueError("no text")
        orjson.dumps(record)
        yield records.document(record, 0)
    except (TypeError, ValueError) as error:
        reject(0, str(error), text)
