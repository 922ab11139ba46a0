"""One database, opened so that it neither blocks nor forgets.

SQLite runs in write-ahead-log mode: readers never wait for the writer, and a commit that was
answered survives the death of the process. Writes take SQLite's write lock at their beginning
(``BEGIN IMMEDIATE``) and queue inside this process, so two of them never meet half-way and fail
with "database is locked". Any other database that SQLAlchemy speaks to can be named by URL.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from hyperclova.errors import UserError

_BUSY_MILLISECONDS = 5000


class Database:
    """Connections and transactions. Safe to use from many threads."""

    def __init__(self, url: str) -> None:
        """Open ``url`` (SQLAlchemy's form) and bring its schema up to date.

        Raises:
            UserError: the URL is malformed, its driver is missing, the database cannot be opened
                or it was written by a newer version of Studio.
        """
        self._url = url
        self._writer = threading.Lock()
        self._engine = _open(url)
        self._sqlite = self._engine.dialect.name == "sqlite"
        try:
            self._migrate()
        except DBAPIError as error:
            self.close()
            raise UserError(f"cannot open the database {self.where}: {error.orig}") from None
        except BaseException:
            self.close()
            raise

    @property
    def where(self) -> str:
        """The database as one may show it: without a password."""
        return make_url(self._url).render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one moment of the database and changes nothing."""
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: committed at the end of the block, undone if the block raises."""
        if not self._sqlite:
            with self._engine.begin() as connection:
                yield connection
            return
        with self._writer, self._engine.connect() as connection:
            writing = connection.execution_options(hyperclova_writes=True)
            with writing.begin():
                yield writing

    def close(self) -> None:
        self._engine.dispose()

    def _migrate(self) -> None:
        # Imported here: Alembic is needed once, at the start.
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        configuration = Config()
        configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.write() as connection:
            configuration.attributes["connection"] = connection
            try:
                command.upgrade(configuration, "head")
            except CommandError as error:
                raise UserError(
                    f"the database {self.where} was written by another version of hyperclova "
                    f"({error}); upgrade hyperclova, or choose another file with --database"
                ) from None


def _open(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:"):
            Path(str(parsed.database)).expanduser().parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed)
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise UserError(f"--database {url!r} is not a database URL: {error}") from None
    except ModuleNotFoundError as error:
        raise UserError(
            f"--database needs the driver {error.name}: pip install {error.name}"
        ) from None
    except OSError as error:
        raise UserError(f"cannot make a directory for the database: {error}") from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, record: Any) -> None:
    # Python's own transaction handling begins too late for us; we send BEGIN ourselves.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("hyperclova_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
