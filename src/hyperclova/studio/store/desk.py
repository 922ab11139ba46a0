"""The desk: the draft in the Playground, which survives reloads and restarts."""

from typing import Any

from sqlalchemy import select, update

from hyperclova.studio.store.database import Database
from hyperclova.studio.store.runs import now
from hyperclova.studio.store.tables import desks

_EVERYONE = "local"  # until Studio knows accounts, there is one desk


class Desk:
    """Reads and writes the desk. Methods block; call them from a worker thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self) -> dict[str, Any] | None:
        """``{"document", "parameters", "updated_at"}``; None if nothing was ever put down."""
        columns = (desks.c.document, desks.c.parameters, desks.c.updated_at)
        statement = select(*columns).where(desks.c.owner == _EVERYONE)
        with self._database.read() as connection:
            row = connection.execute(statement).mappings().first()
        return None if row is None else dict(row)

    def put(self, document: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
        """Replace the desk; the last one to write wins."""
        row = {"document": document, "parameters": parameters, "updated_at": now()}
        with self._database.write() as connection:
            changed = connection.execute(
                update(desks).where(desks.c.owner == _EVERYONE).values(**row)
            )
            if changed.rowcount == 0:
                connection.execute(desks.insert().values(owner=_EVERYONE, **row))
        return row
