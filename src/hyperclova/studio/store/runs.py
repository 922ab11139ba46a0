"""The history: every finished generation, newest first, searchable."""

import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, insert, select

from hyperclova.studio.store.database import Database
from hyperclova.studio.store.tables import runs


@dataclass(frozen=True)
class Run:
    """One generation as it happened."""

    model: str
    request: dict[str, Any]
    """The exact body that was sent to ``/v1/completions``."""
    document: dict[str, Any]
    """``{"segments": [{"author": "human"|"model", "text": str}]}`` after the generation."""
    output: str
    finish_reason: str | None
    usage: dict[str, Any] | None


class Runs:
    """Reads and writes runs. Methods block; call them from a worker thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, run: Run) -> dict[str, Any]:
        """Write down ``run``; returns it with its ``id`` and ``created_at``.

        When this returns, the run is on disk and survives the death of the process.
        """
        text = "".join(segment["text"] for segment in run.document.get("segments", []))
        row = {"id": f"run_{uuid.uuid4().hex}", "created_at": now(), **asdict(run)}
        with self._database.write() as connection:
            connection.execute(insert(runs).values(**row, text=text))
        return row

    def page(
        self, limit: int, before: int | None = None, query: str = ""
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Up to ``limit`` runs, newest first, older than the cursor ``before``.

        ``query`` keeps the runs whose document or output contains it, ignoring the case of Latin
        letters. Returns the runs and the cursor of the next page, None on the last page.
        """
        statement = select(runs).order_by(runs.c.number.desc()).limit(limit + 1)
        if before is not None:
            statement = statement.where(runs.c.number < before)
        if query:
            pattern = f"%{_escaped(query)}%"
            statement = statement.where(
                runs.c.text.ilike(pattern, escape="\\") | runs.c.output.ilike(pattern, escape="\\")
            )
        with self._database.read() as connection:
            found = connection.execute(statement).mappings().all()
        following = int(found[limit - 1]["number"]) if len(found) > limit else None
        return [_public(row) for row in found[:limit]], following

    def get(self, identity: str) -> dict[str, Any] | None:
        with self._database.read() as connection:
            row = connection.execute(select(runs).where(runs.c.id == identity)).mappings().first()
        return None if row is None else _public(row)

    def remove(self, identity: str) -> bool:
        """Forget a run; False if there was none."""
        with self._database.write() as connection:
            return connection.execute(delete(runs).where(runs.c.id == identity)).rowcount > 0


def now() -> str:
    """The present moment in ISO 8601, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _public(row: Any) -> dict[str, Any]:
    return {name: row[name] for name in row if name not in ("number", "text")}


def _escaped(query: str) -> str:
    for special in ("\\", "%", "_"):
        query = query.replace(special, f"\\{special}")
    return query
