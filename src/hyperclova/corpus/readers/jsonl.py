"""JSON lines: one object a line."""

from collections.abc import Iterator

from hyperclova.corpus.compression import lines
from hyperclova.corpus.documents import Document, parse_json
from hyperclova.corpus.readers.quarantine import Reject
from hyperclova.corpus.readers.records import LONGEST, TOO_LONG, Records

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_jsonl(chunks: Iterator[bytes], records: Records, reject: Reject) -> Iterator[Document]:
    """The documents of a JSON lines file; blank lines are skipped."""
    document = records.document
    for number, line in enumerate(lines(chunks, LONGEST), start=1):
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        try:
            yield document(parse_json(line), number)
        except ValueError as error:
            if line.strip():
                reject(number, TOO_LONG if len(line) >= LONGEST else str(error), line)
