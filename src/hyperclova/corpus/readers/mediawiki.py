"""Dumps of MediaWiki sites, as Wikimedia publishes them (export schema 0.3 to 0.11)."""

import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from hyperclova.corpus.compression import BrokenArchiveError, lines
from hyperclova.corpus.documents import Document
from hyperclova.corpus.readers.quarantine import Reject
from hyperclova.corpus.readers.records import LONGEST, TOO_LONG, Records
from hyperclova.corpus.readers.wikitext import FILE_AND_CATEGORY, plain_text

_ROOT = re.compile(rb"<mediawiki[\s>]")
_DATABASE = re.compile(r"<dbname>([^<]+)</dbname>")
_NAMESPACE = re.compile(r'<namespace key="(-2|6|14)"[^>]*>([^<]+)</namespace>')
_HEAD = 1 << 20


def read_mediawiki(chunks: Iterator[bytes], records: Records, reject: Reject) -> Iterator[Document]:
    """The articles of a dump: pages of the main namespace that are no redirects, newest revision.

    A document is called ``DATABASE:PAGE`` (``kowiki:5``), which stays the same from dump to dump.
    One page is in memory at a time, parsed by itself, so that a broken one costs no other.
    """
    wiki = _Wiki(records.file)
    page: list[bytes] = []
    start = size = 0
    ended = False
    try:
        for number, line in enumerate(lines(chunks, LONGEST), start=1):
            if not start:
                outside, opening, inside = line.partition(b"<page>")
                wiki.read_head(outside)
                ended = ended or b"</mediawiki>" in outside
                if not opening:
                    continue
                if not wiki.found:
                    break
                start, page, size = number, [], 0
                line = opening + inside
            size += len(line)
            if size < LONGEST:
                page.append(line)
            if b"</page>" in line:
                yield from _articles(b"".join(page), size, start, wiki, records, reject)
                start = 0
    except BrokenArchiveError as error:
        if start:  # say where the lost page begins
            error.line, error.rest = start, b"".join(page)[:LONGEST]
        raise
    if not wiki.found:
        reject(0, "not a MediaWiki dump: no <mediawiki> before the first page", b"")
    elif start:
        reject(start, "the dump is cut off within this page", b"".join(page))
    elif not ended:
        reject(0, "the dump is cut off: no </mediawiki> at its end", b"")


class _Wiki:
    """What the head of a dump says of the wiki."""

    def __init__(self, file: str) -> None:
        self.found = False
        self.database = file
        self.hidden = FILE_AND_CATEGORY
        self._read = 0

    def read_head(self, line: bytes) -> None:
        """Take note of a line before the first page."""
        self._read += len(line)
        if self._read > _HEAD:
            return
        self.found = self.found or _ROOT.search(line) is not None
        text = line.decode("utf-8", "replace")
        for name in _DATABASE.findall(text):
            self.database = name.strip()
        self.hidden |= {name.strip().lower() for _, name in _NAMESPACE.findall(text)}


def _articles(
    xml: bytes, size: int, start: int, wiki: _Wiki, records: Records, reject: Reject
) -> Iterator[Document]:
    """The article in one ``<page>`` element, if it holds one."""
    try:
        if size >= LONGEST:
            raise ValueError(TOO_LONG)
        record = _article(xml, wiki)
        if record is not None:
            if not record["text"]:
                raise ValueError("no text left without markup")
            yield records.document(record, start)
    except ElementTree.ParseError as error:
        reject(start, f"not XML: {error}", xml)
    except ValueError as error:
        reject(start, str(error), xml)


def _article(xml: bytes, wiki: _Wiki) -> dict[str, Any] | None:
    # What follows </page> on its line belongs to the dump.
    page = ElementTree.fromstring(xml[: xml.rindex(b"</page>") + len(b"</page>")])
    if page.findtext("ns", "0").strip() != "0" or page.find("redirect") is not None:
        return None
    revisions = page.findall("revision")
    if not revisions:
        raise ValueError("a page without a revision")
    newest = max(revisions, key=lambda revision: revision.findtext("timestamp", ""))
    if newest.findtext("model", "wikitext") != "wikitext":
        return None
    wikitext = newest.findtext("text")
    if wikitext is None:
        raise ValueError("a page without a text")
    identifier, title = page.findtext("id"), page.findtext("title", "")
    record: dict[str, Any] = {"title": title, "text": plain_text(wikitext, wiki.hidden)}
    if identifier:
        record["id"] = f"{wiki.database}:{identifier}"
    for key, name in (("revision", "id"), ("revised", "timestamp")):
        value = newest.findtext(name)
        if value:
            record[key] = value
    return record
