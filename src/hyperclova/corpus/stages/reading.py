"""Read: files of any format -> pieces of documents of about equal size."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from hyperclova.corpus.config import CorpusConfig, Input
from hyperclova.corpus.readers import Quarantined, read_file
from hyperclova.corpus.stages.workspace import LineWriter, Workspace, writing_lines


def read(
    workspace: Workspace, name: str, config: CorpusConfig, files: Sequence[tuple[str, str, Input]]
) -> dict[str, Any]:
    """Read a group of files.

    Args:
        name: of the group.
        files: address, name for reports, and the input it belongs to.

    Returns:
        ``pieces`` (name, documents, bytes of text) and ``inputs`` (path, documents, bytes,
        quarantined).
    """
    limit = config.piece_megabytes * 1_000_000
    pieces: list[dict[str, Any]] = []
    inputs = []
    with (
        ExitStack() as last_piece,
        writing_lines(workspace.file("read", f"{name}.quarantine.jsonl.zst")) as quarantine,
    ):
        writer: LineWriter | None = None
        for address, shown, source in files:
            broken: list[int] = []

            def put_aside(record: Quarantined, broken: list[int] = broken) -> None:
                broken.append(1)
                quarantine.add_record(asdict(record))

            documents = size = 0
            for document in read_file(address, source, put_aside):
                text_bytes = len(document.text.encode())
                if writer is None or pieces[-1]["bytes"] + text_bytes > limit:
                    last_piece.close()
                    piece = f"{name}-{len(pieces):05}"
                    pieces.append({"name": piece, "documents": 0, "bytes": 0})
                    writer = last_piece.enter_context(
                        writing_lines(workspace.file("read", f"{piece}.jsonl.zst"))
                    )
                writer.add(document)
                pieces[-1]["documents"] += 1
                pieces[-1]["bytes"] += text_bytes
                documents += 1
                size += text_bytes
            inputs.append(
                {"path": shown, "documents": documents, "bytes": size, "quarantined": len(broken)}
            )
    return {"pieces": pieces, "inputs": inputs}
