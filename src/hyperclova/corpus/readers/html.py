"""Web pages, one a file: their main content without menus, advertising and comments."""

import logging
import re
from collections.abc import Iterator
from typing import Any

from hyperclova.corpus.compression import BrokenArchiveError
from hyperclova.corpus.documents import Document
from hyperclova.corpus.readers import pages
from hyperclova.corpus.readers.quarantine import Reject
from hyperclova.corpus.readers.records import Records
from hyperclova.errors import UserError

# Text that leads elsewhere or belongs to the site, not to the page.
_AROUND = ("a", "nav", "aside", "footer", "button", "option", "script", "style", "noscript")
_PROSE = ".//body//text()[not({})]".format(
    " or ".join(f"ancestor::{element}" for element in _AROUND)
)
# It names the encoding that the page was in before it was decoded.
_XML_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*>")
_PUBLISHED = ".//meta[@property='article:published_time']"


def read_html(chunks: Iterator[bytes], records: Records, reject: Reject) -> Iterator[Document]:
    """The page as one document, called by its file's name; paragraphs are lines.

    The main content is what trafilatura takes for it (Barbaresi 2021, ACL system demonstrations).
    The title and, in the metadata, author, address, site, licence and time of publication are
    those that the page declares: nothing is guessed from the day on which it is read.
    """
    import trafilatura

    logger = logging.getLogger(trafilatura.__name__)
    if not logger.handlers:  # else it prints a warning for each page without content
        logger.addHandler(logging.NullHandler())
    page = b""
    try:
        page = pages.whole(chunks)
        record = _extract(pages.decode(page))
    except ValueError as error:
        reject(0, str(error).partition("\n")[0], page)
    except (BrokenArchiveError, UserError):
        raise
    except Exception as error:  # some page trips any parser; it is not worth the build
        reason = f"unreadable page: {type(error).__name__}: {error}"
        reject(0, reason.partition("\n")[0], page)
    else:
        yield from pages.page_document({"id": records.file, **record}, records, reject)


def _extract(html: str) -> dict[str, Any]:
    from trafilatura import bare_extraction
    from trafilatura.metadata import examine_meta, extract_license, extract_title
    from trafilatura.utils import load_html

    tree = load_html(_XML_DECLARATION.sub("", html))
    if tree is None:
        raise ValueError("not HTML")
    declared = examine_meta(tree)
    published = tree.find(_PUBLISHED)
    record = {
        "title": declared.title or extract_title(tree),
        "author": declared.author,
        "url": declared.url,
        "site": declared.sitename,
        "licence": extract_license(tree),
        "published": None if published is None else published.get("content"),
    }
    text = getattr(bare_extraction(tree, include_comments=False), "text", None)
    # Where it finds no content the extractor falls back on all text there is, menus too.
    if not text or len(_prose(tree)) < len(text) / 2:
        raise ValueError("no main content")
    found = {name: value.strip() for name, value in record.items() if value and value.strip()}
    return {**found, "text": text}


def _prose(tree: Any) -> str:
    return " ".join(" ".join(tree.xpath(_PROSE)).split())
