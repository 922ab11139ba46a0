"""The database: from nothing to the newest schema, many writers, sudden deaths."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import inspect, text

from hyperclova.errors import UserError
from hyperclova.studio.store import Database, Desk, Runs
from hyperclova.studio.store.runs import Run
from hyperclova.studio.store.tables import metadata
from studio_process import Server

RUN = Run(
    model="tiny",
    request={"prompt": "옛날"},
    document={"segments": [{"author": "human", "text": "옛날"}]},
    output="옛적",
    finish_reason="stop",
    usage=None,
)

WRITER = """
import sys
from hyperclova.studio.store import Database, Runs
sys.path[:0] = {tests!r}
from test_studio_store import RUN
runs = Runs(Database({url!r}))
sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.stdin.readline()
for _ in range(50):
    runs.add(RUN)
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'new' / 'studio.sqlite3'}"


def test_migrations_make_what_the_code_expects(url: str) -> None:
    database = Database(url)
    with database.read() as connection:
        found = inspect(connection)
        for table in metadata.sorted_tables:
            columns = {column["name"]: column for column in found.get_columns(table.name)}
            assert set(columns) == set(table.columns.keys())
            for column in table.columns:
                assert columns[column.name]["nullable"] == column.nullable, column
        settings = [
            connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "busy_timeout", "synchronous", "foreign_keys")
        ]
    assert settings == ["wal", 5000, 1, 1]
    database.close()
    again = Database(url)  # an up-to-date database is left alone
    again.close()


def test_the_schema_in_code_and_in_migrations_do_not_drift(url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    database = Database(url)
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


def test_a_newer_database_is_left_alone(url: str) -> None:
    database = Database(url)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(UserError, match=r"another version of hyperclova"):
        Database(url)


def test_a_transaction_is_whole_or_nothing(url: str) -> None:
    database = Database(url)
    desk = Desk(database)
    desk.put({"segments": []}, {})
    with pytest.raises(RuntimeError), database.write() as connection:
        connection.execute(text("DELETE FROM desks"))
        raise RuntimeError
    assert desk.get() is not None
    database.close()


def test_twenty_writers_in_one_process(url: str) -> None:
    database = Database(url)
    runs, desk = Runs(database), Desk(database)
    start = threading.Barrier(20)

    def write(number: int) -> None:
        start.wait()
        for _ in range(10):
            runs.add(RUN)
            desk.put({"segments": [{"author": "human", "text": str(number)}]}, {})
            runs.page(5)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(write, range(20)))  # raises what a writer raised
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM runs")).scalar() == 200
    database.close()


def test_several_processes_write_the_same_file(url: str) -> None:
    Database(url).close()
    here = Path(__file__).parent
    program = WRITER.format(url=url, tests=[str(here), str(here.parent)])
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors
    database = Database(url)
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM runs")).scalar() == 100
    database.close()


def test_twenty_clients_write_and_the_server_is_killed(
    tiny_model_directory: Path, tmp_path: Path
) -> None:
    """What was answered with 201 is there after ``kill -9``."""
    server = Server(tiny_model_directory, tmp_path / "home")
    engine = server.engine()
    confirmed: list[str] = []
    refused: list[str] = []
    body = {"request": {}, "document": RUN.document, "output": RUN.output}

    def write(_: int) -> None:
        with httpx.Client(base_url=server.address, timeout=30) as client:
            while True:
                try:
                    answer = client.post("/api/runs", json=body)
                except httpx.TransportError:
                    return  # the server is gone
                if answer.status_code == 201:
                    confirmed.append(answer.json()["id"])
                else:
                    refused.append(answer.text)

    try:
        with ThreadPoolExecutor(20) as pool:
            writing = [pool.submit(write, number) for number in range(20)]
            deadline = time.monotonic() + 30
            while len(confirmed) < 60 and time.monotonic() < deadline:
                time.sleep(0.01)
            server.process.kill()
            for writer in writing:
                writer.result()
        _, alive = psutil.wait_procs([engine], timeout=20)
        assert not alive, "an engine works on for a server that is gone"
    finally:
        server.stop()
    assert len(confirmed) >= 60
    assert refused == []
    database = Database(f"sqlite:///{tmp_path / 'home' / 'studio.sqlite3'}")
    with database.read() as connection:
        kept = {row.id for row in connection.execute(text("SELECT id FROM runs"))}
        assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
    database.close()
    assert set(confirmed) <= kept
